"""Opening data files: plain or compressed, always UTF-8, and one clear line for every way a file can be wrong."""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import zstandard

from banyan.core.errors import DataError, FileError

COMPRESSIONS = (".gz", ".zst")
MAX_LINE_BYTES = 1 << 28  # a longer line is not text somebody wrote

_PIECE_BYTES = 1 << 20
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_ARCHIVES = {b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z", b"Rar!": "rar"}


def suffix_of(path: Path) -> str:
    """Return what a file's name ends with before any compression, in small letters: reviews.CSV.gz → .csv."""
    name = Path(path.name.lower())
    return Path(name.stem).suffix if name.suffix in COMPRESSIONS else name.suffix


def stem_of(path: Path) -> str:
    """Return a file's name without its suffix and compression: reviews.csv.gz → reviews."""
    stem = path.stem if path.suffix.lower() in COMPRESSIONS else path.name
    return Path(stem).stem


def check_readable(path: Path) -> None:
    """Make sure a path is an ordinary file or a folder that can be read.

    Raises: FileError otherwise.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise FileError(f"{path} not found.", hint="check the path") from error
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise FileError(f"{path} is neither a file nor a folder.")


def read_pieces(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file piece by piece, decompressed if its name ends in .gz or .zst.

    Raises: FileError if it is missing, unreadable, or its compression is broken or cut off; DataError if it is empty.
    """
    check_readable(path)
    is_empty = True
    try:
        with path.open("rb") as file:
            for piece in _decompress(path, file):
                is_empty = is_empty and not piece
                yield piece
    except IsADirectoryError as error:
        raise FileError(f"{path} is a directory; a file is needed.") from error
    except EOFError as error:
        raise FileError(f"{path} is cut off: its compressed data ends too early.", hint="copy it again") from error
    except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise FileError(f"{path} cannot be decompressed: {error}.", hint="copy it again") from error
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot read {path}: {error.strerror or error}.") from error
    if is_empty:
        raise DataError(f"{path} is empty.", hint="give a file that holds some data")


def _decompress(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    suffix = path.suffix.lower()
    if suffix == ".zst":
        yield from _decompress_zstd(file)
        return
    opened: IO[bytes] = gzip.GzipFile(fileobj=file) if suffix == ".gz" else file  # type: ignore[assignment]
    while piece := opened.read(_PIECE_BYTES):
        yield piece


def _decompress_zstd(file: IO[bytes]) -> Iterator[bytes]:
    """Yield what the frames of a file hold; unlike the library's own reader it notices that the last one is cut off."""
    decompressor, is_complete, rest = None, True, b""
    while rest or (rest := file.read(_PIECE_BYTES)):
        if decompressor is None:
            decompressor = zstandard.ZstdDecompressor().decompressobj()
        yield decompressor.decompress(rest)
        is_complete, rest = decompressor.eof, decompressor.unused_data
        if is_complete:
            decompressor = None
    if not is_complete:
        raise EOFError


def read_whole(path: Path) -> bytes:
    """Read a file at once, decompressed if need be."""
    return b"".join(read_pieces(path))


def read_whole_text(path: Path) -> str:
    """Read a UTF-8 file at once; line ends become LF and a byte-order mark is dropped.

    Raises: FileError if it is binary or not UTF-8 (naming the first bad byte).
    """
    data = read_whole(path)
    _refuse_binary(path, data)
    return _decode(path, data, at=0).removeprefix("\ufeff").replace("\r\n", "\n")


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file without their line ends.

    Raises: FileError if it is binary or not UTF-8 (naming the first bad byte); DataError if a line is absurdly long.
    """
    offset = 0
    for number, raw in enumerate(_split_lines(path)):
        line = _decode(path, raw, at=offset)
        offset += len(raw) + 1
        yield (line.removeprefix("\ufeff") if number == 0 else line).removesuffix("\r")


def _split_lines(path: Path) -> Iterator[bytes]:
    parts: list[bytes] = []
    for number, piece in enumerate(read_pieces(path)):
        if number == 0:
            _refuse_binary(path, piece)
        first, *others = piece.split(b"\n")
        parts.append(first)
        if others:
            yield b"".join(parts)
            yield from others[:-1]
            parts = [others[-1]]
        elif sum(map(len, parts)) > MAX_LINE_BYTES:
            raise DataError(f"{path} has a line longer than {MAX_LINE_BYTES >> 20} MiB; is it text at all?")
    if last := b"".join(parts):
        yield last


def _decode(path: Path, data: bytes, *, at: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path} is not UTF-8 at byte {at + error.start} (0x{data[error.start]:02x}).",
            hint="convert it, for example with iconv -f LATIN1 -t UTF-8 (Chinese: -f GB18030)",
        ) from error


def _refuse_binary(path: Path, start: bytes) -> None:
    if start.startswith(_UTF16_MARKS):
        raise FileError(f"{path} is UTF-16, not UTF-8.", hint="convert it: iconv -f UTF-16 -t UTF-8")
    for mark, name in _ARCHIVES.items():
        if start.startswith(mark):
            raise FileError(f"{path} is a {name} archive.", hint="unpack it and give the files or the folder")
    if b"\0" in start[:8192]:
        raise FileError(f"{path} is a binary file; text in UTF-8 is needed.")
