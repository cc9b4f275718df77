"""Pictures in IDX and npz files come with the labels that lie beside them."""

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from banyan.core.errors import DataError, FileError
from banyan.data.picture_arrays import idx_files
from banyan.data.sources import detect_format, read_rows
from banyan.tokenizers.pictures import image_to_array

PICTURES = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
LABELS = np.array([3, 1, 4, 1, 5], dtype=np.uint8)


def _idx(path: Path, array: np.ndarray) -> None:
    data = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix.lower() == ".gz" else data)


@pytest.mark.parametrize("end", ["", ".gz"], ids=["plain", "compressed"])
def test_idx_pictures_find_their_labels_and_their_split(tmp_path: Path, end: str) -> None:
    for name, part in (("train", slice(0, 3)), ("t10k", slice(3, 5))):
        _idx(tmp_path / f"{name}-images-idx3-ubyte{end}", PICTURES[part])
        _idx(tmp_path / f"{name}-labels-idx1-ubyte{end}", LABELS[part])
    assert detect_format(tmp_path) == "idx"
    assert [row["label"] for row in read_rows(tmp_path, split="test")] == [1, 5]
    rows = list(read_rows(tmp_path / f"train-images-idx3-ubyte{end}"))
    assert [row["label"] for row in rows] == [3, 1, 4]
    np.testing.assert_array_equal(image_to_array(rows[2]["image"])[:, :, 0], PICTURES[2])


@pytest.mark.parametrize(
    ("pictures", "labels"),
    [
        ("Train-Images.IDX3-UBYTE", "Train-Labels.IDX1-UBYTE"),
        ("train-images.idx3-ubyte", "train-labels-idx1-ubyte"),
        ("TRAIN-IMAGES-IDX3-UBYTE.GZ", "train-labels.idx1-ubyte.gz"),
        ("train_images_idx3_ubyte", "train_labels_idx1_ubyte.gz"),
    ],
)
def test_labels_are_found_however_the_names_are_spelt(tmp_path: Path, pictures: str, labels: str) -> None:
    _idx(tmp_path / pictures, PICTURES)
    _idx(tmp_path / labels, LABELS)
    _idx(tmp_path / "t10k-labels-idx1-ubyte", LABELS[::-1])
    for place in (tmp_path, tmp_path / pictures):
        assert [row["label"] for row in read_rows(place)] == LABELS.tolist()


def test_files_that_lie_beside_their_compressed_twins_are_read_once(tmp_path: Path) -> None:
    for end in ("", ".gz"):
        _idx(tmp_path / f"train-images-idx3-ubyte{end}", PICTURES)
        _idx(tmp_path / f"train-labels-idx1-ubyte{end}", LABELS)
    assert [path.name for path in idx_files(tmp_path)] == ["train-images-idx3-ubyte"]
    assert [row["label"] for row in read_rows(tmp_path)] == LABELS.tolist()


def test_an_npz_file_holds_splits_by_the_names_of_its_arrays(tmp_path: Path) -> None:
    colour = np.stack([PICTURES] * 3, axis=1)  # channels first
    np.savez(tmp_path / "a.npz", x_train=colour[:3], y_train=LABELS[:3, None], x_test=colour[3:], y_test=LABELS[3:])
    assert [row["label"] for row in read_rows(tmp_path / "a.npz")] == [3, 1, 4]
    rows = list(read_rows(tmp_path / "a.npz", split="test"))
    assert [row["label"] for row in rows] == [1, 5]
    np.testing.assert_array_equal(image_to_array(rows[1]["image"]), colour[4].transpose(1, 2, 0))


def test_what_lies_beside_the_arrays_in_an_npz_file_is_passed_over(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=PICTURES, labels=LABELS, num_classes=10)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("README.txt", "five pictures")
    assert [row["label"] for row in read_rows(tmp_path / "a.npz")] == LABELS.tolist()


def test_damaged_and_foreign_arrays_are_named(tmp_path: Path) -> None:
    _idx(tmp_path / "train-images-idx3-ubyte", PICTURES)
    _idx(tmp_path / "train-labels-idx1-ubyte", LABELS[:4])
    with pytest.raises(DataError, match="5 pictures do not fit 4 labels"):
        list(read_rows(tmp_path))
    whole = (tmp_path / "train-images-idx3-ubyte").read_bytes()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"should hold 5×4×4 bytes"):
        list(read_rows(tmp_path))
    np.savez(tmp_path / "a.npz", values=np.zeros(3))
    with pytest.raises(DataError, match=r"holds no pictures; it holds values float64 \(3,\)"):
        list(read_rows(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", images=np.array([{}], dtype=object))
    with pytest.raises(FileError, match="cannot be read as npz"):
        list(read_rows(tmp_path / "b.npz"))
