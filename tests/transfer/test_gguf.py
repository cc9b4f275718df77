"""GGUF files read by gguf's own reader, and, where it is installed, opened by llama.cpp itself."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import banyan
from banyan.core.errors import ConfigError, MissingExtraError
from banyan.core.model_directory import new_model_directory
from banyan.model.checkpoint import load_model, save_model
from banyan.model.presets import GPT2_SHAPE, LLAMA_SHAPE, MISTRAL_SHAPE, QWEN2_SHAPE, QWEN3_SHAPE
from banyan.runtime.description import describe_model, write_description
from banyan.testing.known_sentences import PROMPTS, SENTENCES, save_known_sentences
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.transfer.gguf import neighbouring_pairs
from banyan.workflows.exporting import export_model
from banyan.workflows.reporter import SilentReporter

ROPE_SCALING = {"factor": 8.0, "original_max_seq_len": 16}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {**GPT2_SHAPE, "num_kv_heads": 4},
    "llama 2": {**LLAMA_SHAPE, "num_kv_heads": 4, "rope_theta": 10_000.0, "tie_embeddings": False},
    "llama 3": {**LLAMA_SHAPE, "rope_scaling": ROPE_SCALING, "head_dim": 16},
    "llama with biases": {**LLAMA_SHAPE, "attention_bias": True, "output_bias": True, "ffn_bias": True},
    "mistral": {**MISTRAL_SHAPE, "sliding_window": 48},
    "qwen2": dict(QWEN2_SHAPE),
    "qwen3": {**QWEN3_SHAPE, "head_dim": 16},
    "qwen3 untied": {**QWEN3_SHAPE, "tie_embeddings": False},
}

# Run by the interpreter that has llama_cpp: ids, greedy texts and logits of prompts, as JSON.
LLAMA = """
import json, sys
from llama_cpp import Llama
asked = json.load(sys.stdin)
F32 = 0
model = Llama(asked["file"], n_ctx=0, n_threads=1, type_k=F32, type_v=F32, logits_all=True, verbose=False)
answers = []
for prompt in asked["prompts"]:
    said = model(prompt, max_tokens=asked["max_tokens"], temperature=0.0, repeat_penalty=1.0)
    answers.append({"ids": model.tokenize(prompt.encode(), add_bos=True), "text": said["choices"][0]["text"]})
model.reset()
model.eval(asked["ids"])
logits = model.scores[: len(asked["ids"])].tolist() if asked["ids"] else []
json.dump({"answers": answers, "logits": logits, "metadata": model.metadata}, sys.stdout)
"""


@pytest.fixture(scope="module")
def gguf() -> Any:
    return pytest.importorskip("gguf", reason="the package gguf is not installed")


@pytest.fixture(scope="module")
def llama(gguf: Any) -> Callable[..., dict[str, Any]]:
    """Ask llama.cpp; it may live in an environment of its own, which BANYAN_LLAMA_PYTHON names."""
    python = os.environ.get("BANYAN_LLAMA_PYTHON") or (sys.executable if find_spec("llama_cpp") else None)
    if python is None:
        pytest.skip("llama-cpp-python is not installed, and BANYAN_LLAMA_PYTHON names no interpreter that has it")

    def ask(file: Path, prompts: tuple[str, ...] = (), ids: tuple[int, ...] = ()) -> dict[str, Any]:
        asked = json.dumps({"file": str(file), "prompts": prompts, "ids": ids, "max_tokens": 40})
        found = subprocess.run([python, "-c", LLAMA], input=asked, capture_output=True, text=True, check=True)
        answer: dict[str, Any] = json.loads(found.stdout)
        return answer

    return ask


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_known_sentences(tmp_path_factory.mktemp("models") / "sentences")


def save_family(directory: Path, family: str) -> Path:
    vocabulary = tiny_vocabulary()
    config = tiny_model_config(**{"qk_norm": "none", **FAMILIES[family]})
    with new_model_directory(directory) as temporary:
        save_model(tiny_model(config, std=0.2), temporary, bos_id=vocabulary.bos_id, eos_ids=[vocabulary.eos_id])
        vocabulary.save(temporary)
        write_description(temporary, describe_model([]))
    return directory


def export(model: Path, directory: Path, weight_type: str = "f32") -> Path:
    export_model(model, directory, format="gguf", weight_type=weight_type, reporter=SilentReporter())
    return next(directory.glob("*.gguf"))


def read_tensors(gguf: Any, file: Path) -> dict[str, Tensor]:
    found = gguf.GGUFReader(file).tensors
    return {t.name: torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type).copy()) for t in found}


def read_field(gguf: Any, file: Path, name: str) -> Any:
    field = gguf.GGUFReader(file).get_field(name)
    return None if field is None else field.contents()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_holds_every_weight_and_size(gguf: Any, tmp_path: Path, family: str) -> None:
    model = load_model(save_family(tmp_path / "model", family))
    file = export(tmp_path / "model", tmp_path / "out")
    found, config = read_tensors(gguf, file), model.config
    num_factors = config.head_dim // 2 if config.rope_scaling else 0
    assert sum(map(Tensor.numel, found.values())) - num_factors == sum(p.numel() for p in model.parameters())
    assert torch.equal(found["token_embd.weight"], model.embedding.weight)
    assert ("output.weight" in found) is not config.tie_embeddings
    architecture = read_field(gguf, file, "general.architecture")
    assert architecture == family.split()[0].replace("mistral", "llama")
    assert read_field(gguf, file, f"{architecture}.block_count") == config.num_layers
    assert read_field(gguf, file, f"{architecture}.feed_forward_length") == config.ffn_dim
    if architecture != "gpt2":
        assert read_field(gguf, file, f"{architecture}.attention.head_count_kv") == config.num_kv_heads
        assert read_field(gguf, file, f"{architecture}.rope.freq_base") == config.rope_theta
    window = config.sliding_window or config.max_seq_len
    assert read_field(gguf, file, f"{architecture}.context_length") == min(window, config.max_seq_len)


@pytest.mark.parametrize(
    ("weight_type", "relative"), [("f32", 0.0), ("f16", 2**-11), ("bf16", 2**-8), ("q8_0", 0.5 / 127)]
)
def test_weights_come_back_as_near_as_their_type_allows(
    gguf: Any, sentences: Path, tmp_path: Path, weight_type: str, relative: float
) -> None:
    model = load_model(sentences)
    found = read_tensors(gguf, export(sentences, tmp_path / "out", weight_type))
    embedding = model.embedding.weight.detach()
    # In q8_0 the step is one of the 127 to the largest of 32 neighbours, and its scale is a float16.
    largest = embedding.unflatten(1, (-1, 32)).abs().amax(-1, keepdim=True).expand(-1, -1, 32).flatten(1)
    scale = largest if weight_type == "q8_0" else embedding.abs()
    error = (found["token_embd.weight"] - embedding).abs()
    assert (error <= scale * relative * 1.1 + 1e-7 * bool(relative)).all()
    for name, norm in (("output_norm.weight", model.final_norm.weight), ("blk.0.attn_norm.weight", None)):
        assert norm is None or torch.equal(found[name], norm), "norms stay whole"


def test_rows_that_cannot_be_cut_into_blocks_are_halved(gguf: Any, tmp_path: Path) -> None:
    vocabulary = tiny_vocabulary()
    with new_model_directory(tmp_path / "model") as directory:
        config = tiny_model_config(embed_dim=48, head_dim=12, num_kv_heads=4)
        save_model(tiny_model(config), directory, eos_ids=[vocabulary.eos_id])
        vocabulary.save(directory)
        write_description(directory, describe_model([]))
    tensors = gguf.GGUFReader(export(tmp_path / "model", tmp_path / "out", "q8_0")).tensors
    kinds = {tensor.name: tensor.tensor_type.name for tensor in tensors}
    assert (kinds["token_embd.weight"], kinds["blk.0.ffn_down.weight"]) == ("F16", "Q8_0")


def test_the_file_carries_the_tokenizer(gguf: Any, sentences: Path, tmp_path: Path) -> None:
    file = export(sentences, tmp_path / "out")
    with banyan.load(sentences) as model:
        vocabulary = model.vocabulary
    described = json.loads((sentences / "tokenizer.json").read_text())
    tokens = read_field(gguf, file, "tokenizer.ggml.tokens")
    assert [tokens[row] for row in described["model"]["vocab"].values()] == list(described["model"]["vocab"])
    assert [tokens[entry["id"]] for entry in described["added_tokens"]] == [
        entry["content"] for entry in described["added_tokens"]
    ]
    merges = [" ".join(merge) for merge in described["model"]["merges"]]
    assert read_field(gguf, file, "tokenizer.ggml.merges") == merges
    assert read_field(gguf, file, "tokenizer.ggml.bos_token_id") == vocabulary.bos_id
    assert read_field(gguf, file, "tokenizer.ggml.add_bos_token") is True
    config = json.loads((sentences / "tokenizer_config.json").read_text())
    assert read_field(gguf, file, "tokenizer.chat_template") == config["chat_template"]


def test_channels_are_reordered_pair_by_pair() -> None:
    weight = torch.arange(12)[:, None].expand(12, 3)  # two heads of six channels
    assert neighbouring_pairs(weight, head_dim=6)[:, 0].tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert neighbouring_pairs(weight[:, 0], head_dim=6).shape == (12,)


def test_what_llama_cpp_would_compute_otherwise_is_refused(gguf: Any, tmp_path: Path) -> None:
    FAMILIES_REFUSED = {
        "rope scaling in a qwen2": {**QWEN2_SHAPE, "rope_scaling": ROPE_SCALING, "qk_norm": "none"},
        "biases beside the norms": {"attention_bias": True, "output_bias": True},
    }
    for number, (reason, fields) in enumerate(FAMILIES_REFUSED.items()):
        with new_model_directory(tmp_path / f"{number}") as directory:
            save_model(tiny_model(tiny_model_config(**fields)), directory)
            tiny_vocabulary().save(directory)
            write_description(directory, describe_model([]))
        with pytest.raises(ConfigError, match=f"llama.cpp does not compute {reason}"):
            export(tmp_path / f"{number}", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_without_the_package_the_extra_is_named(
    sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match="needs the package gguf") as caught:
        export(sentences, tmp_path / "out")
    assert caught.value.hint == 'pip install "banyan-gpt[gguf]"'


# ------------------------------------------------------------------------------------------------ llama.cpp


@pytest.mark.parametrize("weight_type", ["f32", "f16", "bf16", "q8_0"])
def test_llama_cpp_writes_the_same_text_for_twenty_prompts(
    llama: Callable[..., dict[str, Any]], sentences: Path, tmp_path: Path, weight_type: str
) -> None:
    found = llama(export(sentences, tmp_path / "out", weight_type), PROMPTS)
    with banyan.load(sentences) as model:
        for prompt, sentence, answer in zip(PROMPTS, SENTENCES, found["answers"], strict=True):
            assert answer["ids"] == list(model.continuation(prompt)[0].token_ids)
            assert answer["text"] == model.generate(prompt, max_tokens=40, temperature=0)
            assert prompt + answer["text"] == sentence


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_computes_the_same_logits(llama: Callable[..., dict[str, Any]], tmp_path: Path, family: str) -> None:
    model = load_model(save_family(tmp_path / "model", family))
    token_ids = torch.randint(0, 300, (1, 40), generator=torch.Generator().manual_seed(0))
    found = llama(export(tmp_path / "model", tmp_path / "out"), ids=tuple(token_ids[0].tolist()))["logits"]
    expected = model.logits(model(token_ids))[0].detach()
    # llama.cpp looks GELU up in a table of float16.
    tolerance = 2e-2 if family == "gpt2" else 1e-3
    torch.testing.assert_close(torch.tensor(np.array(found), dtype=torch.float32), expected, atol=tolerance, rtol=0.0)
