import pytest
import torch

from banyan.core.errors import MemoryLimitError
from banyan.train.memory import explained_memory_errors


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
