"""Files are opened whatever their compression, and every wrong one is one clear line."""

import gzip
import os
from pathlib import Path

import pytest
import zstandard

from banyan.core.errors import BanyanError, DataError, FileError
from banyan.data.opening import check_readable, read_lines, read_whole_text, stem_of, suffix_of


def _file(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_lines_come_without_line_ends_and_marks(tmp_path: Path, ending: str) -> None:
    squeeze = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}[ending]
    path = _file(tmp_path / f"a.txt{ending}", squeeze("\ufeffone\r\n\r\nzwei 二\nthree".encode()))
    assert list(read_lines(path)) == ["one", "", "zwei 二", "three"]
    assert read_whole_text(path) == "one\n\nzwei 二\nthree"


def test_several_compressed_frames_are_one_file(tmp_path: Path) -> None:
    squeeze = zstandard.ZstdCompressor().compress
    path = _file(tmp_path / "a.txt.zst", squeeze(b"one\nt") + squeeze(b"wo\n"))
    assert list(read_lines(path)) == ["one", "two"]


def test_a_line_longer_than_a_reading_piece_stays_whole(tmp_path: Path) -> None:
    text = "é" * 1_500_000
    assert list(read_lines(_file(tmp_path / "a.txt", f"{text}\nb"))) == [text, "b"]


def test_a_line_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banyan.data.opening.MAX_LINE_BYTES", 1 << 20)
    with pytest.raises(DataError, match="has a line longer than 1 MiB"):
        list(read_lines(_file(tmp_path / "a.txt", "x" * 3_000_000)))


@pytest.mark.parametrize(
    ("name", "stem", "suffix"), [("a.CSV.gz", "a", ".csv"), ("b.c.txt", "b.c", ".txt"), ("none", "none", "")]
)
def test_names_are_read_without_their_compression(name: str, stem: str, suffix: str) -> None:
    assert (stem_of(Path(name)), suffix_of(Path(name))) == (stem, suffix)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for name, problem in {"none": "not found", "loop": "cannot read", "pipe": "neither a file nor a folder"}.items():
        with pytest.raises(FileError, match=problem):
            check_readable(tmp_path / name)
    with pytest.raises(FileError, match="is a directory"):
        list(read_lines(tmp_path))


_TEXT = os.urandom(4000).hex().encode()
_GZIPPED = gzip.compress(_TEXT)
_BAD_FILES: dict[str, tuple[str | bytes, type[BanyanError], str]] = {
    "empty.txt": ("", DataError, "is empty"),
    "empty.txt.gz": (gzip.compress(b""), DataError, "is empty"),
    "binary.txt": (b"abc\0def", FileError, "is a binary file"),
    "utf16.txt": ("abc".encode("utf-16"), FileError, "is UTF-16"),
    "zip.txt": (b"PK\x03\x04abc", FileError, "is a zip archive"),
    "latin.txt": ("naïve".encode("latin-1"), FileError, r"not UTF-8 at byte 2 \(0xef\)"),
    "latin.csv": (b"text,label\nok,1\nna\xefve,1\n", FileError, r"not UTF-8 at byte 18 \(0xef\)"),
    "cut.txt.gz": (_GZIPPED[:-1000], FileError, "is cut off"),
    "broken.txt.gz": (b"not gzip at all", FileError, "cannot be decompressed"),
    "damaged.txt.gz": (_GZIPPED[:100] + b"\xff" * 50 + _GZIPPED[150:], FileError, "cannot be decompressed"),
    "cut.txt.zst": (zstandard.ZstdCompressor().compress(_TEXT)[:-9], FileError, "is cut off"),
    "broken.txt.zst": (b"not zstd at all", FileError, "cannot be decompressed"),
}


@pytest.mark.parametrize("name", _BAD_FILES)
def test_a_wrong_file_is_one_clear_line_that_names_it(tmp_path: Path, name: str) -> None:
    content, kind, message = _BAD_FILES[name]
    path = _file(tmp_path / name, content)
    for read in (lambda: list(read_lines(path)), lambda: read_whole_text(path)):
        with pytest.raises(kind, match=message) as caught:
            read()
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
