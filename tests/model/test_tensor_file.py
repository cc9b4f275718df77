import io
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from banyan.core.errors import CheckpointError
from banyan.model.tensor_file import TensorFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(4)}, file)
    return file


def one_line(error: pytest.ExceptionInfo[CheckpointError], path: Path) -> str:
    message = str(error.value)
    assert "\n" not in message and str(path) in message
    return message


def test_a_tensor_comes_back_as_it_was_saved(path: Path) -> None:
    assert torch.equal(TensorFile(path, expected={"a", "b"}).read("a", shape=(2, 3)), torch.arange(6.0).reshape(2, 3))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file") as error:
        TensorFile(tmp_path / "gone.safetensors", expected=set())
    one_line(error, tmp_path)


@pytest.mark.parametrize("num_bytes", [0, 4, 60, -1])
def test_a_truncated_file_is_refused(path: Path, num_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(CheckpointError, match="truncated or corrupt") as error:
        TensorFile(path, expected={"a", "b"})
    one_line(error, path)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>", b"\xff" * 64, b"version https://git-lfs"])
def test_a_file_of_another_format_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="truncated or corrupt") as error:
        TensorFile(path, expected={"a", "b"})
    one_line(error, path)


def zip_pickle() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    return buffer.getvalue()


@pytest.mark.parametrize("content", [zip_pickle(), b"\x80\x02}q\x00.", b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00"])
def test_a_pickle_under_another_name_is_refused_unread(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="pickle file under another name") as error:
        TensorFile(path, expected={"a", "b"})
    one_line(error, path)


def test_a_missing_or_an_unknown_tensor_is_named(path: Path) -> None:
    with pytest.raises(CheckpointError, match="lacks tensor c and 1 more") as error:
        TensorFile(path, expected={"a", "b", "c", "d"})
    one_line(error, path)
    with pytest.raises(CheckpointError, match="holds tensor b, which the config does not know") as error:
        TensorFile(path, expected={"a"})
    one_line(error, path)


def test_a_tensor_of_another_shape_or_of_whole_numbers_is_refused(tmp_path: Path, path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tensor a has shape \(2, 3\), but the config asks for \(3, 2\)"):
        TensorFile(path, expected={"a", "b"}).read("a", shape=(3, 2))
    save_file({"a": torch.arange(3)}, path)
    with pytest.raises(CheckpointError, match=r"tensor a holds I64, but weights are floating point"):
        TensorFile(path, expected={"a"}).read("a", shape=(3,))
