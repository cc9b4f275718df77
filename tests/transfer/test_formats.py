import io
import zipfile
from pathlib import Path

import pytest

from banyan.core.errors import CheckpointError, FileError, UnknownNameError
from banyan.transfer.formats import WEIGHT_FORMATS, open_foreign

SOURCE = Path(__file__).parent.parent.parent / "src" / "banyan" / "transfer"


def zip_pickle() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    return buffer.getvalue()


def test_every_format_has_a_file_and_a_test_of_its_name() -> None:
    for name in WEIGHT_FORMATS:
        assert (SOURCE / f"{name}.py").is_file()
        assert (Path(__file__).parent / f"test_{name}.py").is_file()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "last.ckpt"])
@pytest.mark.parametrize("content", [zip_pickle(), b"\x80\x02}q\x00." + bytes(40)])
@pytest.mark.parametrize("is_folder", [True, False])
def test_a_pickle_is_refused_with_the_reason_and_the_way_out(
    tmp_path: Path, name: str, content: bytes, is_folder: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(CheckpointError, match=f"{name} is a pickle, which can run any code") as error:
        open_foreign(tmp_path if is_folder else tmp_path / name)
    assert error.value.hint and "save_pretrained" in error.value.hint


def test_a_folder_of_no_known_format_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    with pytest.raises(CheckpointError, match="of no format that Banyan reads: a Hugging Face directory.*llama2.c"):
        open_foreign(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "notes.txt", "model.gguf"])
def test_a_lone_file_of_no_known_format_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"something else entirely, and rather long")
    with pytest.raises(CheckpointError, match="of no format"):
        open_foreign(tmp_path / name)


def test_a_part_of_a_folder_hints_at_the_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(CheckpointError) as error:
        open_foreign(tmp_path / "model.safetensors")
    assert error.value.hint == f"give the folder: {tmp_path}"


def test_a_pickle_is_refused_also_where_the_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(zip_pickle())
    with pytest.raises(CheckpointError, match="is a pickle"):
        open_foreign(tmp_path, format="hugging_face")


def test_a_source_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not found"):
        open_foreign(tmp_path / "gone")


def test_an_unknown_format_suggests_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean hugging_face"):
        open_foreign(tmp_path, format="huggingface")


@pytest.mark.parametrize("format", sorted(WEIGHT_FORMATS))
def test_an_empty_folder_is_refused_by_every_format(tmp_path: Path, format: str) -> None:
    with pytest.raises(CheckpointError) as error:
        open_foreign(tmp_path, format=format)
    assert "\n" not in str(error.value)
