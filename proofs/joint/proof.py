"""The parts of the proof: which runs they are made of, and what they say."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from banyan.workflows.joint_vs_single import HelpKind, Study, TwinQuestion, joint_vs_single
from banyan.workflows.recipe import Recipe, read_recipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.twin_report import draw_transfer
from banyan.workflows.twin_results import JointVsSingle
from proofs.joint import page, plots
from proofs.joint.remedies import do_remedies, remedy_lines
from proofs.joint.runs import Runs, with_length
from proofs.joint.settings import ABLATIONS, FORMS, LONG, SHORT, TWIN_MINUTES, Form, Setting

SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How much of the proof is done."""

    forms: tuple[Form, ...] = FORMS
    settings: tuple[Setting, ...] = ABLATIONS
    seeds: tuple[int, ...] = SEEDS
    twin_tasks: tuple[str, ...] = ()  # empty: all
    steps: int | None = None  # of every run; None: as many as the minutes allow


class Proof:
    """All parts over one recipe, in one folder."""

    def __init__(
        self,
        recipe: Path,
        folder: Path,
        *,
        changes: Sequence[str] = (),
        helps: HelpKind | None = None,
        sizes: Sizes | None = None,
        reporter: Reporter,
    ) -> None:
        self._recipe = recipe
        self._folder = folder
        self._changes = tuple(changes)
        self._helps = helps
        self._sizes = sizes or Sizes()
        self._reporter = reporter
        self._runs = Runs(folder, reporter=reporter)

    def do(self, parts: Sequence[str], *, seconds: float) -> None:
        """Do what is left of some parts, and stop after so many seconds; what is begun then goes on the next time."""
        self._runs.deadline = time.monotonic() + seconds
        for part in parts:
            self._do_part(part)

    def _do_part(self, part: str) -> None:
        if part == "twins":
            self._do_twins()
        elif part == "ablations":
            self._do_ablations()
        elif part == "remedies":
            self._do_remedies()
        else:
            for form in self._forms(part):
                self._do_form(form)

    def lines(self, part: str) -> list[str]:
        """Return what is known of a part, as Markdown."""
        if part == "twins":
            return page.twin_lines(self._twins_found())
        if part == "remedies":
            return remedy_lines(self._remedies)
        if part == "ablations":
            return page.ablation_lines(self._runs.result, self._sizes.settings, self._sizes.seeds)
        return page.quality_lines(self._runs.result, self._forms(part))

    def write_page(self, path: Path) -> None:
        """Put everything that is known between the marks of the page, with its pictures."""
        images = path.parent / "images"
        page.write_part(path, "quality", page.quality_lines(self._runs.result, self._sizes.forms))
        page.write_part(path, "twins", self.lines("twins"))
        page.write_part(path, "ablations", self.lines("ablations"))
        page.write_part(path, "remedies", self.lines("remedies"))
        plots.draw_quality(images / "joint-quality.png", self._runs.result)
        sizes = self._sizes
        plots.draw_ablations(images / "joint-ablations.png", self._runs.result, sizes.settings, sizes.seeds)
        if (found := self._twins_found()) is not None and found.tasks:
            (images / "joint-vs-single.png").write_bytes(draw_transfer(found))

    def _forms(self, part: str) -> list[Form]:
        return [form for form in self._sizes.forms if form.name == part]

    def _do_form(self, form: Form) -> None:
        steps = self._sizes.steps
        for seed in form.seeds:
            recipe = with_length(self._read(), minutes=form.minutes, steps=steps, seed=seed)
            is_first = seed == form.seeds[0]
            result = self._runs.do(page.quality_name(form, seed), recipe, is_first=is_first, keeps_model=True)
            if result is None:
                return
            steps = result.steps  # the seeds are equally long, however busy the machine is

    def _do_ablations(self) -> None:
        for setting, seed in self._ablations():
            steps = self._sizes.steps or self._runs.steps_of(page.ablation_name(self._sizes.settings[0], SEEDS[0]))
            own = None if steps is None else max(1, round(steps / setting.cost))
            recipe = with_length(self._read(setting.changes), minutes=TWIN_MINUTES, steps=own, seed=seed)
            if self._runs.do(page.ablation_name(setting, seed), recipe) is None:
                return

    def _ablations(self) -> Iterator[tuple[Setting, int]]:
        """Yield the runs, all settings with one seed before any with the next."""
        for seed in self._sizes.seeds:
            yield from ((setting, seed) for setting in self._sizes.settings)

    def _do_twins(self) -> None:
        found = joint_vs_single(
            self._twin_recipe(),
            self._folder / "twins",
            self._question(),
            seconds=self._runs.deadline - time.monotonic(),
            reporter=self._reporter,
        )
        if found.is_interrupted:
            self._runs.deadline = -math.inf

    @property
    def _remedies(self) -> Path:
        return self._folder / "remedies.json"

    def _do_remedies(self) -> None:
        """Finish what loses by joint training, where that is known and a run is there to be finished."""
        form = self._sizes.forms[0]
        name = page.quality_name(form, form.seeds[0])
        twins = self._twins_found()
        hurt = () if twins is None else tuple(own.task for own in twins.tasks if own.comparison.improvement < 0)
        if hurt and self._runs.result(name) is not None and not self._runs.is_over and not self._remedies.is_file():
            run = self._folder / "runs" / name
            do_remedies(run, hurt, self._remedies, steps=self._sizes.steps, reporter=self._reporter)

    def _twins_found(self) -> JointVsSingle | None:
        if not (self._folder / "twins/plan.json").is_file():
            return None
        return Study(self._twin_recipe(), self._folder / "twins", self._question(), reporter=self._reporter).found()

    def _question(self) -> TwinQuestion:
        return TwinQuestion(tasks=self._sizes.twin_tasks, num_seeds=len(self._sizes.seeds), helps=self._helps)

    def _twin_recipe(self) -> Recipe:
        return with_length(self._read(), minutes=TWIN_MINUTES, steps=self._sizes.steps, seed=0)

    def _read(self, changes: Sequence[str] = ()) -> Recipe:
        return read_recipe(self._recipe, overrides=[*self._changes, *changes])


def quick_proof(recipe: Path, folder: Path, *, reporter: Reporter) -> Proof:
    """Return the proof at toy size: a few examples of each task, two steps a run, one seed, three settings."""
    tasks = read_recipe(recipe).tasks
    names = [task.name for task in tasks]
    reading = [task.name for task in tasks if task.kind == "question_answering"]
    changes = [
        *(f"tasks.{name}.max_answer_tokens=400" for name in reading),  # the tiny tokenizer spells Chinese in bytes
        *(f"tasks.{name}.data.max_examples=12" for name in names),
        "model={preset: banyan-nano, num_layers: 1}",
        "tokenizer={vocab_size: 2000, max_training_bytes: 300000}",
        "train={seq_len: 4096, micro_batch_seqs: 1, background_saves: false}",
        "evaluation={num_validations: 1, max_validation_examples: 2}",
    ]
    sizes = Sizes(
        forms=tuple(dataclasses.replace(form, seeds=(0,)) for form in (SHORT, LONG)),
        settings=ABLATIONS[:3],
        seeds=(0,),
        twin_tasks=tuple(names[2:4]),
        steps=2,
    )
    return Proof(recipe, folder, changes=changes, sizes=sizes, reporter=reporter)
