import pytest
from hypothesis import given
from hypothesis import strategies as st

from banyan.core.errors import DataError
from banyan.data.packing import pack_sequences


@given(st.lists(st.integers(0, 32), max_size=200))
def test_every_sequence_is_packed_once_and_no_row_overflows(lengths: list[int]) -> None:
    rows = pack_sequences(lengths, seq_len=32)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= 32 for row in rows)


@given(st.lists(st.integers(1, 32), max_size=200))
def test_at_most_one_row_is_less_than_half_full(lengths: list[int]) -> None:
    rows = pack_sequences(lengths, seq_len=32)
    assert sum(sum(lengths[index] for index in row) < 16 for row in rows) <= 1


def test_the_tightest_fit_is_taken() -> None:
    assert pack_sequences([6, 7, 3, 4], seq_len=10) == [(1, 2), (0, 3)]


def test_a_sequence_longer_than_a_row_is_named() -> None:
    with pytest.raises(DataError, match="sequence 1 has 11 tokens; a row holds seq_len=10"):
        pack_sequences([3, 11], seq_len=10)
