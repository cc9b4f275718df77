from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from banyan.core.files import read_json
from banyan.tokenizers.pictures import image_from_array, image_from_bytes
from banyan.workflows.picture_measures import Retrieval
from banyan.workflows.picture_scores import PictureReport, Sheet
from banyan.workflows.picture_sheets import SCORES_FILE, keep_report


def test_real_pictures_of_any_size_stand_beside_the_drawn_ones_in_theirs(tmp_path: Path) -> None:
    drawn, photo, grey = (image_from_array(np.full(shape, 9, np.uint8)) for shape in ((8, 8, 3), (20, 30, 3), (5, 5)))
    sheet = Sheet(
        wishes=("a", "b"),
        drawn=(drawn, drawn),
        real=(photo, grey),
        nearest=(grey, drawn),
        retrieval=Retrieval(top5=1.0, num_pictures=2),
    )
    report = cast(PictureReport, SimpleNamespace(sheets={"seen": sheet}))
    figures: dict[str, Any] = {"model": "m"}
    keep_report(report, figures, tmp_path)
    assert read_json(tmp_path / SCORES_FILE) == {"model": "m", "wishes": {"seen": ["a", "b"]}}
    sheets = [image_from_bytes(path.read_bytes()) for path in tmp_path.glob("seen-*.png")]
    assert len(sheets) == 3 and len({(one.width, one.height) for one in sheets}) == 1
