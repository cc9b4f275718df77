"""Pages of which a proof writes the part between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_between(path: Path, begin: str, end: str, lines: Sequence[str]) -> None:
    """Put lines between two marks of a page, in place of what stood there."""
    before, _, rest = path.read_text("utf-8").partition(begin)
    after = rest.partition(end)[2]
    middle = "\n".join(("", "", *lines, "", ""))
    path.write_text(f"{before}{begin}{middle}{end}{after}", "utf-8")
