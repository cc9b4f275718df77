"""Running out of memory, said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from banyan.core.errors import MemoryLimitError

_CPU_WORDS = "can't allocate memory"  # PyTorch's CPU allocator raises a plain RuntimeError with these words


@contextmanager
def explained_memory_errors(*, micro_batch_seqs: int, seq_len: int) -> Iterator[None]:
    """Turn a failed allocation inside the block into an error that says what to change.

    Raises: MemoryLimitError.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        is_full = isinstance(error, MemoryError | torch.OutOfMemoryError) or _CPU_WORDS in str(error)
        if not is_full:
            raise
        half = max(1, micro_batch_seqs // 2)
        raise MemoryLimitError(
            f"out of memory at train.micro_batch_seqs={micro_batch_seqs} rows of {seq_len} tokens.",
            hint=f"set train.micro_batch_seqs={half} and train.accumulation_steps twice as high",
        ) from error
