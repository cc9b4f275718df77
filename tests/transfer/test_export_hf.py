"""Exports opened by transformers itself: the same logits, the same text, the same ids."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline
from transformers.utils import logging

import banyan
from banyan.core.errors import ConfigError
from banyan.core.model_directory import WEIGHTS_FILE, new_model_directory, write_manifest
from banyan.model.checkpoint import load_model, save_model
from banyan.model.config import ModelConfig
from banyan.model.presets import GPT2_SHAPE, LLAMA_SHAPE, MISTRAL_SHAPE, MODEL_PRESETS, QWEN2_SHAPE, model_config
from banyan.runtime.description import describe_model, write_description
from banyan.testing.known_sentences import PROMPTS, SENTENCES, save_known_sentences
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.workflows.exporting import export_model
from banyan.workflows.reporter import SilentReporter

CONVERSATIONS = [
    [{"role": "user", "content": "Hi"}],
    [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "独木成林？"}],
    [
        {"role": "user", "content": " spaces stay \n"},
        {"role": "assistant", "content": "Yes.\n"},
        {"role": "user", "content": "1987 🦓"},
    ],
]
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {**GPT2_SHAPE, "num_kv_heads": 4},
    "llama": {**LLAMA_SHAPE, "rope_scaling": {"factor": 8.0, "original_max_seq_len": 16}},
    "mistral": {**MISTRAL_SHAPE, "sliding_window": 7},
    "qwen2": dict(QWEN2_SHAPE),
}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    logging.disable_progress_bar()
    logging.set_verbosity_error()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_known_sentences(tmp_path_factory.mktemp("models") / "sentences")


@pytest.fixture(scope="module")
def exported(model: Path) -> Path:
    return export(model, model.parent / "exported")


def export(model: Path, directory: Path, **options: Any) -> Path:
    return export_model(model, directory, format="hf", reporter=SilentReporter(), **options).directory


def save_random(directory: Path, config: ModelConfig) -> Path:
    vocabulary = tiny_vocabulary()
    with new_model_directory(directory) as temporary:
        save_model(tiny_model(config), temporary, bos_id=vocabulary.bos_id, eos_ids=[vocabulary.eos_id])
        vocabulary.save(temporary)
        write_description(temporary, describe_model([]))
    return directory


@torch.no_grad()
def assert_same_logits(model: Path, exported: Path) -> None:
    token_ids = torch.randint(0, 300, (2, 40), generator=torch.Generator().manual_seed(0))
    ours = load_model(model)
    expected = ours.logits(ours(token_ids))
    found = AutoModelForCausalLM.from_pretrained(exported)(token_ids).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0.0)
    assert torch.equal(found.argmax(-1), expected.argmax(-1))


def test_transformers_computes_the_same_logits(model: Path, exported: Path) -> None:
    assert_same_logits(model, exported)


@pytest.mark.parametrize("preset", [name for name in MODEL_PRESETS if name.startswith("banyan-")])
def test_every_preset_of_ours_opens_in_transformers(tmp_path: Path, preset: str) -> None:
    config = model_config(preset, {"num_layers": 2, "vocab_size": 320, "max_seq_len": 64})
    model = save_random(tmp_path / "model", config)
    assert_same_logits(model, export(model, tmp_path / "exported"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_goes_out_as_it_is(tmp_path: Path, family: str) -> None:
    model = save_random(tmp_path / "model", tiny_model_config(**{"qk_norm": "none", **FAMILIES[family]}))
    exported = export(model, tmp_path / "exported")
    assert (exported / WEIGHTS_FILE).read_bytes() == (model / WEIGHTS_FILE).read_bytes()
    assert json.loads((exported / "config.json").read_text())["model_type"] == family
    assert_same_logits(model, exported)


def test_transformers_writes_the_same_text_for_twenty_prompts(model: Path, exported: Path) -> None:
    foreign, tokenizer = AutoModelForCausalLM.from_pretrained(exported), AutoTokenizer.from_pretrained(exported)
    with banyan.load(model) as ours:
        for prompt in PROMPTS:
            ids = foreign.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=40, do_sample=False)
            text = tokenizer.decode(ids[0], skip_special_tokens=True)
            assert text == prompt + ours.generate(prompt, max_tokens=40, temperature=0)
            assert text in SENTENCES


def test_a_pipeline_needs_nothing_but_the_folder(exported: Path) -> None:
    writer = pipeline("text-generation", model=str(exported))
    assert writer("Banyans", max_new_tokens=40, do_sample=False)[0]["generated_text"] == SENTENCES[1]


def test_texts_and_conversations_become_the_same_ids(model: Path, exported: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported)
    with banyan.load(model) as ours:
        for sentence in SENTENCES:
            assert tokenizer(sentence).input_ids == list(ours.continuation(sentence)[0].token_ids)
        for messages in CONVERSATIONS:
            found = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
            assert found["input_ids"] == list(ours.reply_prompt(messages)[0].token_ids)


def test_special_tokens_are_special_and_the_context_is_known(exported: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<|bos|>", "<|eos|>", "<|pad|>")
    ids = tokenizer("a").input_ids + [tokenizer.convert_tokens_to_ids(name) for name in ("<|end|>", "<|task_3|>")]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a"
    assert tokenizer.model_max_length == 128


@pytest.mark.parametrize(("weight_type", "dtype"), [("f16", torch.float16), ("bf16", torch.bfloat16)])
def test_weights_are_written_in_the_type_asked_for(
    model: Path, tmp_path: Path, weight_type: str, dtype: torch.dtype
) -> None:
    exported = export(model, tmp_path / "exported", weight_type=weight_type)
    ours, found = load_file(model / WEIGHTS_FILE), load_file(exported / WEIGHTS_FILE)
    assert {name: weight.to(dtype).tolist() for name, weight in ours.items()} == {
        name: weight.tolist() for name, weight in found.items()
    }
    foreign = AutoModelForCausalLM.from_pretrained(exported, dtype="auto")
    assert foreign.dtype == dtype
    tokenizer = AutoTokenizer.from_pretrained(exported)
    ids = foreign.generate(**tokenizer("Banyans", return_tensors="pt"), max_new_tokens=40, do_sample=False)
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == SENTENCES[1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_float32_weights_load_in_other_types(exported: Path, dtype: torch.dtype) -> None:
    foreign = AutoModelForCausalLM.from_pretrained(exported, dtype=dtype)
    assert foreign(torch.tensor([[1, 2, 3]])).logits.isfinite().all()


def test_a_weight_beyond_float16_is_refused(model: Path, tmp_path: Path) -> None:
    large = save_known_sentences(tmp_path / "large")
    weights = load_file(large / WEIGHTS_FILE)
    weights["model.norm.weight"][0] = 1e6
    save_file(weights, large / WEIGHTS_FILE)
    write_manifest(large)
    with pytest.raises(ConfigError, match=r"model\.norm\.weight holds 1e\+06, and float16 ends at 6\.55e\+04"):
        export(large, tmp_path / "exported", weight_type="f16")
    export(large, tmp_path / "exported", weight_type="bf16")
