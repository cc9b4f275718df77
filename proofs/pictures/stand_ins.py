"""Three sets that stand in for a user's own small grey pictures, written as such a user has them: 28×28, ten classes.

Scanned digits as npz, CIFAR-10 in grey as IDX files with test pictures of their own, letters in a folder for each.
"""

from __future__ import annotations

import gzip
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from sklearn.datasets import load_digits

from banyan.data.catalog import load_split
from banyan.tasks.pictures import fit_picture, read_picture
from banyan.tokenizers.pictures import image_to_array

SIZE = 28  # pixels a side
LETTERS = "ABCDEFGHJK"
_NUM_GLYPHS = 12_000
_FILES_OF_SPLIT = {"train": "train", "test": "t10k"}  # as MNIST calls its IDX files

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """Pictures and what they show.

    Shapes: pixels (N, 28, 28); labels (N,), 0 to 9.
    """

    pixels: Bytes
    labels: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class StandIn:
    """A set, and the files it is written to."""

    places: Mapping[str, str]  # split → file or folder, as a recipe's data names it
    write: Callable[[Path, int | None], None]  # to a place, at most so many pictures


def digits(limit: int | None = None) -> Labelled:
    """Return the 1797 scanned digits of scikit-learn, scaled from 8×8."""
    found = load_digits()
    scans = (found.images[:limit] / 16 * 255).astype(np.uint8)
    scaled = [Pillow.fromarray(scan).resize((SIZE, SIZE), Pillow.Resampling.BICUBIC) for scan in scans]
    return Labelled(pixels=np.stack([np.asarray(one) for one in scaled]), labels=found.target[:limit].astype(np.int64))


def glyphs(limit: int | None = None) -> Labelled:
    """Return ten letters in the fonts that come with matplotlib, turned, moved and scaled a little."""
    rng = np.random.default_rng(0)
    fonts = letter_fonts()
    labels = rng.integers(0, len(LETTERS), _NUM_GLYPHS)[:limit]
    pictures = [_glyph(LETTERS[label], fonts[rng.integers(len(fonts))], rng) for label in labels]
    return Labelled(pixels=np.stack(pictures), labels=labels)


def letter_fonts() -> list[Path]:
    """Return the fonts that glyphs are set in: those for display hold signs of mathematics and no letters."""
    found = (Path(matplotlib.get_data_path()) / "fonts/ttf").glob("DejaVu*.ttf")
    return sorted(path for path in found if not path.stem.endswith("Display"))


def _glyph(letter: str, font: Path, rng: np.random.Generator) -> Bytes:
    opened = Pillow.new("L", (2 * SIZE, 2 * SIZE), 0)
    place = tuple((SIZE + rng.integers(-4, 5, 2)).tolist())
    shape = ImageFont.truetype(str(font), int(rng.integers(30, 47)))
    ImageDraw.Draw(opened).text(place, letter, fill=int(rng.integers(160, 256)), font=shape, anchor="mm")
    turned = opened.rotate(float(rng.uniform(-15, 15)), Pillow.Resampling.BILINEAR)
    return np.asarray(turned.resize((SIZE, SIZE), Pillow.Resampling.BOX))


def grey_cifar(split: str, limit: int | None = None) -> Labelled:
    """Return a split of CIFAR-10 in grey.

    Raises: FileError if BANYAN_DATA has no CIFAR-10.
    """
    rows = list(islice(load_split("cifar10", split), limit))
    fitted = (fit_picture(read_picture(row["image"]), image_size=SIZE, channels=1) for row in rows)
    pixels = np.stack([image_to_array(image)[:, :, 0] for image in fitted])
    return Labelled(pixels=pixels, labels=np.array([row["label"] for row in rows]))


def _write_npz(place: Path, limit: int | None) -> None:
    found = digits(limit)
    with place.open("wb") as file:
        np.savez(file, images=found.pixels, labels=found.labels)


def _write_idx(place: Path, limit: int | None) -> None:
    place.mkdir()
    for split, name in _FILES_OF_SPLIT.items():
        found = grey_cifar(split, limit)
        for kind, array in (("images-idx3", found.pixels), ("labels-idx1", found.labels.astype(np.uint8))):
            head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            (place / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes(), mtime=0))


def _write_folder(place: Path, limit: int | None) -> None:
    found = glyphs(limit)
    for number, (pixels, letter) in enumerate(zip(found.pixels, _letters(found.labels), strict=True)):
        file = place / letter / f"{number:05}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(pixels).save(file)


def _letters(labels: NDArray[np.int64]) -> Iterator[str]:
    return (LETTERS[label] for label in labels)


STAND_INS = {
    "digits": StandIn(places={"train": "digits.npz"}, write=_write_npz),
    "grey-cifar": StandIn(places={"train": "grey-cifar", "test": "grey-cifar"}, write=_write_idx),
    "glyphs": StandIn(places={"train": "glyphs"}, write=_write_folder),
}


def write_stand_in(name: str, folder: Path, *, limit: int | None = None) -> None:
    """Write a set to a folder unless it is there."""
    own = STAND_INS[name]
    place = folder / own.places["train"]
    if place.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f".{place.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    own.write(unfinished, limit)
    unfinished.rename(place)
