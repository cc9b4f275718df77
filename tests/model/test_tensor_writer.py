import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from banyan.core.errors import SpaceError
from banyan.model import tensor_writer
from banyan.model.tensor_file import TensorFile, open_tensors
from banyan.model.tensor_writer import bytes_of, write_tensors

FILE = "model.safetensors"
TENSORS = {
    "b": torch.arange(12.0).reshape(3, 4),
    "a": torch.arange(5).to(torch.bfloat16),  # ten bytes: what follows it would lie askew
    "é": torch.ones(2, 2, dtype=torch.float16),
    "c": torch.full((3,), 7.0, dtype=torch.float64),
    "empty": torch.zeros(0, 4),
    "one": torch.tensor(3.0),
}


@pytest.fixture
def source(tmp_path: Path) -> TensorFile:
    save_file(TENSORS, tmp_path / "source.safetensors")
    return TensorFile(tmp_path / "source.safetensors")


def assert_same(found: dict[str, Tensor]) -> None:
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def test_the_library_of_safetensors_reads_what_was_written(source: TensorFile, tmp_path: Path) -> None:
    write_tensors(tmp_path / "out", FILE, source)
    assert_same(load_file(tmp_path / "out" / FILE))
    with safe_open(tmp_path / "out" / FILE, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_every_tensor_lies_at_a_multiple_of_its_own_width(source: TensorFile, tmp_path: Path) -> None:
    write_tensors(tmp_path, FILE, source)
    content = (tmp_path / FILE).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert (8 + length) % 8 == 0
    for name, tensor in TENSORS.items():
        assert header[name]["data_offsets"][0] % tensor.element_size() == 0


def test_large_models_lie_in_shards_that_read_as_one(source: TensorFile, tmp_path: Path) -> None:
    write_tensors(tmp_path / "out", FILE, source, max_shard_bytes=40)
    index = json.loads((tmp_path / "out" / f"{FILE}.index.json").read_text())
    shards = sorted(set(index["weight_map"].values()))
    assert shards[0] == f"model-00001-of-{len(shards):05}.safetensors" and len(shards) > 1
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in TENSORS.values())
    tensors = open_tensors(tmp_path / "out", FILE, expected=set(TENSORS))
    assert_same(dict(tensors))
    assert len(tensors) == len(TENSORS) and tensors.place("a").endswith("-of-00003.safetensors")


def test_the_same_tensors_have_the_same_hash_and_others_another(source: TensorFile, tmp_path: Path) -> None:
    first = write_tensors(tmp_path / "1", FILE, source)
    assert write_tensors(tmp_path / "2", FILE, source) == first
    save_file({**TENSORS, "one": torch.tensor(3.5)}, tmp_path / "other.safetensors")
    assert write_tensors(tmp_path / "3", FILE, TensorFile(tmp_path / "other.safetensors")) != first


def test_progress_counts_up_to_the_bytes_of_all_tensors(source: TensorFile, tmp_path: Path) -> None:
    seen: list[int] = []
    write_tensors(tmp_path, FILE, source, max_shard_bytes=40, on_progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == sum(tensor.nbytes for tensor in TENSORS.values())


def test_bytes_are_those_in_memory_also_of_a_transposed_view() -> None:
    matrix = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    assert bytes(bytes_of(matrix.T)) == matrix.T.contiguous().numpy().tobytes()


def test_a_full_disk_is_said_in_one_line(source: TensorFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_: Tensor) -> memoryview:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tensor_writer, "bytes_of", no_space)
    with pytest.raises(SpaceError, match="the disk is full"):
        write_tensors(tmp_path, FILE, source)
