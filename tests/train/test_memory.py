import ctypes
import platform
import subprocess
import sys
from functools import partial

import pytest
import torch

from banyan.core.errors import MemoryLimitError
from banyan.testing.own_modules import module_with
from banyan.train.memory import FreedMemory, explained_memory_errors, keep_freed_memory, return_freed_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory: you tried …"),
    ],
)
def test_a_failed_allocation_says_what_to_change(error: Exception) -> None:
    expected = pytest.raises(MemoryLimitError, match="micro_batch_seqs=8 rows of 64 tokens")
    with expected as caught, explained_memory_errors(micro_batch_seqs=8, seq_len=64):
        raise error
    assert "micro_batch_seqs=4" in str(caught.value.hint)
    assert caught.value.exit_code == 9


def test_a_real_allocation_beyond_all_memory_is_recognised() -> None:
    with pytest.raises(MemoryLimitError), explained_memory_errors(micro_batch_seqs=1, seq_len=1):
        torch.empty(1 << 60, dtype=torch.uint8)


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), explained_memory_errors(micro_batch_seqs=1, seq_len=1):
        raise RuntimeError("shapes do not fit")


COUNT_FAULTS = """
import resource, torch
from banyan.train.memory import keep_freed_memory
def count():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.set_num_threads(1)
assert keep_freed_memory()
before = count()
for attempt in range(30):
    torch.ones(10 << 20)  # 40 MiB, 10,240 pages: more than glibc ever keeps by default
print((count() - before) / 10240)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has other ways")
def test_kept_memory_is_not_asked_for_again() -> None:
    # In a process of its own: an allocation that failed earlier moves the C library to memory it cannot keep.
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 15  # of 30 allocations, those that had to ask


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("banyan.train.memory", "banyan.core.memory"):
        monkeypatch.setattr(f"{module}.ctypes", module_with(ctypes, CDLL=lambda name: object()))
    assert not keep_freed_memory()
    assert not return_freed_memory()
    assert not FreedMemory().after_step(step_seconds=60.0)


COUNT_KEPT = """
import torch
from banyan.train.memory import FreedMemory, settle_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
torch.set_num_threads(1)
assert settle_freed_memory(is_kept={is_kept})
before = resident()
tensors = [torch.ones(1 << 20) for _ in range(40)]  # 4 MiB each
last = torch.ones(1 << 18)
del tensors
kept = resident() - before
clock = iter((0.0, {since}))
FreedMemory(clock=lambda: next(clock)).after_step(step_seconds={seconds})
print(kept, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has other ways")
@pytest.mark.parametrize(
    ("is_kept", "seconds", "since", "is_free"),
    [(True, 0.1, 5.0, False), (True, 3.0, 5.0, True), (True, 0.1, 61.0, True), (False, 0.1, 5.0, True)],
)
def test_freed_memory_is_kept_until_a_long_step_or_a_minute_ends_or_goes_back_at_once(
    is_kept: bool, seconds: float, since: float, is_free: bool
) -> None:
    program = COUNT_KEPT.format(is_kept=is_kept, seconds=seconds, since=since)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    kept, after = map(float, done.stdout.split())
    assert (kept > 100) == is_kept
    assert (after < 100) == is_free


def test_what_a_long_step_has_left_is_dropped_before_the_next_one() -> None:
    freed, dropped = FreedMemory(), list[float]()
    for seconds in (0.1, 60.0):
        freed.after_step(step_seconds=seconds)
        freed.before_step(drop=partial(dropped.append, seconds))
    assert dropped == [60.0]
