"""GGUF files read by gguf's own reader, and, where it is installed, opened by llama.cpp itself."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

import banyan
from banyan.core.errors import ConfigError, MissingExtraError
from banyan.core.model_directory import new_model_directory
from banyan.core.paths import data_directory
from banyan.model.checkpoint import load_model, save_model
from banyan.model.presets import GPT2_SHAPE, LLAMA_SHAPE, MISTRAL_SHAPE, QWEN2_SHAPE, QWEN3_SHAPE
from banyan.runtime.description import ModelDescription, describe_model, write_description
from banyan.testing.known_sentences import PROMPTS, SENTENCES, save_known_sentences
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.vocabulary_loading import load_vocabulary
from banyan.transfer.gguf import neighbouring_pairs
from banyan.workflows.exporting import export_model
from banyan.workflows.importing import import_model
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

STORIES = ("", "went to the park", "saw  3 birds,", 'said: "Oh no!"\n', "was é世 sad")
_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def _split(digits: str) -> pre_tokenizers.PreTokenizer:
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    ends = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    return pre_tokenizers.Split(Regex(words + digits + ends), "isolated")


# Run by the interpreter that has llama_cpp: for each line of JSON ids, greedy texts and logits, as another line.
LLAMA = """
import json, sys
from llama_cpp import Llama
F32 = 0
for line in sys.stdin:
    asked = json.loads(line)
    model = Llama(asked["file"], n_ctx=0, n_threads=1, type_k=F32, type_v=F32, logits_all=True, verbose=False)
    answers = []
    for prompt in asked["prompts"]:
        said = model(prompt, max_tokens=asked["max_tokens"], temperature=0.0, repeat_penalty=1.0)
        ids = model.tokenize(prompt.encode(), add_bos=True, special=False)
        answers.append({"ids": ids, "text": said["choices"][0]["text"]})
    model.reset()
    if asked["ids"]:
        model.eval(asked["ids"])
    logits = model.scores[: len(asked["ids"])].tolist()
    print(json.dumps({"answers": answers, "logits": logits, "metadata": model.metadata}), flush=True)
"""


@pytest.fixture(scope="module")
def gguf() -> Any:
    return pytest.importorskip("gguf", reason="the package gguf is not installed")


@pytest.fixture(scope="module")
def llama(gguf: Any) -> Iterator[Callable[..., dict[str, Any]]]:
    """Ask llama.cpp; it may live in an environment of its own, which BANYAN_LLAMA_PYTHON names."""
    python = os.environ.get("BANYAN_LLAMA_PYTHON") or (sys.executable if find_spec("llama_cpp") else None)
    if python is None:
        pytest.skip("llama-cpp-python is not installed, and BANYAN_LLAMA_PYTHON names no interpreter that has it")
    with subprocess.Popen(
        [python, "-c", LLAMA], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def ask(
            file: Path, prompts: Sequence[str] = (), *, ids: Sequence[int] = (), max_tokens: int = 40
        ) -> dict[str, Any]:
            asked = {"file": str(file), "prompts": list(prompts), "ids": list(ids), "max_tokens": max_tokens}
            questions.write(json.dumps(asked) + "\n")
            questions.flush()
            answer: dict[str, Any] = json.loads(answers.readline())
            return answer

        yield ask
        questions.close()


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


def save_with_tokenizer(directory: Path, steps: list[Any], skips_merges: bool) -> Path:
    """Write a model whose byte-level tokenizer prepares text with these steps."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=skips_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    tokenizer.train_from_iterator([*SENTENCES, *TRICKY] * 3, trainer=trainer)
    with new_model_directory(directory) as temporary:
        save_model(tiny_model(tiny_model_config(vocab_size=tokenizer.get_vocab_size() + 3)), temporary)
        (temporary / "tokenizer.json").write_text(tokenizer.to_str())
        (temporary / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
        write_description(temporary, ModelDescription(chat="plain"))
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


PRE_TOKENIZERS: dict[str, tuple[list[Any], bool]] = {
    "gpt-2": ([pre_tokenizers.ByteLevel(add_prefix_space=False)], False),
    "smollm": (
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
        False,
    ),
    "llama-bpe": ([_split(r"\p{N}{1,3}"), _BYTES], True),
    "smaug-bpe": ([_split(r"\p{N}{1,3}"), _BYTES], False),
    "qwen2": ([_split(r"\p{N}"), _BYTES], False),
}
TRICKY = (
    *SENTENCES,
    "I'LL  they've 12345\n\n  x\t\ty \r\n é…",
    "  ",
    "3.14159;;\n\n\n--> 榕树榕树 <|end|>",
    "Ⅷ ² ½ ١٢٣",
)


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_llama_cpp_cuts_words_as_the_tokenizer_does(
    llama: Callable[..., dict[str, Any]], tmp_path: Path, pre: str
) -> None:
    model = save_with_tokenizer(tmp_path / "model", *PRE_TOKENIZERS[pre])
    found = llama(export(model, tmp_path / "out"), TRICKY, max_tokens=1)
    assert found["metadata"]["tokenizer.ggml.pre"] == pre
    vocabulary = load_vocabulary(model, chat="plain")
    for text, answer in zip(TRICKY, found["answers"], strict=True):
        assert answer["ids"] == [*vocabulary.start_ids, *vocabulary.encode(text)], text


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_computes_the_same_logits(llama: Callable[..., dict[str, Any]], tmp_path: Path, family: str) -> None:
    model = load_model(save_family(tmp_path / "model", family))
    token_ids = torch.randint(0, 300, (1, 40), generator=torch.Generator().manual_seed(0))
    found = llama(export(tmp_path / "model", tmp_path / "out"), ids=tuple(token_ids[0].tolist()))["logits"]
    expected = model.logits(model(token_ids))[0].detach()
    # llama.cpp looks GELU up in a table of float16, which moves these logits by up to 0.0034.
    tolerance = 1e-2 if family == "gpt2" else 1e-3
    torch.testing.assert_close(torch.tensor(np.array(found), dtype=torch.float32), expected, atol=tolerance, rtol=0.0)


def test_a_real_llama_2_model_tells_the_same_stories(llama: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    data = data_directory()
    if data is None or not (data / "stories260K").is_dir():
        pytest.skip("BANYAN_DATA names no folder with stories260K")
    import_model(data / "stories260K", tmp_path / "stories", format="auto", reporter=SilentReporter())
    beginnings = [f"{who} {what}" for who in ("Lily", "The old man", "One day, Tom", "A big dog") for what in STORIES]
    found = llama(export(tmp_path / "stories", tmp_path / "out"), beginnings)
    with banyan.load(tmp_path / "stories") as model:
        for beginning, answer in zip(beginnings, found["answers"], strict=True):
            assert answer["ids"] == list(model.continuation(beginning)[0].token_ids)
            assert answer["text"] == model.generate(beginning, max_tokens=40, temperature=0)
