"""Vectors against float64 loops, and against what transformers itself makes of the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from banyan.core.errors import ConfigError, ContextLengthError, InputError
from banyan.infer.embedding import EmbeddingConfig, Pooling, count_blocks
from banyan.infer.engine import Engine
from banyan.model.checkpoint import save_model
from banyan.model.presets import GPT2_SHAPE, LLAMA_SHAPE, MISTRAL_SHAPE, Preset
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.tasks import VOCABULARY

LENGTH = 24  # tokens the tiny model can read at once
MODEL = tiny_model(tiny_model_config(vocab_size=VOCABULARY.text_size, max_seq_len=LENGTH), std=0.2)
RAW = EmbeddingConfig(normalises=False)
TEXTS = ["The banyan grows.", "独木成林", "a"]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(MODEL, VOCABULARY, num_slots=2) as engine:
        yield engine


def ids_of(text: str) -> list[int]:
    return [VOCABULARY.bos_id, *VOCABULARY.encode(text)]


def states(token_ids: list[int], *, num_blocks: int | None = None) -> Tensor:
    with torch.inference_mode():
        return MODEL(torch.tensor([token_ids]), num_blocks=num_blocks)[0].double()


@pytest.mark.parametrize("layer", range(-3, 3))
def test_a_mean_is_that_of_all_tokens_but_the_special_ones(engine: Engine, layer: int) -> None:
    how = EmbeddingConfig(normalises=False, layers=(layer,))
    for text, found in zip(TEXTS, engine.embed(TEXTS, how), strict=True):
        hidden = states(ids_of(text), num_blocks=layer % 3)
        expected = sum(hidden[1:], torch.zeros(MODEL.config.embed_dim)) / (len(hidden) - 1)
        torch.testing.assert_close(found[0].double(), expected, atol=1e-5, rtol=1e-5)


def test_the_last_vector_is_that_of_the_last_token_that_is_text(engine: Engine) -> None:
    how = EmbeddingConfig(normalises=False, pooling=Pooling.LAST)
    token_ids = [*ids_of("The banyan"), VOCABULARY.eos_id]
    found = engine.embed([token_ids, "The banyan"], how)[:, 0].double()
    torch.testing.assert_close(found[0], states(token_ids)[-2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1], states(token_ids[:-1])[-1], atol=1e-5, rtol=1e-5)


def test_a_normalised_vector_has_length_one_and_the_same_direction(engine: Engine) -> None:
    raw, unit = engine.embed(TEXTS, RAW)[:, 0], engine.embed(TEXTS, EmbeddingConfig())[:, 0]
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(len(TEXTS)))
    torch.testing.assert_close(unit * raw.norm(dim=1, keepdim=True), raw)


def test_several_layers_at_once_are_those_asked_for_one_by_one(engine: Engine) -> None:
    every = engine.embed(TEXTS, EmbeddingConfig(layers=(2, 0, -2)))
    for place, layer in enumerate((-1, 0, 1)):
        alone = engine.embed(TEXTS, EmbeddingConfig(layers=(layer,)))
        torch.testing.assert_close(every[:, place], alone[:, 0], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("pooling", Pooling)
def test_a_text_has_the_same_vector_alone_and_among_others(engine: Engine, pooling: Pooling) -> None:
    how = EmbeddingConfig(pooling=pooling)
    texts = [text * repeats for text in TEXTS for repeats in (1, 2, 5)]
    together = engine.embed(texts, how)
    alone = torch.cat([engine.embed([text], how) for text in texts])
    torch.testing.assert_close(together, alone, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("pooling", Pooling)
def test_a_long_text_is_read_in_windows_of_which_every_token_counts_the_same(engine: Engine, pooling: Pooling) -> None:
    size = LENGTH - 1
    token_ids = VOCABULARY.encode("one tree at a time, " * 4)
    parts = [token_ids[first : first + size] for first in range(0, len(token_ids), size)]
    assert len(parts) > 2 and len(parts[-1]) < size
    hidden = [states([VOCABULARY.bos_id, *part])[1:] for part in parts]
    expected = torch.cat(hidden).mean(0) if pooling is Pooling.MEAN else torch.stack([h[-1] for h in hidden]).mean(0)
    found = engine.embed(["one tree at a time, " * 4], EmbeddingConfig(normalises=False, pooling=pooling))
    torch.testing.assert_close(found[0, 0].double(), expected, atol=1e-5, rtol=1e-5)


def test_a_long_text_is_refused_where_none_is_split(engine: Engine) -> None:
    with pytest.raises(ContextLengthError, match=f"text 2 has .* can read {LENGTH}") as refused:
        engine.embed(["short", "long " * 20], EmbeddingConfig(splits_long_texts=False))
    assert refused.value.num_prompt_tokens == len(ids_of("long " * 20))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "text 2 is empty"),
        ([], "text 2 is empty"),
        ([VOCABULARY.text_size], "must lie in"),
        ([-1], "must lie in"),
        ([VOCABULARY.bos_id], "nothing but special tokens"),
    ],
)
def test_what_has_no_vector_is_refused_by_its_number(engine: Engine, text: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        engine.embed(["fine", text], RAW)


@pytest.mark.parametrize("layer", [3, -4])
def test_a_layer_that_is_not_there_is_refused(engine: Engine, layer: int) -> None:
    with pytest.raises(ConfigError, match="the model has 0"):
        engine.embed(["fine"], EmbeddingConfig(layers=(layer,)))


def test_the_last_layer_and_the_embeddings_can_be_counted_from_either_end() -> None:
    assert [count_blocks(layer, num_layers=6) for layer in (6, -1, 0, -7)] == [6, 6, 0, 0]


def test_no_texts_have_no_vectors(engine: Engine) -> None:
    assert engine.embed([], RAW).shape == (0, 1, MODEL.config.embed_dim)


# ------------------------------------------------------------------------------------------------ transformers

SHAPES: dict[str, Preset] = {
    "gpt2": {**GPT2_SHAPE, "num_kv_heads": 4},
    "llama": LLAMA_SHAPE,
    "mistral": {**MISTRAL_SHAPE, "sliding_window": 5},
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Transformer, Any]:
    sizes = {"num_layers": 3, "vocab_size": VOCABULARY.text_size, "qk_norm": "none"}
    ours = tiny_model(tiny_model_config(**{**sizes, **SHAPES[request.param]}))
    directory = tmp_path_factory.mktemp("stock")
    save_model(ours, directory)
    return ours, AutoModel.from_pretrained(directory, attn_implementation="eager").double().eval()


@torch.no_grad()
@pytest.mark.parametrize("pooling", Pooling)
def test_vectors_of_every_layer_equal_those_of_the_stock_architecture(
    pair: tuple[Transformer, Any], pooling: Pooling
) -> None:
    ours, theirs = pair
    how = EmbeddingConfig(pooling=pooling, layers=(0, 1, 2, 3))
    with Engine(ours, VOCABULARY, num_slots=2) as engine:
        found = engine.embed(TEXTS, how).double()
    for text, vectors in zip(TEXTS, found, strict=True):
        hidden = theirs(torch.tensor([ids_of(text)]), output_hidden_states=True).hidden_states
        for vector, (states_TD,) in zip(vectors, hidden, strict=True):
            expected = states_TD[1:].mean(0) if pooling is Pooling.MEAN else states_TD[-1]
            torch.testing.assert_close(vector, expected / expected.square().sum().sqrt(), atol=1e-5, rtol=1e-4)
