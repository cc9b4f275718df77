"""Memory: kept from one step to the next or given back, and running out of it said in one line."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

from banyan.core.errors import MemoryLimitError
from banyan.core.memory import give_back_freed_memory

LONG_STEP_SECONDS = 2.5
SECONDS_BETWEEN = 60.0  # two times that freed memory goes back, where steps are shorter
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
_KEPT_BYTES = 1 << 30
_RETURNED_TENSOR_BYTES = 1 << 20
_KEPT_TENSOR_BYTES = 1 << 26  # larger ones are few, and could leave large gaps behind them; not measured
_CPU_WORDS = "can't allocate memory"  # PyTorch's CPU allocator raises a plain RuntimeError with these words


def settle_freed_memory(*, is_kept: bool) -> bool:
    """Decide what becomes of freed memory in this process; return whether the C library lets one decide."""
    return keep_freed_memory() if is_kept else return_freed_memory()


def keep_freed_memory() -> bool:
    """Let the C library keep what a step frees for the step after it; return whether it can.

    By default glibc gives every large tensor back to the system at once and asks for it anew: for a model of 1 million
    weights that was 40,000 page faults a step, and 15 % of its time. It costs about 5 % more peak memory.
    """
    return _set_up_allocation({_MMAP_THRESHOLD: _KEPT_TENSOR_BYTES, _TRIM_THRESHOLD: _KEPT_BYTES})


def return_freed_memory() -> bool:
    """Let the C library give every tensor above a mebibyte back to the system once it is freed; return whether it can.

    By default glibc raises that bound to 32 MiB as tensors are freed, and what it keeps lies in pieces.
    """
    return _set_up_allocation({_MMAP_THRESHOLD: _RETURNED_TENSOR_BYTES, _TRIM_THRESHOLD: _RETURNED_TENSOR_BYTES})


class FreedMemory:
    """Gives back what lies free between tensors: after a step too long to notice, and otherwise once in a while.

    Kept memory comes to lie in pieces, into which the tensors of the next step do not all fit: with 124 million
    weights, 430 MiB of it after every step. To get it anew takes time: with 11 million weights and steps of one second,
    15 % of the speed, which is why the bound lies above them. A run whose batches and validations vary in shape
    gathers pieces without end (5 million weights: 1.4 GiB after 100 steps, 6 GiB after 1,500, of which 0.6 were in
    use), so that shorter steps give back as well, so seldom that it costs less than a hundredth.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._given_back = clock()
        self._was_long = False  # the step before

    def before_step(self, *, drop: Callable[[], None]) -> bool:
        """After a step too long to notice, `drop` what it left for others to see, and give that back as well.

        Gradients that are dropped inside a step leave holes into which what it makes does not all fit: with 124 million
        weights, 49 MiB at the peak. To get that memory anew costs 2 % of such a step.
        """
        if not self._was_long:
            return False
        drop()
        return give_back_freed_memory()

    def after_step(self, *, step_seconds: float) -> bool:
        """Give back what is free if it is time to; return whether it was, and the C library lets one."""
        now = self._clock()
        self._was_long = step_seconds >= LONG_STEP_SECONDS
        if not self._was_long and now - self._given_back < SECONDS_BETWEEN:
            return False
        self._given_back = now
        return give_back_freed_memory()


def _set_up_allocation(parameters: Mapping[int, int]) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    return all(mallopt(parameter, value) for parameter, value in parameters.items())


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
