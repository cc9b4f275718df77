"""The cells of the proof: a set's tokenizer, judge, model that draws, and scores. Each is done once and leaves a file.

Results and runs carry in their names what their recipe said; what another recipe made neither counts nor goes on.
A recipe names the tokenizer's run, so that another tokenizer makes another model, and another model other scores. How
is drawn, the `sampling` of a recipe, belongs to the scores: another way of drawing needs no other model.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from banyan.core.config import apply_override, config, config_from_mapping, config_to_mapping, read_mapping
from banyan.core.files import atomic_write_json, atomic_write_text, read_json, read_text
from banyan.runtime.loading import load
from banyan.train.callbacks import Callback, CheckpointRecord
from banyan.workflows.picture_judging import load_judge, read_judge_recipe, train_judge_of
from banyan.workflows.picture_scores import SLOTS, score_pictures
from banyan.workflows.picture_sheets import keep_report
from banyan.workflows.picture_tokenizer.recipe import read_picture_recipe
from banyan.workflows.picture_tokenizer.training import train_picture_tokenizer
from banyan.workflows.recipe import read_recipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.training import train
from proofs.joint.runs import StopAt
from proofs.pictures.sets import RECIPES, STAGES, PictureSet
from proofs.pictures.stand_ins import STAND_INS, write_stand_in
from proofs.record import add_to_record, read_record

DRAW = "draw"  # the task of every recipe that draws
_KEY_DIGITS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How much is done."""

    num_drawn: int = 10_000
    num_pictures: int | None = None  # of a set that is written here; None: all
    changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # stage → further overrides


@config
class CellResult:
    """What is kept of one cell."""

    seconds: float  # from beginning to end, reading and saving included; of an interrupted run all parts together
    figures: dict[str, Any]


class Clock(Callback):
    """How long a cell has taken, earlier parts of it included.

    It is written down at every checkpoint: a killed cell goes on from there, and what is done anew counts again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = float(read_text(path)) if path.is_file() else 0.0
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Until now."""
        return self._before + time.perf_counter() - self._start

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        """Write it down."""
        self.keep()

    def keep(self) -> None:
        """Write down how long it has taken until now."""
        atomic_write_text(self._path, str(self.seconds))

    def forget(self) -> None:
        """Remove what was written down."""
        self._path.unlink(missing_ok=True)


class Cells:
    """The cells of the proof in one folder."""

    def __init__(self, folder: Path, *, sizes: Sizes, reporter: Reporter, record: Path | None = None) -> None:
        self.deadline = math.inf  # of time.monotonic
        self._folder = folder
        self._record = record
        self._recorded = {} if record is None else read_record(record)
        self._sizes = sizes
        self._reporter = reporter

    def result(self, own: PictureSet, stage: str) -> CellResult | None:
        """Return what a cell found with the recipes as they are now, if it has been done."""
        path = self._file(own, stage)
        if path.is_file():
            return config_from_mapping(CellResult, read_json(path), source=str(path))
        # What another machine trained is not here to go on with: of its sets only those that are done count.
        if self._keyed(own, "scores") in self._recorded and (name := self._keyed(own, stage)) in self._recorded:
            return config_from_mapping(CellResult, self._recorded[name], source=str(self._record))
        return None

    def keep_record(self, sets: Sequence[PictureSet]) -> None:
        """Record the sets that are done."""
        done: dict[str, Any] = {}
        for own in sets:
            found = {self._keyed(own, stage): self.result(own, stage) for stage in STAGES}
            if None not in found.values():
                done |= {name: config_to_mapping(result) for name, result in found.items()}
        if self._record is not None and done:
            add_to_record(self._record, done)

    def do(self, own: PictureSet) -> None:
        """Do what is left of a set's stages, one after the other, until the time is up."""
        if own.name in STAND_INS:
            write_stand_in(own.name, self._sets, limit=self._sizes.num_pictures)
        for stage in STAGES:
            if self.result(own, stage) is None and not self._do(own, stage):
                return

    def directory(self, own: PictureSet, stage: str) -> Path:
        """Return where a cell's run or sheets lie."""
        return self._folder / "runs" / self._keyed(own, stage)

    def _do(self, own: PictureSet, stage: str) -> bool:
        """Do a cell, or go on with it; whether it is done."""
        if time.monotonic() > self.deadline:
            return False
        self._reporter.stage(f"{own.name}: {stage}")
        path = self._file(own, stage)
        clock = Clock(path.with_suffix(".clock"))
        work: Mapping[str, Callable[[], dict[str, Any] | None]] = {
            "tokenizer": partial(self._tokenizer, own, clock),
            "judge": partial(self._judge, own),
            "model": partial(self._model, own, clock),
            "scores": partial(self._scores, own),
        }
        figures = work[stage]()
        if figures is None:
            clock.keep()
            self.deadline = -math.inf  # whoever stopped it wants nothing else begun
            return False
        atomic_write_json(path, config_to_mapping(CellResult(seconds=round(clock.seconds, 1), figures=figures)))
        clock.forget()
        return True

    def _tokenizer(self, own: PictureSet, clock: Clock) -> dict[str, Any] | None:
        outcome = train_picture_tokenizer(
            self._recipe(own, "tokenizer"),
            reporter=self._reporter,
            resume=True,
            callbacks=[StopAt(self.deadline), clock],
            run_directory=self.directory(own, "tokenizer"),
        )
        if outcome.result.stopped_by == "interrupt":
            return None
        return {"psnr": outcome.result.best_score, "steps": outcome.recipe.train.steps}

    def _judge(self, own: PictureSet) -> dict[str, Any]:
        directory = self.directory(own, "judge")
        judge = train_judge_of(self._recipe(own, "judge"), reporter=self._reporter, directory=directory)
        return {"sha256": judge.sha256, "accuracy": judge.description.accuracy}

    def _model(self, own: PictureSet, clock: Clock) -> dict[str, Any] | None:
        outcome = train(
            self._recipe(own, "model"),
            reporter=self._reporter,
            resume=True,
            callbacks=[StopAt(self.deadline), clock],
            run_directory=self.directory(own, "model"),
        )
        if outcome.result.stopped_by == "interrupt":
            return None
        steps, best = outcome.recipe.train.steps, outcome.result.best_step
        return {"steps": steps, "best_step": best, "num_parameters": outcome.num_parameters}

    def _scores(self, own: PictureSet) -> dict[str, Any]:
        judge = load_judge(self.directory(own, "judge"))
        sampling = self._recipe(own, "model").sampling.get(DRAW)
        with load(self.directory(own, "model") / "best", num_slots=SLOTS) as model:
            report = score_pictures(
                model, judge, num=self._sizes.num_drawn, seed=0, sampling=sampling, reporter=self._reporter
            )
        figures = dataclasses.asdict(report.scores)
        keep_report(report, {"images": figures}, self.directory(own, "scores"))
        return {**figures, "wishes": {name: [*dict.fromkeys(sheet.wishes)] for name, sheet in report.sheets.items()}}

    @property
    def _sets(self) -> Path:
        return self._folder / "sets"

    def _file(self, own: PictureSet, stage: str) -> Path:
        return self._folder / f"{self._keyed(own, stage)}.json"

    def _keyed(self, own: PictureSet, stage: str) -> str:
        """Return a cell's name with a few digits of what it is asked behind it, wherever the folder lies."""
        asked = self._asked_of_scores(own) if stage == "scores" else self._asked(own, stage)
        text = json.dumps(asked, sort_keys=True, default=str).replace(str(self._folder), "")
        return f"{own.name}-{stage}-{sha256(text.encode()).hexdigest()[:_KEY_DIGITS]}"

    def _asked_of_scores(self, own: PictureSet) -> list[Any]:
        sampling = self._mapping(own, "model").get("sampling")
        return [self._keyed(own, "judge"), self._keyed(own, "model"), self._sizes.num_drawn, sampling]

    def _asked(self, own: PictureSet, stage: str) -> dict[str, Any]:
        return {key: value for key, value in self._mapping(own, stage).items() if key != "sampling"}

    def _mapping(self, own: PictureSet, stage: str) -> dict[str, Any]:
        """Return what the recipe of a stage says, without what it leaves open: a new key changes nothing."""
        mapping = read_mapping(RECIPES / own.recipes[stage])
        for change in self._changes(own, stage):
            apply_override(mapping, change)
        return mapping

    def _recipe(self, own: PictureSet, stage: str) -> Any:
        """Return the recipe of a stage with the set's own pictures in it."""
        path, changes = RECIPES / own.recipes[stage], self._changes(own, stage)
        if stage == "model":
            return read_recipe(path, overrides=changes)
        read = read_picture_recipe if stage == "tokenizer" else read_judge_recipe
        return read(path, overrides=changes)

    def _changes(self, own: PictureSet, stage: str) -> list[str]:
        places = STAND_INS[own.name].places if own.name in STAND_INS else {}
        prefix = f"tasks.{DRAW}." if stage == "model" else ""
        changes = [f"{prefix}data.{split}={self._sets / place}" for split, place in places.items()]
        if stage == "model":
            changes.append(f"image_tokenizer.path={self.directory(own, 'tokenizer') / 'best'}")
        return [*changes, *self._sizes.changes.get(stage, ())]
