"""Writing a safetensors file one tensor at a time: the whole model need not be in memory.

Source: the format as huggingface/safetensors describes it: length of the header, header (JSON), tensors.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}
_ALIGNMENT = 8  # bytes; where the first tensor begins


def write_safetensors(
    path: Path, weights: Mapping[str, Tensor], *, convert: Callable[[str, Tensor], Tensor], progress: Callable[[], None]
) -> None:
    """Write weights as `convert` returns them; each is asked for twice, and none is kept.

    Raises: OSError if the disk is full.
    """
    descriptions, end = {}, 0
    for name in weights:
        weight = convert(name, weights[name])
        begin, end = end, end + weight.nbytes
        descriptions[name] = {
            "dtype": _DTYPES[weight.dtype],
            "shape": list(weight.shape),
            "data_offsets": [begin, end],
        }
    # `format` tells transformers that the tensors are PyTorch's.
    header = json.dumps({"__metadata__": {"format": "pt"}, **descriptions}).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for name in descriptions:
            file.write(_bytes_of(convert(name, weights[name])))
            progress()


def _bytes_of(tensor: Tensor) -> memoryview:
    return memoryview(tensor.contiguous().flatten().view(torch.uint8).numpy())
