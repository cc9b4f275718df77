"""Export to a Hugging Face directory, which transformers, vLLM and others open as it is, without our code."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from banyan.core.files import atomic_write_json, read_json
from banyan.core.model_directory import CONFIG_FILE, WEIGHTS_FILE
from banyan.model.checkpoint import GENERATION_CONFIG_FILE
from banyan.model.tensor_source import TensorInfo, TensorSource
from banyan.model.tensor_writer import write_tensors
from banyan.transfer.export_format import ExportSource, Progress, WeightType, fitting
from banyan.transfer.tokenizer_files import tokenizer_files

_DTYPES = {WeightType.F32: torch.float32, WeightType.F16: torch.float16, WeightType.BF16: torch.bfloat16}
_DTYPE_KEYS = ("dtype", "torch_dtype")  # what config.json calls it, in newer and older versions


class HuggingFaceDirectory:
    """config.json, generation_config.json, model.safetensors and the tokenizer's files."""

    types: ClassVar[Mapping[WeightType | None, str]] = {
        None: "{stored}, as stored",
        WeightType.F32: "float32",
        WeightType.F16: "float16",
        WeightType.BF16: "bfloat16",
    }

    def check(self, source: ExportSource) -> None:
        """Refuse nothing: whatever has a stock architecture can be written."""

    def num_bytes(self, source: ExportSource, weight_type: WeightType | None) -> int:
        """Return how much room the weights will take."""
        weights = _converted(source.weights, weight_type)
        return sum(weights.info(name).num_bytes for name in weights)

    def write(
        self, source: ExportSource, directory: Path, *, weight_type: WeightType | None, progress: Progress
    ) -> None:
        """Write the model's files into a directory.

        Raises: ConfigError if a weight is too large for its type; SpaceError if the disk is full.
        """
        total = self.num_bytes(source, weight_type)
        weights = _converted(source.weights, weight_type)
        write_tensors(directory, WEIGHTS_FILE, weights, on_progress=lambda done: progress(done, total))
        _write_config(source.directory / CONFIG_FILE, directory / CONFIG_FILE, weight_type=weight_type)
        generation = source.directory / GENERATION_CONFIG_FILE
        if generation.is_file():
            shutil.copyfile(generation, directory / GENERATION_CONFIG_FILE)
        for name, content in tokenizer_files(source).items():
            (directory / name).write_bytes(content)

    def remarks(self, source: ExportSource, weight_type: WeightType | None) -> tuple[str, ...]:
        """Return what was rounded; transformers computes all of it."""
        return () if weight_type is None else source.rounding(weight_type)

    def loading(self, source: ExportSource, weight_type: WeightType | None) -> str:
        """Return how the export is opened, as a section of Markdown."""
        return _LOADING


class _Converted(TensorSource):
    """The tensors of another source in another number format."""

    def __init__(self, tensors: TensorSource, dtype: torch.dtype) -> None:
        self._tensors = tensors
        self._dtype = dtype

    def __getitem__(self, name: str) -> Tensor:
        return fitting(name, self._tensors[name], self._dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def place(self, name: str) -> str:
        """Return the file of the other source."""
        return self._tensors.place(name)

    def info(self, name: str) -> TensorInfo:
        """Return the shape of the other source's tensor, and our number format."""
        return TensorInfo.of(torch.empty(self._tensors.info(name).shape, dtype=self._dtype, device="meta"))


def _converted(tensors: TensorSource, weight_type: WeightType | None) -> TensorSource:
    return tensors if weight_type is None else _Converted(tensors, _DTYPES[weight_type])


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

model = AutoModelForCausalLM.from_pretrained(".", dtype="auto")
tokenizer = AutoTokenizer.from_pretrained(".")
prompt = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=40)[0], skip_special_tokens=True))
```

With Banyan: `banyan import . ../my-model`, then `banyan generate ../my-model "Once upon a time"`.
"""
