"""The results as tables, with a verdict on each goal, between the marks of docs/pictures.md."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from banyan.core.run_directory import SAMPLES_DIRECTORY
from banyan.train.loss_plot import PLOT_FILE
from banyan.workflows.picture_scores import ROW_EACH, warning_of_copies
from banyan.workflows.real_pictures import told_of_real
from proofs.marks import write_between
from proofs.pictures.cells import CellResult, Cells
from proofs.pictures.sets import SETS, STAGES, Goal, PictureSet

_BEGIN, _END = "<!-- figures: written by make proof-pictures -->", "<!-- figures: end -->"
_ANCHORS = (
    ("FID", "likeness.fid"),
    ("floor", "likeness.floor"),
    ("reconstructed", "likeness.reconstructed"),
    ("unigram", "likeness.unigram"),
    ("codes that occur in held-out pictures", "reconstruction.code_use"),
    ("precision", "likeness.precision"),
    ("recall", "likeness.recall"),
    ("copies", "copied_share"),
    ("bits a code", "bits_per_code"),
    ("codes by themselves", "bits_per_code_unigram"),
    ("retrieval, seen", "retrieval_seen.top5"),
    ("retrieval, unseen", "retrieval_unseen.top5"),
    ("judge on real pictures", "judge_accuracy"),
    ("held-out pictures the judge knew", "known_to_judge"),
    ("accuracy score of real pictures", "accuracy_score.real"),
    ("pictures drawn", "num_pictures"),
    ("real pictures they are held against", "num_real"),
    ("guidance", "sampling.guidance_scale"),
    ("guidance power", "sampling.guidance_power"),
)

_MOST_BYTES = 300_000  # of a picture beside the page
_SHEETS = {"-drawn.png": "", "-real.png": "-real"}  # how the sheets of the scores end → here
_SHOWS = {
    "seen": "drawn for wishes of training pictures, as they came",
    "seen-real": "the pictures that those wishes belong to",
    "unseen": "drawn for wishes that no training picture has, as they came",
    "unseen-real": "the held-out pictures that those wishes belong to",
    "reconstructions": "held-out pictures, each row above what the tokenizer makes of it",
    "loss": "how the model learned",
}


def lines(cells: Cells, sets: Sequence[PictureSet] = SETS, *, images: Path) -> list[str]:
    """Return everything that is known, as Markdown; `images` is where the page has its pictures."""
    done = [own for own in sets if cells.result(own, "scores") is not None]
    told = [f"{len(done)} of {len(sets)} sets done." if done else "**Not run yet.**", "", *_goal_table(cells, sets)]
    if done:
        told += ["", *_anchor_table(cells, done), "", *_reasons(cells, done)]
    for own in done:
        told += _sheets(own, images, cells.result(own, "scores"))
    return told


def _goal_table(cells: Cells, sets: Sequence[PictureSet]) -> Iterator[str]:
    yield "| set | figure | goal | measured | |"
    yield "|---|---|---|---|---|"
    for own in sets:
        yield f"| {own.title} | minutes, tokenizer and model | ≤ {own.minutes:g} | {_minutes(cells, own)} |"
        scores = cells.result(own, "scores")
        for goal in own.goals:
            sign = "≤" if goal.is_upper else "≥"
            yield f"| | {goal.words} | {sign} {goal.tell(goal.bound)} | {_verdict(goal, scores)} |"
        if scores is not None:
            yield f"| | minutes, judge and scores | – | {_minutes_of(cells, own, 'judge', 'scores'):.1f} | |"
            yield f"| | pictures a second | – | {scores.figures['pictures_per_second']:.1f} | |"


def _minutes(cells: Cells, own: PictureSet) -> str:
    if any(cells.result(own, stage) is None for stage in ("tokenizer", "model")):
        return f"not run ({_progress(cells, own)}) | "
    minutes = _minutes_of(cells, own, "tokenizer", "model")
    return f"{minutes:.1f} | {'met' if minutes <= own.minutes else '**missed**'}"


def _minutes_of(cells: Cells, own: PictureSet, *stages: str) -> float:
    parts = [cells.result(own, stage) for stage in stages]
    return sum(part.seconds for part in parts if part is not None) / 60


def _progress(cells: Cells, own: PictureSet) -> str:
    return f"{sum(cells.result(own, stage) is not None for stage in STAGES)} of {len(STAGES)} stages done"


def _verdict(goal: Goal, scores: CellResult | None) -> str:
    if scores is None:
        return "not run | "
    value = _figure(scores.figures, goal.figure)
    if value is None:
        return f"not measured | {scores.figures['unmeasured'].get(goal.figure.partition('.')[0], '')}"
    return f"{goal.tell(value)} | {'met' if goal.is_met(value) else '**missed**'}"


def _figure(figures: Mapping[str, Any], name: str) -> float | None:
    found: Any = figures
    for part in name.split("."):
        found = None if found is None else found[part]
    return found


def _anchor_table(cells: Cells, done: Sequence[PictureSet]) -> Iterator[str]:
    yield f"| | {' | '.join(own.name for own in done)} |"
    yield "|---" * (1 + len(done)) + "|"
    found = [cells.result(own, "scores") for own in done]
    figures = [own.figures for own in found if own is not None]
    for words, name in _ANCHORS:
        yield f"| {words} | {' | '.join(_told(_figure(one, name)) for one in figures)} |"
    yield f"| judge, SHA-256 | {' | '.join(one['judge_sha256'][:16] for one in figures)} |"


def _told(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _reasons(cells: Cells, done: Sequence[PictureSet]) -> Iterator[str]:
    for own in done:
        found = cells.result(own, "scores")
        for name, reason in ({} if found is None else found.figures["unmeasured"]).items():
            yield f"- {own.name}, {name.replace('_', ' ')}: not measured, for {reason}."
        if found is not None:
            told = told_of_real(found.figures["num_real"], are_held_out=found.figures["real_held_out"])
            yield f"- {own.name}: {told}; {_told_of_best(cells, own)}."
        if found is not None and (warning := warning_of_copies(found.figures["copied_share"])):
            yield f"- {own.name}: {warning}."


def _told_of_best(cells: Cells, own: PictureSet) -> str:
    """Return which of its steps a model draws with: the one that expects held-out pictures best."""
    model = cells.result(own, "model")
    assert model is not None, "what is scored has been trained"
    best, steps = (model.figures[name] for name in ("best_step", "steps"))
    lost = ", after which it learned nothing that holds for others" if best < steps else ""
    return f"drawn with the weights after step {best} of {steps}{lost}"


def write_page(path: Path, cells: Cells, sets: Sequence[PictureSet] = SETS) -> None:
    """Put everything that is known between the marks of the page, with what there is to be seen; and record it."""
    cells.keep_record(sets)
    images = path.parent / "images"
    for own in sets:
        for name, image in _made(cells, own) if cells.result(own, "scores") is not None else ():
            copy_image(image, images / _image_name(own, name))
    write_between(path, _BEGIN, _END, lines(cells, sets, images=images))


def copy_image(image: Path, place: Path) -> None:
    """Copy a picture to where the page has it; a large one in 256 colours."""
    if image.stat().st_size <= _MOST_BYTES:
        shutil.copy(image, place)
        return
    with Pillow.open(image) as opened:
        opened.convert("RGB").quantize(256).save(place, optimize=True)


def _made(cells: Cells, own: PictureSet) -> Iterator[tuple[str, Path]]:
    """Yield what this machine has to show of a set: a name and the file."""
    for end, ours in _SHEETS.items():
        for sheet in sorted(cells.directory(own, "scores").glob(f"*{end}")):
            yield sheet.name.removesuffix(end) + ours, sheet
    samples = cells.directory(own, "tokenizer") / SAMPLES_DIRECTORY
    for sheet in sorted(samples.glob("step-*-reconstructions.png"))[-1:]:
        yield "reconstructions", sheet
    curves = cells.directory(own, "model") / PLOT_FILE
    if curves.is_file():
        yield "loss", curves


def _image_name(own: PictureSet, name: str) -> str:
    return f"pictures-{own.name}-{name}.png"


def _sheets(own: PictureSet, images: Path, scores: CellResult | None) -> Iterator[str]:
    """Yield what lies beside the page, whichever machine made it, with the wishes of what was drawn."""
    wishes = {} if scores is None else scores.figures.get("wishes", {})
    for name in (name for name in _SHOWS if (images / _image_name(own, name)).is_file()):
        yield from ("", f"{own.title}: {_SHOWS[name]}.", "")
        yield f"![{own.title}, {name}](images/{_image_name(own, name)})"
        if told := wishes.get(name):
            yield from ("", f"The wishes, {'one a row' if len(told) <= ROW_EACH else 'row by row'}: {'; '.join(told)}.")
