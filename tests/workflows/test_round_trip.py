"""A foreign model imported and exported again: tensor by tensor the same bytes, and the files that came with it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from banyan.model.hugging_face_config import hugging_face_config
from banyan.model.presets import GPT2_SHAPE, LLAMA_SHAPE, MISTRAL_SHAPE, QWEN2_SHAPE, QWEN3_SHAPE
from banyan.testing.models import tiny_model_config
from banyan.testing.vocabulary import tiny_tokenizer
from banyan.workflows.exporting import export_model
from banyan.workflows.importing import import_model
from banyan.workflows.reporter import SilentReporter

END = "<|endoftext|>"
ROPE_SCALING = {"factor": 8.0, "original_max_seq_len": 16}
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {**GPT2_SHAPE, "num_kv_heads": 4, "vocab_size": 331},
    "llama untied": {**LLAMA_SHAPE, "num_kv_heads": 4, "tie_embeddings": False},
    "llama with rope scaling": {**LLAMA_SHAPE, "rope_scaling": ROPE_SCALING, "head_dim": 16},
    "mistral": {**MISTRAL_SHAPE, "sliding_window": 7, "num_kv_heads": 1},
    "qwen2": dict(QWEN2_SHAPE),
    "qwen3": {**QWEN3_SHAPE, "head_dim": 16},
    "qwen3 untied": {**QWEN3_SHAPE, "tie_embeddings": False, "vocab_size": 333},
}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def save_foreign(directory: Path, shape: str, dtype: torch.dtype) -> Path:
    """Let transformers write a model with random weights; its tokenizer is byte-level, with one special token."""
    config = tiny_model_config(**{"qk_norm": "none", **SHAPES[shape]})
    fields = hugging_face_config(config, dtype="float32", bos_id=None, eos_id=None, pad_id=None)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields)).to(dtype)
    model.generation_config.update(max_length=17, eos_token_id=tiny_tokenizer().vocab_size)
    model.save_pretrained(directory)
    tokenizer = json.loads(tiny_tokenizer().to_json())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer["added_tokens"] = [{"id": tiny_tokenizer().vocab_size, "content": END, **flags}]
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END}
    (directory / "tokenizer_config.json").write_text(json.dumps(names))
    return directory


@pytest.mark.parametrize("shape", SHAPES)
def test_what_came_in_goes_out_byte_for_byte(tmp_path: Path, shape: str) -> None:
    dtype = torch.bfloat16 if shape.endswith("untied") else torch.float32
    source, out = save_foreign(tmp_path / "source", shape, dtype), tmp_path / "out"
    import_model(source, tmp_path / "model", format="auto", reporter=SilentReporter())
    export_model(tmp_path / "model", out, format="hf", reporter=SilentReporter())
    before, after = load_file(source / "model.safetensors"), load_file(out / "model.safetensors")
    assert {name: (t.dtype, t.shape) for name, t in before.items()} == {
        name: (t.dtype, t.shape) for name, t in after.items()
    }
    assert all(torch.equal(weight.view(torch.uint8), after[name].view(torch.uint8)) for name, weight in before.items())
    assert (out / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    generation = [json.loads((folder / "generation_config.json").read_text()) for folder in (source, out)]
    assert generation[0] == generation[1] and generation[0]["max_length"] == 17


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_transformers_opens_both_as_the_same_model(tmp_path: Path, shape: str) -> None:
    source, out = save_foreign(tmp_path / "source", shape, torch.float32), tmp_path / "out"
    import_model(source, tmp_path / "model", format="auto", reporter=SilentReporter())
    export_model(tmp_path / "model", out, format="hf", reporter=SilentReporter())
    token_ids = torch.randint(0, 300, (2, 60), generator=torch.Generator().manual_seed(0))
    before, after = (AutoModelForCausalLM.from_pretrained(folder)(token_ids).logits for folder in (source, out))
    assert torch.equal(before, after)
    text = "The banyan grows. 独木成林 1987"
    ids = [AutoTokenizer.from_pretrained(folder)(text).input_ids for folder in (source, out)]
    assert ids[0] == ids[1]
