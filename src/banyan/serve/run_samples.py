"""What the model of a run answered at an evaluation, read back from the page the run wrote of it."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from banyan.core.errors import FileError
from banyan.core.files import read_text
from banyan.core.run_directory import SAMPLES_DIRECTORY

MAX_PAGE_BYTES = 1 << 20
MAX_PICTURE_BYTES = 1 << 20
_PAGE = re.compile(r"step-(\d{8,12})\.md")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownSample:
    """One question, the answer to it, and what would have been right."""

    task: str
    asked: str = ""
    answered: str = ""
    right: str = ""
    b64_png: str | None = None  # where the answer is a picture


def sample_steps(run_directory: Path) -> list[int]:
    """Return after which steps samples were taken, in order."""
    return sorted(_pages(run_directory))


def read_samples(run_directory: Path, step: int) -> list[ShownSample]:
    """Return the samples of one evaluation; none if there are none of this step.

    Only files that were found in the run's own folder are opened, and no links.
    """
    page = _pages(run_directory).get(step)
    if page is None:
        return []
    with suppress(FileError):
        return [_with_picture(page, sample) for sample in parse_samples(read_text(page, max_bytes=MAX_PAGE_BYTES))]
    return []


def parse_samples(text: str) -> Iterator[ShownSample]:
    """Read a page of samples. A line of a text is indented there, so that no text can pass for a heading."""
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        task, _, rest = part.partition("\n")
        blocks = re.split(r"^(Asked|Answered|Right):$", rest, flags=re.MULTILINE)
        found = dict(zip(blocks[1::2], map(_unindented, blocks[2::2]), strict=True))
        yield ShownSample(
            task=task,
            asked=found.get("Asked", ""),
            answered=found.get("Answered", ""),
            right=found.get("Right", ""),
        )


def _unindented(block: str) -> str:
    return "\n".join(line[4:] for line in block.split("\n") if line.startswith("    "))


def _pages(run_directory: Path) -> dict[int, Path]:
    return {int(match[1]): path for path in _own_files(run_directory) if (match := _PAGE.fullmatch(path.name))}


def _own_files(run_directory: Path) -> list[Path]:
    with suppress(OSError):
        return [
            path for path in (run_directory / SAMPLES_DIRECTORY).iterdir() if path.is_file() and not path.is_symlink()
        ]
    return []


def _with_picture(page: Path, sample: ShownSample) -> ShownSample:
    wanted = f"{page.stem}-{sample.task}.png"
    picture = next((path for path in _own_files(page.parent.parent) if path.name == wanted), None)
    if picture is None or picture.stat().st_size > MAX_PICTURE_BYTES:
        return sample
    with suppress(OSError):
        return ShownSample(task=sample.task, asked=sample.asked, b64_png=b64encode(picture.read_bytes()).decode())
    return sample
