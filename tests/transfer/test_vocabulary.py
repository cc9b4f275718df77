"""A model with more tokens: what it knew stays, and what is new begins sensibly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from banyan.core.errors import ConfigError
from banyan.model.transformer import Transformer
from banyan.testing.foreign_models import foreign_vocabulary
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.banyan_layout import SPECIAL_TOKENS
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.transfer.vocabulary import GrowConfig, GrownVocabulary, grow

RUSSIAN = "Привет, мир! Это хороший день для прогулки по лесу. Лес и мир.\n"
ENGLISH = "The banyan grows one tree at a time until it is a whole forest."
CHINESE = "独木成林：一棵树，一片森林。"
LEARN = GrowConfig(num_tokens=60, sources=("russian.txt",))


def old_model(vocabulary: Vocabulary, *, tie: bool = True) -> Transformer:
    codes = vocabulary.num_image_codes
    config = tiny_model_config(
        vocab_size=vocabulary.size, num_image_codes=codes, grid_size=2 if codes else 0, tie_embeddings=tie
    )
    return tiny_model(config)


def grown(config: GrowConfig, *, num_codes: int = 0, tie: bool = True) -> tuple[Transformer, GrownVocabulary]:
    vocabulary = tiny_vocabulary(["lm", "topic"], num_codes)
    return grow(old_model(vocabulary, tie=tie), vocabulary, config, texts=[RUSSIAN] * 3)


def log_probs(model: Transformer, token_ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model.logits(model(torch.tensor([token_ids]))[0]).double().log_softmax(dim=-1)


@pytest.mark.parametrize("num_codes", [0, 16])
def test_ids_that_exist_keep_their_meaning(num_codes: int) -> None:
    before = tiny_vocabulary(["lm", "topic"], num_codes)
    _, now = grown(LEARN, num_codes=num_codes)
    used = [token_id for token_id in range(before.text_size) if not before.describe(token_id).startswith("unused")]
    assert [now.vocabulary.describe(token_id) for token_id in used] == [before.describe(token_id) for token_id in used]
    assert now.vocabulary.bos_id == before.bos_id and now.vocabulary.task_id("topic") == before.task_id("topic")
    assert [now.vocabulary.image_token(code) - now.vocabulary.text_size for code in range(num_codes)] == list(
        range(num_codes)
    )


def test_texts_are_lossless_and_the_new_language_is_shorter() -> None:
    before = tiny_vocabulary(["lm", "topic"])
    _, now = grown(LEARN)
    for text in (RUSSIAN, ENGLISH, CHINESE, "<|bos|> <|task_0|>"):
        assert now.vocabulary.decode(now.vocabulary.encode(text)) == text
    assert len(now.vocabulary.encode(RUSSIAN)) < 0.5 * len(before.encode(RUSSIAN))
    assert now.vocabulary.encode(ENGLISH) == before.encode(ENGLISH)


def test_no_text_becomes_a_special_token() -> None:
    _, now = grown(GrowConfig(num_tokens=20, sources=("x",), special_tokens=("<|new|>",)))
    ids = now.vocabulary.encode("<|bos|><|new|><|task_1|>")
    assert all(map(now.vocabulary.is_text, ids))
    (special,) = (token_id for token_id, name in now.names.items() if name == "<|new|>")
    assert not now.vocabulary.is_text(special) and special == max(now.names)


def test_transformers_reads_the_same_ids_from_the_saved_files(tmp_path: Path) -> None:
    _, now = grown(GrowConfig(num_tokens=40, sources=("x",), special_tokens=("<|new|>",)))
    now.vocabulary.save(tmp_path)
    other = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for text in (RUSSIAN, ENGLISH, CHINESE):
        assert other.encode(text, add_special_tokens=False) == now.vocabulary.encode(text)
    assert other.convert_tokens_to_ids("<|eos|>") == now.vocabulary.eos_id
    assert other.convert_tokens_to_ids("<|new|>") == max(now.names)


@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
def test_what_the_model_said_of_old_ids_it_still_says(tie: bool) -> None:
    vocabulary = tiny_vocabulary(["lm", "topic"])
    model, now = grown(LEARN, tie=tie)
    old = old_model(vocabulary, tie=tie)
    ids = [vocabulary.bos_id, *vocabulary.encode(ENGLISH)]
    with torch.inference_mode():
        before, after = old.logits(old(torch.tensor([ids]))), model.logits(model(torch.tensor([ids])))
    old_ids = sorted(set(range(vocabulary.text_size)) - now.names.keys())
    # Products over more rows may be rounded otherwise; the hidden states and the rows have the same bits.
    torch.testing.assert_close(after[..., old_ids], before[..., old_ids], rtol=0, atol=1e-5)
    among_old = [logits[0, :, old_ids].log_softmax(dim=-1) for logits in (before, after)]
    torch.testing.assert_close(among_old[1], among_old[0], rtol=0, atol=1e-5)


def test_a_new_token_is_as_probable_as_its_pieces_are_on_average_and_no_more() -> None:
    model, now = grown(LEARN, tie=False)
    probs = log_probs(model, [now.vocabulary.bos_id, *now.vocabulary.encode(RUSSIAN)[:40]]).exp()
    for token_id, pieces in now.pieces.items():
        assert torch.isfinite(probs[:, token_id]).all() and (probs[:, token_id] > 0).all()
        assert (probs[:, token_id] <= probs[:, list(pieces)].mean(dim=-1) * (1 + 1e-6)).all()


def test_image_codes_come_last_with_a_grid_of_their_own() -> None:
    model, now = grown(GrowConfig(num_image_codes=12, grid_size=3))
    assert (now.vocabulary.num_image_codes, model.config.num_image_codes, model.config.grid_size) == (12, 12, 3)
    assert now.vocabulary.size == model.config.vocab_size and now.names == {}
    assert now.vocabulary.is_image(now.vocabulary.size - 1)


def test_codes_the_model_has_keep_their_rows_when_more_come() -> None:
    old = old_model(tiny_vocabulary(["lm", "topic"], 16))
    model, now = grown(GrowConfig(num_tokens=40, sources=("x",), num_image_codes=20), num_codes=16)
    first = now.vocabulary.first_image_id
    assert torch.equal(model.embedding.weight[first : first + 16], old.embedding.weight[320:])


def test_the_model_that_was_given_stays_as_it_is() -> None:
    vocabulary = tiny_vocabulary(["lm", "topic"])
    old = old_model(vocabulary)
    before = {name: weight.clone() for name, weight in old.state_dict().items()}
    grow(old, vocabulary, LEARN, texts=[RUSSIAN] * 3)
    assert all(torch.equal(weight, before[name]) for name, weight in old.state_dict().items())


def test_a_grown_vocabulary_grows_again(tmp_path: Path) -> None:
    model, now = grown(LEARN)
    again, more = grow(model, now.vocabulary, GrowConfig(words=("榕树",)))
    assert len(more.vocabulary.encode("榕树")) == 1
    assert more.vocabulary.encode(RUSSIAN) == now.vocabulary.encode(RUSSIAN)
    more.vocabulary.save(tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    assert len(saved["model"]["vocab"]) == max(saved["model"]["vocab"].values()) + 1  # no holes
    assert again.config.text_vocab_size == more.vocabulary.text_size


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (GrowConfig(special_tokens=("<|bos|>",)), "exists already"),
        (GrowConfig(num_image_codes=4), "is fewer than the model has"),
    ],
)
def test_what_cannot_be_added_is_refused(config: GrowConfig, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        grown(config, num_codes=16)


def test_image_codes_without_a_grid_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs grow_vocabulary.grid_size"):
        grown(GrowConfig(num_image_codes=4))


@pytest.mark.parametrize(
    "values", [{"num_tokens": 5}, {"sources": ("a.txt",)}, {"num_tokens": -1}, {"min_frequency": 0}]
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="grow_vocabulary"):
        GrowConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["gpt2", "llama3", "qwen3", "llama2", "mistral_v3"])
def test_an_imported_model_grows_and_other_tools_read_the_same_ids(family: str, tmp_path: Path) -> None:
    before = foreign_vocabulary(family)
    old = tiny_model(tiny_model_config(vocab_size=before.size))
    config = GrowConfig(num_tokens=50, sources=("x",), words=("榕树", "banyans"), special_tokens=("<|new|>",))
    model, now = grow(old, before, config, texts=[RUSSIAN] * 3)
    after = now.vocabulary
    assert model.config.text_vocab_size == after.text_size and after.chat == before.chat
    assert (after.bos_id, after.eos_ids, after.pad_id) == (before.bos_id, before.eos_ids, before.pad_id)
    for text in (RUSSIAN, ENGLISH, CHINESE, "a榕树 banyans", "<|new|></s><|im_end|>"):
        assert after.decode(after.encode(text)) == text
        spelled = [piece for token_id in after.encode(text) for piece in now.pieces.get(token_id, (token_id,))]
        assert spelled == before.encode(text)
    assert len(after.encode(RUSSIAN)) < 0.6 * len(before.encode(RUSSIAN))
    after.save(tmp_path)
    other = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for text in (RUSSIAN, ENGLISH, CHINESE):
        assert other.encode(text, add_special_tokens=False) == after.encode(text)
    assert other.convert_tokens_to_ids("<|new|>") == max(now.names)


@pytest.mark.parametrize("family", ["qwen3", "llama2"])
def test_an_imported_model_gets_the_tokens_of_our_own_tasks(family: str) -> None:
    before = foreign_vocabulary(family, task_names=["topic"])
    old = tiny_model(tiny_model_config(vocab_size=before.size))
    model, now = grow(old, before, GrowConfig(task_tokens=True))
    after = now.vocabulary
    assert after.chat.name == "banyan" and set(SPECIAL_TOKENS) <= set(now.names.values())
    assert after.open_task("topic") == (after.bos_id, after.task_id("topic"))
    assert torch.equal(model.embedding.weight[after.eos_id], old.embedding.weight[before.eos_id])
    assert after.encode(ENGLISH) == before.encode(ENGLISH)
