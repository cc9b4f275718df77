"""Pictures in arrays: IDX files as MNIST comes in, and NumPy's npz. Labels lie beside them."""

from __future__ import annotations

import math
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from banyan.core.errors import DataError, FileError
from banyan.core.types import Row
from banyan.data.opening import COMPRESSIONS, check_readable, read_whole
from banyan.tokenizers.pictures import image_from_array

Array = NDArray[Any]

MAX_ARCHIVE_BYTES = 4 << 30  # of an npz, unpacked
_IDX_NAME = re.compile(r"(images|labels)[-_.]?idx\d[-_.]?ubyte")  # in the name in small letters
_UBYTE = 8  # the only type of number that pictures and labels come in
_SPLIT_OF_WORD = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "t10k"), "test"),
}
_PICTURE_NAMES = ("x", "images", "image", "img", "imgs", "pictures", "data", "arr_0")
_LABEL_NAMES = ("y", "labels", "label", "targets", "target", "classes", "arr_1")


def is_idx(path: Path) -> bool:
    """Whether a file is named as an IDX file of pictures: train-images-idx3-ubyte.gz, in small or capital letters."""
    return _idx_kind(path) == "images"


def idx_files(folder: Path) -> list[Path]:
    """Return the IDX files of pictures that lie in a folder; of one that lies there compressed as well, the plain."""
    files = sorted((path for path in folder.iterdir() if is_idx(path) and path.is_file()), key=_plain_first)
    return sorted({_idx_set(path): path for path in reversed(files)}.values())


def _idx_kind(path: Path) -> str | None:
    found = _IDX_NAME.search(path.name.lower())
    return None if found is None else found.group(1)


def _idx_set(path: Path) -> str:
    """Return what the pictures and the labels that belong together have in common in their names."""
    return _IDX_NAME.sub("", path.name.lower()).removesuffix(".gz").removesuffix(".zst")


def _plain_first(path: Path) -> tuple[bool, str]:
    return path.suffix.lower() in COMPRESSIONS, path.name


def read_idx(path: Path, *, split: str | None = None) -> Iterator[Row]:
    """Yield the pictures of an IDX file, with the labels of the file beside it: {"image", "label"}.

    train-images-idx3-ubyte.gz goes together with train-labels-idx1-ubyte.gz, however either is spelt and compressed;
    without such a file there are no labels.
    In a folder, the file of the `split` is read (train-images, t10k-images); without a split, that for training.
    Raises: DataError if a file is no IDX file, or the numbers of pictures and labels differ.
    """
    if path.is_dir():
        path = _idx_of_split(path, split or "train")
    pictures = _idx_array(path)
    labels_path = _labels_beside(path)
    yield from _as_rows(path, pictures, None if labels_path is None else _idx_array(labels_path))


def _idx_of_split(folder: Path, split: str) -> Path:
    files = idx_files(folder)
    of_split = [file for file in files if _split_of(file.name) == split]
    chosen = of_split or (files if len(files) == 1 else [])
    if len(chosen) != 1:
        names = ", ".join(file.name for file in files)
        raise DataError(f"{folder} holds no IDX file of pictures for {split}; it holds {names}.", hint="name the file")
    return chosen[0]


def _labels_beside(path: Path) -> Path | None:
    beside = (other for other in path.parent.iterdir() if _idx_kind(other) == "labels" and other.is_file())
    return min((other for other in beside if _idx_set(other) == _idx_set(path)), key=_plain_first, default=None)


def _idx_array(path: Path) -> Array:
    data = read_whole(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != _UBYTE or not 1 <= data[3] <= 4:
        raise DataError(f"{path} is not an IDX file of bytes.", hint="check that it is what its name says")
    num_dims = data[3]
    start = 4 + 4 * num_dims
    sizes = struct.unpack(f">{num_dims}I", data[4:start]) if len(data) >= start else (0,)
    if len(data) - start != math.prod(sizes):
        raise DataError(
            f"{path} should hold {'×'.join(map(str, sizes))} bytes after its header, got {len(data) - start}.",
            hint="copy it again: it is cut off, or was changed",
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(sizes)


def read_npz(path: Path, *, split: str | None = None) -> Iterator[Row]:
    """Yield the pictures of an npz file with their labels: {"image", "label"}.

    Arrays are found by name (x and y, images and labels …). Where their names speak of splits (x_train, test_images),
    those of `split` are read; without a split, those for training.
    Raises: FileError if it cannot be opened; DataError if it holds no pictures, or several arrays could be meant.
    """
    arrays = _npz_arrays(path)
    wanted = split or "train" if any(map(_split_of, arrays)) else None
    own = {name: array for name, array in arrays.items() if _split_of(name) == wanted}
    pictures = _find(own, _PICTURE_NAMES, is_fitting=lambda array: array.ndim in (3, 4) and array.dtype == np.uint8)
    if pictures is None:
        shapes = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items())
        of_split = f" of the split {wanted}" if wanted else ""
        raise DataError(
            f"{path} holds no pictures{of_split}; it holds {shapes or 'nothing'}.",
            hint="name 8-bit arrays of (number, height, width) or (number, height, width, 3) images and labels",
        )
    labels = _find(own, _LABEL_NAMES, is_fitting=lambda array: array.dtype.kind in "iu" and array.size == len(array))
    yield from _as_rows(path, pictures, None if labels is None else labels.reshape(-1))


def _npz_arrays(path: Path) -> dict[str, Array]:
    check_readable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            num_bytes = sum(item.file_size for item in archive.infolist())
        if num_bytes > MAX_ARCHIVE_BYTES:
            raise DataError(
                f"{path} unpacks to {num_bytes >> 20} MiB; at most {MAX_ARCHIVE_BYTES >> 20} are read.",
                hint="save the pictures in several files, and name them in a list",
            )
        with np.load(path, allow_pickle=False) as opened:
            members = {name: opened[name] for name in opened.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise FileError(
            f"{path} cannot be read as npz ({str(error).splitlines()[0]}).", hint="copy it again"
        ) from error
    # A number by itself (num_classes=10) is no array of pictures or labels, and a file that is no array comes as bytes.
    return {name: member for name, member in members.items() if isinstance(member, np.ndarray) and member.ndim}


def _split_of(name: str) -> str | None:
    return next((_SPLIT_OF_WORD[word] for word in _words(name) if word in _SPLIT_OF_WORD), None)


def _words(name: str) -> list[str]:
    return re.findall("[a-z0-9]+", name.lower())


def _find(arrays: Mapping[str, Array], names: tuple[str, ...], *, is_fitting: Callable[[Array], bool]) -> Array | None:
    """Return the array that a word of its name says is meant; the only fitting one needs no such name."""
    fitting = {name: array for name, array in arrays.items() if is_fitting(array)}
    named = [array for name, array in fitting.items() if {name.lower(), *_words(name)} & {*names}]
    if len(named) == 1:
        return named[0]
    return next(iter(fitting.values())) if len(fitting) == 1 else None


def _as_rows(path: Path, pictures: Array, labels: Array | None) -> Iterator[Row]:
    if pictures.ndim == 4 and pictures.shape[1] in (1, 3) and pictures.shape[3] not in (1, 3):
        pictures = pictures.transpose(0, 2, 3, 1)  # channels first, as PyTorch has them
    if pictures.ndim not in (3, 4) or (pictures.ndim == 4 and pictures.shape[3] not in (1, 3)):
        raise DataError(
            f"{path} holds no pictures: an array of {'×'.join(map(str, pictures.shape))} numbers.",
            hint="pictures are (number, height, width), or the same with 1 or 3 channels first or last",
        )
    if labels is not None and labels.shape != (len(pictures),):
        raise DataError(f"{path}: {len(pictures)} pictures do not fit {labels.size} labels.", hint="copy both again")
    for number, picture in enumerate(pictures):
        image = image_from_array(np.ascontiguousarray(picture))
        yield {"image": image} if labels is None else {"image": image, "label": int(labels[number])}
