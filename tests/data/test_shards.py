"""Shards give back what was written, and say where they are damaged."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.core.errors import DataError, FileError, SpaceError
from banyan.data.shards import ShardReader, ShardWriter, count_tokens, find_shards


def _write(path: Path, documents: list[list[int]], *, vocab_size: int = 300) -> Path:
    with ShardWriter(path, vocab_size=vocab_size) as writer:
        for document in documents:
            writer.add(document)
    return path


@pytest.fixture
def large_shard(tmp_path: Path) -> Path:
    """Return a shard of several CRC blocks."""
    ids = np.random.default_rng(0).integers(0, 300, size=(50, 3000)).tolist()
    return _write(tmp_path / "a.shard", ids)


@settings(max_examples=30, deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(0, 99_999), max_size=50), max_size=20),
    vocab_size=st.sampled_from([100_000, 1 << 20]),
)
def test_documents_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], vocab_size: int
) -> None:
    path = _write(tmp_path_factory.mktemp("shards") / "a.shard", documents, vocab_size=vocab_size)
    shard = ShardReader(path)
    assert [document.tolist() for document in shard] == documents
    assert shard.num_tokens == sum(map(len, documents)) == len(shard.tokens)
    assert shard.vocab_size == vocab_size


@pytest.mark.parametrize(("vocab_size", "width"), [(65_536, 2), (65_537, 4)])
def test_small_vocabularies_take_two_bytes_a_token(tmp_path: Path, vocab_size: int, width: int) -> None:
    shard = ShardReader(_write(tmp_path / "a.shard", [[0, vocab_size - 1]], vocab_size=vocab_size))
    assert shard.tokens.itemsize == width
    assert shard.tokens.tolist() == [0, vocab_size - 1]


def test_tokens_are_mapped_and_cannot_be_changed(large_shard: Path) -> None:
    shard = ShardReader(large_shard)
    assert isinstance(shard.tokens, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        shard.tokens[0] = 1


def test_the_same_documents_give_the_same_bytes(tmp_path: Path) -> None:
    documents = [[1, 2, 3], [], [299]]
    first, second = (_write(tmp_path / name, documents).read_bytes() for name in ("a.shard", "b.shard"))
    assert first == second


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.99, 1.0])
def test_a_truncated_shard_is_refused_with_its_name_and_offset(large_shard: Path, share: float) -> None:
    data = large_shard.read_bytes()
    size = min(int(share * len(data)), len(data) - 1)
    large_shard.write_bytes(data[:size])
    with pytest.raises(DataError, match=f"a.shard: truncated at offset {size} "):
        ShardReader(large_shard)


def test_every_flipped_bit_is_noticed(large_shard: Path) -> None:
    data = large_shard.read_bytes()
    places = np.random.default_rng(1).integers(0, len(data), size=60).tolist()
    for place in [*range(0, 64, 5), *places, len(data) - 1]:
        damaged = bytearray(data)
        damaged[place] ^= 4
        large_shard.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.shard: .*(offset|starts with)"):
            ShardReader(large_shard)


def test_damaged_tokens_are_named_by_the_offset_of_their_block(large_shard: Path) -> None:
    data = bytearray(large_shard.read_bytes())
    data[64 + 65_536 + 100] ^= 1
    large_shard.write_bytes(data)
    with pytest.raises(DataError, match="CRC mismatch at offset 65600"):
        ShardReader(large_shard)
    ShardReader(large_shard, verify=False)  # the tokens are only read when somebody asks for them


def test_bytes_after_the_end_are_refused(large_shard: Path) -> None:
    large_shard.write_bytes(large_shard.read_bytes() + b"xyz")
    with pytest.raises(DataError, match="3 bytes too many"):
        ShardReader(large_shard)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.shard").write_bytes(b"PK\x03\x04" * 100)
    with pytest.raises(DataError, match="not a shard"):
        ShardReader(tmp_path / "a.shard")


def test_a_missing_shard_is_a_file_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not found"):
        ShardReader(tmp_path / "none.shard")
    with pytest.raises(FileError, match="holds no shards"):
        find_shards(tmp_path)


@pytest.mark.parametrize("bad", [-1, 300])
def test_an_id_outside_the_vocabulary_is_refused(tmp_path: Path, bad: int) -> None:
    with (
        pytest.raises(DataError, match=f"token id {bad} does not fit"),
        ShardWriter(tmp_path / "a.shard", vocab_size=300) as writer,
    ):
        writer.add([5, bad])


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ShardWriter(tmp_path / "a.shard", vocab_size=300) as writer:
        writer.add([1, 2])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / "a.shard", vocab_size=300)
    writer._file.close()
    writer._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - the writer closes it
    with pytest.raises(SpaceError, match="disk is full"):
        writer.add([1] * 100_000)


def test_shards_are_found_in_order(tmp_path: Path) -> None:
    for name in ("b.shard", "a.shard"):
        _write(tmp_path / name, [[1, 2, 3]])
    found = find_shards(tmp_path)
    assert [path.name for path in found] == ["a.shard", "b.shard"]
    assert count_tokens(ShardReader(path) for path in found) == 6
