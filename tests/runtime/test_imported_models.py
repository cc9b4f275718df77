"""A model that came from elsewhere answers as it did there: held against transformers, which reads the same folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from banyan.core.errors import CheckpointError, ConfigError
from banyan.core.files import atomic_write_json, read_json
from banyan.core.model_directory import BANYAN_FILE, CONFIG_FILE, write_manifest
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.classification import Classification
from banyan.tasks.dialogue import Dialogue
from banyan.testing.foreign_models import save_tiny_foreign_model

FAMILIES = ("gpt2", "llama2", "llama3", "mistral_v3", "qwen2.5")
NUM_TOKENS = 12


@pytest.fixture(scope="module", params=FAMILIES)
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    directory = save_tiny_foreign_model(request.param, tmp_path_factory.mktemp("imported") / request.param)
    with load(directory, device="cpu", num_slots=2) as model:
        yield model


def their_answer(model: LoadedModel, token_ids: list[int]) -> str:
    """Return what transformers writes after a prompt when only text and end tokens may come."""
    theirs = AutoModelForCausalLM.from_pretrained(model.directory)
    vocabulary = model.vocabulary
    stops = set(vocabulary.reply_stop_ids)
    forbidden = [n for n in range(vocabulary.size) if not vocabulary.is_text(n) and n not in stops]
    written = theirs.generate(
        torch.tensor([token_ids]),
        max_new_tokens=NUM_TOKENS,
        do_sample=False,
        suppress_tokens=forbidden,
        eos_token_id=sorted(stops),
    )[0, len(token_ids) :]
    # Random weights write bytes that are no text, and a decoder of transformers drops the valid ones among them.
    return vocabulary.decode_bytes(written.tolist()).decode("utf-8", errors="replace")


def test_a_text_goes_on_as_in_transformers(imported: LoadedModel) -> None:
    text = "The banyan grows"
    ids = [*imported.vocabulary.start_ids, *imported.vocabulary.encode(text)]
    assert imported.generate(text, max_tokens=NUM_TOKENS, temperature=0) == their_answer(imported, ids)


def test_an_imported_model_talks_in_its_own_chat_format(imported: LoadedModel) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is a tree?"},
        {"role": "assistant", "content": "A plant."},
        {"role": "user", "content": "独木成林？"},
    ]
    if not imported.vocabulary.chat.has_roles:
        with pytest.raises(ConfigError, match="no task of kind dialogue") as caught:
            imported.chat(messages)
        assert caught.value.hint is not None and "banyan generate" in caught.value.hint
        return
    tokenizer = AutoTokenizer.from_pretrained(imported.directory)
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    prompt, _ = imported.reply_prompt(messages)
    assert list(prompt.token_ids) == ids
    expected = their_answer(imported, ids)
    if imported.vocabulary.drops_first_space:
        expected = expected.lstrip(" ")
    answered = imported.chat(messages, max_tokens=NUM_TOKENS, temperature=0)
    assert answered == expected
    assert "".join(imported.chat_stream(messages, max_tokens=NUM_TOKENS, temperature=0)) == answered


def test_a_text_may_begin_from_nothing(imported: LoadedModel) -> None:
    assert imported.continuation("")[0].token_ids == (imported.vocabulary.bos_id,)
    assert not imported.generate("", max_tokens=4, temperature=0).startswith("  ")


def test_the_bits_of_a_text_are_counted(imported: LoadedModel) -> None:
    assert 0 < imported.bits_per_byte(["The banyan grows. 独木成林"]) < 50


def test_a_taught_dialogue_takes_the_place_of_the_built_in_one(tmp_path: Path) -> None:
    task = Dialogue(name="support", system="Be kind.")
    with load(save_tiny_foreign_model("qwen3", tmp_path / "m", tasks=[task]), device="cpu") as model:
        assert list(model.tasks) == ["support"]
        assert "Be kind." in model.vocabulary.decode(model.reply_prompt("Hi")[0].token_ids)


@pytest.mark.parametrize("answer", ["head", "words"])
def test_an_imported_model_labels_in_its_chat_format(answer: str, tmp_path: Path) -> None:
    task = Classification(name="topic", labels=("tree", "树"), answer=answer)  # type: ignore[arg-type]
    with load(save_tiny_foreign_model("llama2", tmp_path / "m", tasks=[task]), device="cpu") as model:
        assert list(model.tasks) == ["topic", "dialogue"]
        prediction = model.predict("topic", "An oak.")[0]
        assert prediction.text in task.labels
        assert sum((prediction.labels or {}).values()) == pytest.approx(1)


def test_a_tokenizer_with_more_ids_than_the_model_has_rows_is_refused(tmp_path: Path) -> None:
    directory = save_tiny_foreign_model("llama3", tmp_path / "m")
    config = read_json(directory / CONFIG_FILE)
    atomic_write_json(directory / CONFIG_FILE, {**config, "vocab_size": 300})
    write_manifest(directory)
    with pytest.raises(CheckpointError, match=r"300 rows; they belong to different models"):
        load(directory, device="cpu")


def test_a_chat_format_nobody_knows_is_refused(tmp_path: Path) -> None:
    directory = save_tiny_foreign_model("llama3", tmp_path / "m")
    described = read_json(directory / BANYAN_FILE)
    atomic_write_json(directory / BANYAN_FILE, {**described, "chat": "lama3"})
    write_manifest(directory)
    with pytest.raises(CheckpointError, match=r"'lama3' is not known; did you mean llama3"):
        load(directory, device="cpu")
