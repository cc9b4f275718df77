"""Pictures get their captions from a table, from a file beside them, or from their folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from banyan.core.errors import DataError
from banyan.data.picture_folders import find_captions, list_captioned
from banyan.data.sources import detect_format, read_rows
from banyan.tasks.pictures import read_picture
from banyan.tokenizers.pictures import image_from_array, image_to_png


def _picture(path: Path, *, grey: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image_to_png(image_from_array(np.full((4, 6), grey, dtype=np.uint8))))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        _picture(tmp_path / name)
    return tmp_path


def _captions(folder: Path) -> list[tuple[str, str]]:
    return [(path.name, caption) for path, caption in list_captioned(folder)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.csv", "file,text\na.png,a dog\nb.png,a cat\n"),
        ("captions.txt", "image,caption\na.png,a dog\nb.png,a cat\n"),
        ("captions.tsv", "a.png\ta dog\nb.png\ta cat\n"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "a dog"}\n{"file_name": "b.png", "text": "a cat"}\n'),
        ("captions.json", json.dumps([{"image": "a.png", "caption": "a dog"}, {"image": "b.png", "caption": "a cat"}])),
    ],
)
def test_a_table_gives_the_captions(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    assert _captions(folder) == [("a.png", "a dog"), ("b.png", "a cat")]


def test_several_captions_give_several_rows(folder: Path) -> None:
    (folder / "captions.jsonl").write_text('{"file": "a.png", "captions": ["a dog", "an animal"]}')
    assert _captions(folder)[:2] == [("a.png", "a dog"), ("a.png", "an animal")]


def test_a_picture_of_which_a_table_says_nothing_has_a_blank_caption(folder: Path) -> None:
    _picture(folder / "c.png")
    rows = [{"file": "a.png", "text": "a dog"}, {"file": "b.png", "text": None}, {"file": "c.png", "text": []}]
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert _captions(folder) == [("a.png", "a dog"), ("b.png", ""), ("c.png", "")]


def test_a_picture_that_a_table_passes_over_has_a_blank_caption_where_it_lies_among_others(folder: Path) -> None:
    _picture(folder / "test/c.png")
    (folder / "captions.csv").write_text("file,text\n./a.png,a dog\n")
    assert _captions(folder) == [("a.png", "a dog"), ("b.png", "")]


def test_a_text_file_beside_a_picture_is_its_caption(folder: Path) -> None:
    (folder / "a.txt").write_text("a dog\n")
    (folder / "b.txt").write_text("a cat\n")
    assert _captions(folder) == [("a.png", "a dog"), ("b.png", "a cat")]


def test_a_folder_name_is_the_caption_of_its_pictures(tmp_path: Path) -> None:
    _picture(tmp_path / "red_circles/1.png")
    _picture(tmp_path / "dogs/x.JPG")
    _picture(tmp_path / ".thumbnails/x.png")
    assert _captions(tmp_path) == [("x.JPG", "dogs"), ("1.png", "red circles")]
    assert detect_format(tmp_path) == "pictures"


def test_rows_hold_the_file_as_it_is_and_where_it_lies(tmp_path: Path) -> None:
    file = _picture(tmp_path / "dogs/1.png", grey=9)
    [row] = read_rows(tmp_path)
    assert row == {"image": {"bytes": file.read_bytes(), "path": str(file)}, "text": "dogs"}
    image = read_picture(row["image"])
    assert (image.width, image.height, set(image.pixels)) == (6, 4, {9})


def test_a_broken_picture_costs_its_row_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG no")
    [row] = read_rows(tmp_path)
    with pytest.raises(DataError, match=r"bad\.png\): the file is not a picture"):
        read_picture(row["image"])


@pytest.mark.parametrize("num_bytes", [None, 0])
def test_a_picture_that_is_missing_or_empty_costs_its_row_and_is_named(folder: Path, num_bytes: int | None) -> None:
    if num_bytes is not None:
        (folder / "c.png").write_bytes(bytes(num_bytes))
    (folder / "captions.csv").write_text("file,text\na.png,a dog\nc.png,a cat\n")
    first, second, *_ = read_rows(folder)
    assert read_picture(first["image"]).width == 6 and second["text"] == "a cat"
    with pytest.raises(DataError, match=r"c\.png\): the file is missing, empty"):
        read_picture(second["image"])


def test_a_table_whose_first_picture_is_missing_still_gives_the_captions(folder: Path) -> None:
    (folder / "captions.csv").write_text("file,text\nlost.png,a bird\na.png,a dog\n")
    assert _captions(folder) == [("lost.png", "a bird"), ("a.png", "a dog"), ("b.png", "")]


def test_an_empty_text_file_beside_a_picture_is_a_blank_caption(folder: Path) -> None:
    (folder / "a.txt").touch()
    assert dict(_captions(folder))["a.png"] == ""


def test_other_files_among_pictures_are_not_captions(folder: Path) -> None:
    (folder / "notes.txt").write_text("bought in Rome\n")
    (folder / "binary.csv").write_bytes(b"\0\1")
    assert find_captions(folder) is None
