"""Tensors that lie in pieces on several ranks, to and from a folder of safetensors files, one or more for each rank.

PyTorch's distributed checkpoint writes and reads them (its Hugging Face format: no pickle), so a run may go on with
other numbers of ranks than it was saved with. Only tensors lie there; all else is in `state.json`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.tensor import DTensor

from banyan.core.errors import CheckpointError, SpaceError

MODEL, OPTIMIZER = "model", "optimizer"  # a tensor is called model/WEIGHT or optimizer/WEIGHT/MEMORY


def write_shards(tensors: Mapping[str, Tensor], directory: Path, *, group: dist.ProcessGroup) -> Future[None]:
    """Begin to write this rank's pieces; the future of rank 0 is done when all ranks have written theirs.

    What is written is a copy taken now, so that training may go on meanwhile; a collective. The future raises
    SpaceError if any rank could not write.
    """
    logging.getLogger("torch.distributed.checkpoint").setLevel(logging.ERROR)
    copies = {name: _with_dims(tensor.detach().clone()) for name, tensor in tensors.items()}
    writer = HuggingFaceStorageWriter(str(directory), save_distributed=True)
    written: Future[None] = Future()
    saving = async_save(copies, storage_writer=writer, process_group=group)
    cast("Future[Any]", saving).add_done_callback(lambda done: _settle(written, done.exception(), directory))
    return written


def _settle(written: Future[None], error: BaseException | None, directory: Path) -> None:
    if error is None:
        written.set_result(None)
        return
    reason = " ".join(str(error).split())[-200:]
    written.set_exception(SpaceError(f"cannot write {directory}: {reason}", hint="look for a full disk"))


def read_shards(directory: Path, *, target: Callable[[str, torch.Size, torch.dtype], Tensor | None]) -> None:
    """Fill tensors from a folder of pieces: `target` says where a named one is wanted, or None; a collective.

    Raises: CheckpointError if a file is missing or cannot be read.
    """
    try:
        reader = HuggingFaceStorageReader(str(directory))
        found = cast("dict[str, TensorStorageMetadata]", reader.read_metadata().state_dict_metadata)
        wanted = {name: target(name, entry.size, entry.properties.dtype) for name, entry in found.items()}
        state = {name: _with_dims(tensor) for name, tensor in wanted.items() if tensor is not None}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ranks that want different tensors, as owners of matrices do
            load(state, storage_reader=HuggingFaceStorageReader(str(directory)))
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise CheckpointError(f"{directory} cannot be read: {' '.join(str(error).split())[:200]}") from error


def _with_dims(tensor: Tensor) -> Tensor:
    """Return a single number as a row of one, for only rows can be cut; it shares memory with the number."""
    return tensor.reshape(1) if tensor.ndim == 0 and not isinstance(tensor, DTensor) else tensor
