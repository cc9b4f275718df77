import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from banyan.core.errors import InputError, SpaceError
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.store.types import StoredExchange
from banyan.tokenizers.pictures import image_to_png
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.drawing import Drawing, draw

Stored = Callable[[], list[StoredExchange]]
DRAWN = SamplingConfig(temperature=1.0, seed=5)


def run(loaded: LoadedModel, address: str, output: Path, *, num: int = 1, text: str = "picture 1") -> Drawing:
    with AnswerRecorder(loaded, endpoint="draw", database=address) as recorder:
        return draw(loaded, text, output, num=num, sampling=DRAWN, recorder=recorder)


def test_every_picture_is_stored_as_the_model_draws_it(
    loaded: LoadedModel, address: str, stored: Stored, tmp_path: Path
) -> None:
    drawing = run(loaded, address, tmp_path / "sheet.png", num=3)
    (exchange,) = stored()
    assert exchange.request.request_id == drawing.request_id and exchange.answer is not None
    pictures = [output.artifacts[0].data for output in exchange.answer.outputs]
    assert pictures == [image_to_png(image) for image in loaded.draw("picture 1", num=3, sampling=DRAWN)]
    assert exchange.answer.num_completion_tokens == 3 * 4
    assert [output.choice_index for output in exchange.answer.outputs] == [0, 1, 2]


def test_the_sheet_shows_eight_in_a_row(loaded: LoadedModel, address: str, tmp_path: Path) -> None:
    sizes = []
    for num in (1, 8, 9):
        run(loaded, address, tmp_path / f"{num}.png", num=num)
        with Image.open(io.BytesIO((tmp_path / f"{num}.png").read_bytes())) as sheet:
            sizes.append(sheet.size)
    one, eight, nine = sizes
    assert eight[0] > 7 * one[0] and eight[1] == one[1]
    assert nine[0] == eight[0] and nine[1] > eight[1]


def test_a_blank_wish_is_refused_before_anything_is_stored(
    loaded: LoadedModel, address: str, stored: Stored, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="blank wish"):
        run(loaded, address, tmp_path / "x.png", text=" ")
    assert stored() == [] and not (tmp_path / "x.png").exists()


def test_a_sheet_that_cannot_be_written_loses_no_picture(
    loaded: LoadedModel, address: str, stored: Stored, tmp_path: Path
) -> None:
    with pytest.raises(SpaceError):
        run(loaded, address, tmp_path)
    assert len(stored()) == 1
