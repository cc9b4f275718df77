"""Export to a Hugging Face directory, which transformers, vLLM and others open as it is, without our code."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch

from banyan.core.files import atomic_write_json, read_json
from banyan.core.model_directory import CONFIG_FILE, WEIGHTS_FILE
from banyan.model.checkpoint import GENERATION_CONFIG_FILE
from banyan.transfer.export_format import ExportSource, Progress, WeightType, fitting
from banyan.transfer.safetensors_writer import write_safetensors
from banyan.transfer.tokenizer_files import tokenizer_files

_DTYPES = {WeightType.F32: torch.float32, WeightType.F16: torch.float16, WeightType.BF16: torch.bfloat16}
_DTYPE_KEYS = ("dtype", "torch_dtype")  # what config.json calls it, in newer and older versions


class HuggingFaceDirectory:
    """config.json, generation_config.json, model.safetensors and the tokenizer's files."""

    types: ClassVar[Mapping[WeightType | None, str]] = {
        None: "as stored",
        WeightType.F32: "float32",
        WeightType.F16: "float16",
        WeightType.BF16: "bfloat16",
    }

    def check(self, source: ExportSource) -> None:
        """Refuse nothing: whatever has a stock architecture can be written."""

    def num_bytes(self, source: ExportSource, weight_type: WeightType | None) -> int:
        """Return about how much room the weights will take."""
        if weight_type is None:
            return sum(weight.nbytes for weight in source.weights.values())
        return sum(weight.numel() for weight in source.weights.values()) * _DTYPES[weight_type].itemsize

    def write(
        self, source: ExportSource, directory: Path, *, weight_type: WeightType | None, progress: Progress
    ) -> None:
        """Write the model's files into a directory.

        Raises: ConfigError if a weight is too large for its type; OSError if the disk is full.
        """
        _write_weights(source, directory / WEIGHTS_FILE, weight_type=weight_type, progress=progress)
        _write_config(source.directory / CONFIG_FILE, directory / CONFIG_FILE, weight_type=weight_type)
        generation = source.directory / GENERATION_CONFIG_FILE
        if generation.is_file():
            shutil.copyfile(generation, directory / GENERATION_CONFIG_FILE)
        files = tokenizer_files(source.directory, chat=source.chat, max_seq_len=source.config.max_seq_len)
        for name, content in files.items():
            (directory / name).write_bytes(content)

    def remarks(self, source: ExportSource) -> tuple[str, ...]:
        """Return nothing: transformers computes all of it."""
        return ()

    def loading(self, source: ExportSource, weight_type: WeightType | None) -> str:
        """Return how the export is opened, as a section of Markdown."""
        return _LOADING.format(name=source.name)


def _write_weights(source: ExportSource, path: Path, *, weight_type: WeightType | None, progress: Progress) -> None:
    total = len(source.weights)
    if weight_type is None and not source.is_changed:
        shutil.copyfile(source.directory / WEIGHTS_FILE, path)
        progress(total, total)
        return
    written = iter(range(1, total + 1))
    write_safetensors(
        path,
        source.weights,
        convert=lambda name, weight: weight if weight_type is None else fitting(name, weight, _DTYPES[weight_type]),
        progress=lambda: progress(next(written), total),
    )


def _write_config(path: Path, target: Path, *, weight_type: WeightType | None) -> None:
    if weight_type is None:
        shutil.copyfile(path, target)
        return
    config = read_json(path)
    keys = [key for key in _DTYPE_KEYS if key in config] or [_DTYPE_KEYS[0]]
    dtype = str(_DTYPES[weight_type]).removeprefix("torch.")
    atomic_write_json(target, {**config, **dict.fromkeys(keys, dtype)})


_LOADING = """\
With [transformers](https://huggingface.co/docs/transformers), from the folder this file lies in:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{name}", dtype="auto")
tokenizer = AutoTokenizer.from_pretrained("{name}")
prompt = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=40)[0], skip_special_tokens=True))
```

With Banyan: `banyan import {name} my-model`, then `banyan generate my-model "Once upon a time"`.
"""
