"""The proof of drawing: its sets are files recipes can read, its cells are done once, its page says what is missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

from banyan.core.paths import data_directory
from banyan.data.sources import detect_format, read_rows
from banyan.tasks.pictures import read_picture
from banyan.tokenizers.pictures import image_from_array, image_from_bytes, image_to_array, image_to_png
from banyan.train.callbacks import CheckpointRecord
from banyan.workflows.reporter import SilentReporter
from proofs.pictures.cells import Cells, Clock
from proofs.pictures.page import copy_image, lines, write_page
from proofs.pictures.quick import QUICK
from proofs.pictures.sets import RECIPES, SETS, STAGES
from proofs.pictures.stand_ins import LETTERS, STAND_INS, digits, letter_fonts, write_stand_in

PAGE = Path(__file__).resolve().parents[1] / "docs/pictures.md"
DIGITS = SETS[0]


def test_every_set_names_recipes_that_are_shipped() -> None:
    assert [own.name for own in SETS] == ["digits", "grey-cifar", "glyphs", "cifar10", "emoji", "cifar10-gpu"]
    assert all((RECIPES / name).is_file() for own in SETS for name in own.recipes.values())
    assert STAND_INS.keys() == {own.name for own in SETS if own.minutes == 45}


def test_every_font_of_the_glyphs_has_all_their_letters() -> None:
    fonts = [ImageFont.truetype(str(path), 30) for path in letter_fonts()]
    assert all(len({tuple(font.getmask(letter)) for letter in LETTERS}) == len(LETTERS) for font in fonts)
    assert f"in {len(fonts)} fonts" in next(own.title for own in SETS if own.name == "glyphs")


@pytest.mark.parametrize("name", STAND_INS)
def test_a_stand_in_is_what_a_user_might_have(name: str, tmp_path: Path) -> None:
    if name == "grey-cifar" and data_directory() is None:
        pytest.skip("BANYAN_DATA is not set: this set is made of CIFAR-10")
    write_stand_in(name, tmp_path, limit=40)
    places = STAND_INS[name].places
    assert {detect_format(tmp_path / place) for place in places.values()} <= {"npz", "idx", "pictures"}
    for split, place in places.items():
        rows = list(read_rows(tmp_path / place, split=split))
        images = [read_picture(row["image"]) for row in rows]
        assert {(one.width, one.height, one.channels) for one in images} == {(28, 28, 1)} and len(images) == 40
        labels = {row.get("label", row.get("text")) for row in rows}
        assert 5 <= len(labels) <= 10 and labels <= {*range(10), *LETTERS}
    assert np.array_equal(digits(1).pixels, digits(2).pixels[:1]) and image_to_array(images[0]).max() > 100
    assert [path.name for path in tmp_path.iterdir()] == [places["train"]]


def test_what_has_not_been_run_is_said(tmp_path: Path) -> None:
    told = "\n".join(lines(Cells(tmp_path, sizes=QUICK, reporter=SilentReporter()), images=tmp_path))
    assert "**Not run yet.**" in told and told.count("not run (0 of 4 stages done)") == len(SETS)
    page = PAGE.read_text("utf-8")
    assert page.index("<!-- figures: written by make proof-pictures -->") < page.index("<!-- figures: end -->")
    assert not list(tmp_path.iterdir())


def test_the_cells_are_done_once_with_each_recipe_and_written_into_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "docs/pictures.md"
    (page.parent / "images").mkdir(parents=True)
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    record = tmp_path / "docs/proofs/pictures.json"
    cells = Cells(tmp_path / "runs", sizes=QUICK, reporter=SilentReporter(), record=record)
    cells.deadline = -1
    cells.do(DIGITS)
    assert all(cells.result(DIGITS, stage) is None for stage in STAGES)
    cells.deadline = float("inf")
    cells.do(DIGITS)
    write_page(page, cells)
    written = page.read_text("utf-8")
    assert "1 of 6 sets done." in written and "not run (0 of 4 stages done)" in written
    assert "| | prompt fidelity | ≥ 92.0% |" in written
    shown = {f"images/pictures-digits-{name}.png" for name in ("seen", "seen-real", "reconstructions", "loss")}
    assert all((page.parent / name).is_file() and f"({name})" in written for name in shown)
    assert "The wishes, one a row: " in written and "minutes, judge and scores" in written
    monkeypatch.setattr("proofs.pictures.cells.train", None)  # nothing is left to be done
    again = Cells(tmp_path / "runs", sizes=QUICK, reporter=SilentReporter())
    again.do(DIGITS)
    assert lines(again, images=tmp_path) == lines(cells, images=tmp_path)
    elsewhere = Cells(tmp_path / "elsewhere", sizes=QUICK, reporter=SilentReporter(), record=record)
    write_page(page, elsewhere)  # from the record, with the pictures that lie beside the page
    assert page.read_text("utf-8") == written and not (tmp_path / "elsewhere").exists()
    changed = {**QUICK.changes, "judge": (*QUICK.changes["judge"], "seed=9")}
    other = Cells(tmp_path / "runs", sizes=dataclasses.replace(QUICK, changes=changed), reporter=SilentReporter())
    assert [other.result(DIGITS, stage) is None for stage in STAGES] == [False, True, False, True]
    sizes = dataclasses.replace(QUICK, changes=changed)
    other = Cells(tmp_path / "elsewhere", sizes=sizes, reporter=SilentReporter(), record=record)
    assert all(other.result(DIGITS, stage) is None for stage in STAGES)  # their models are not here
    changed = {**QUICK.changes, "model": (*QUICK.changes["model"], "sampling.draw.guidance_scale=3.0")}
    other = Cells(tmp_path / "runs", sizes=dataclasses.replace(QUICK, changes=changed), reporter=SilentReporter())
    assert [other.result(DIGITS, stage) is None for stage in STAGES] == [False, False, False, True]


def test_no_picture_beside_the_page_is_large(tmp_path: Path) -> None:
    sheet, place = tmp_path / "seen-drawn.png", tmp_path / "seen.png"
    noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    for pixels, is_large in ((noise, True), (noise[:9], False)):
        sheet.write_bytes(image_to_png(image_from_array(pixels)))
        copy_image(sheet, place)
        assert place.stat().st_size < 300_000 and is_large is (sheet.stat().st_size > 300_000)
        assert is_large or place.read_bytes() == sheet.read_bytes()
        assert image_from_bytes(place.read_bytes()).height == len(pixels)


def test_a_cell_that_is_killed_has_taken_what_it_had_at_its_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.clock"
    first = Clock(path)
    first.on_checkpoint(CheckpointRecord(step=5, path=tmp_path, size_bytes=1, is_best=False, seconds=0.1))
    taken = float(path.read_text("utf-8"))
    assert 0 < taken <= first.seconds
    second = Clock(path)
    assert second.seconds > taken
    second.forget()
    assert not path.exists()
