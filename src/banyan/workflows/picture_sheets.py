"""Measured pictures on paper: the figures as JSON, and sheets of what was drawn beside what is real."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from banyan.core.files import atomic_write_bytes, atomic_write_json
from banyan.tokenizers.pictures import contact_sheet, image_to_png
from banyan.workflows.picture_scores import PictureReport

SCORES_FILE = "picture-scores.json"
_COLUMNS = 8


def keep_report(report: PictureReport, figures: Mapping[str, Any], directory: Path) -> None:
    """Write the figures with the wishes of each sheet, and the sheets: drawn, real, and nearest of training.

    Raises: SpaceError if they cannot be written.
    """
    wishes = {name: list(sheet.wishes) for name, sheet in report.sheets.items()}
    atomic_write_json(directory / SCORES_FILE, {**figures, "wishes": wishes})
    for name, sheet in report.sheets.items():
        for kind, images in (("drawn", sheet.drawn), ("real", sheet.real), ("nearest", sheet.nearest)):
            picture = contact_sheet(images, columns=_COLUMNS, scale=2)
            atomic_write_bytes(directory / f"{name}-{kind}.png", image_to_png(picture))
