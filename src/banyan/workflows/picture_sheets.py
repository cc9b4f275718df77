"""Measured pictures on paper: the figures as JSON, and sheets of what was drawn beside what is real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from banyan.core.files import atomic_write_bytes, atomic_write_json
from banyan.core.types import Image
from banyan.tasks.pictures import fit_picture
from banyan.tokenizers.pictures import contact_sheet, image_to_png
from banyan.workflows.picture_scores import SHEET_COLUMNS, PictureReport

SCORES_FILE = "picture-scores.json"
_LARGE_PICTURE = 64  # pixels; smaller ones are enlarged on the sheet


def keep_report(report: PictureReport, figures: Mapping[str, Any], directory: Path) -> None:
    """Write the figures with the wishes of each sheet, and the sheets: drawn, real, and nearest of training.

    Raises: SpaceError if they cannot be written.
    """
    wishes = {name: list(sheet.wishes) for name, sheet in report.sheets.items()}
    atomic_write_json(directory / SCORES_FILE, {**figures, "wishes": wishes})
    for name, sheet in report.sheets.items():
        for kind, images in (("drawn", sheet.drawn), ("real", sheet.real), ("nearest", sheet.nearest)):
            scale = 2 if sheet.drawn[0].width < _LARGE_PICTURE else 1
            picture = contact_sheet(_like(sheet.drawn[0], images), columns=SHEET_COLUMNS, scale=scale)
            atomic_write_bytes(directory / f"{name}-{kind}.png", image_to_png(picture))


def _like(drawn: Image, images: Sequence[Image]) -> list[Image]:
    """Return pictures in the size and the channels of the drawn ones: real ones come in any."""
    return [fit_picture(image, image_size=drawn.width, channels=drawn.channels) for image in images]
