"""The parts of the proof: which runs they are made of, and what they say."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from banyan.workflows.joint_vs_single import HelpKind, Study, TwinQuestion, joint_vs_single
from banyan.workflows.recipe import Recipe, read_recipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.twin_report import draw_transfer
from banyan.workflows.twin_results import JointVsSingle
from proofs.joint import page, plots
from proofs.joint.remedies import Remedies, remedy_lines
from proofs.joint.runs import RunResult, Runs, keyed, with_length
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
        record: Path | None = None,
    ) -> None:
        self._recipe = recipe
        self._folder = folder
        self._changes = tuple(changes)
        self._helps = helps
        self._sizes = sizes or Sizes()
        self._reporter = reporter
        self._runs = Runs(folder, reporter=reporter, record=record)
        self._read: dict[tuple[str, ...], Recipe] = {}  # by what was changed
        self._recipes: dict[str, Callable[[], Recipe]] = {
            **{page.quality_name(form, seed): partial(self._of_form, form, seed) for form, seed in self._quality()},
            **{page.ablation_name(one, seed): partial(self._of_setting, one, seed) for one, seed in self._ablations()},
        }

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
            return page.ablation_lines(self._result, self._sizes.settings, self._sizes.seeds)
        return page.quality_lines(self._result, self._forms(part))

    def write_page(self, path: Path) -> None:
        """Put everything that is known between the marks of the page, with its pictures; and record the runs."""
        known = {keyed(name, recipe()): self._result(name) for name, recipe in self._recipes.items()}
        self._runs.keep_record({name: found for name, found in known.items() if found is not None})
        images = path.parent / "images"
        page.write_part(path, "quality", page.quality_lines(self._result, self._sizes.forms))
        page.write_part(path, "twins", self.lines("twins"))
        page.write_part(path, "ablations", self.lines("ablations"))
        page.write_part(path, "remedies", self.lines("remedies"))
        plots.draw_quality(images / "joint-quality.png", self._result)
        sizes = self._sizes
        plots.draw_ablations(images / "joint-ablations.png", self._result, sizes.settings, sizes.seeds)
        if (found := self._twins_found()) is not None and found.tasks:
            (images / "joint-vs-single.png").write_bytes(draw_transfer(found))

    def _forms(self, part: str) -> list[Form]:
        return [form for form in self._sizes.forms if form.name == part]

    def _do_form(self, form: Form) -> None:
        for seed in form.seeds:
            is_first = seed == form.seeds[0]
            if self._done(page.quality_name(form, seed), is_first=is_first, keeps_model=True) is None:
                return

    def _do_ablations(self) -> None:
        for setting, seed in self._ablations():
            if self._done(page.ablation_name(setting, seed)) is None:
                return

    def _done(self, name: str, *, is_first: bool = False, keeps_model: bool = False) -> RunResult | None:
        return self._runs.do(name, self._recipes[name](), is_first=is_first, keeps_model=keeps_model)

    def _result(self, name: str) -> RunResult | None:
        """Return what a run scored; None if it is none of this proof's, or has not been done with this recipe."""
        recipe = self._recipes.get(name)
        return None if recipe is None else self._runs.result(name, recipe())

    def _of_form(self, form: Form, seed: int) -> Recipe:
        """Return the recipe of a run; the seeds are as long as the first, however busy the machine is."""
        steps = self._sizes.steps
        if seed != form.seeds[0] and (first := self._result(page.quality_name(form, form.seeds[0]))) is not None:
            steps = first.steps
        return with_length(self._recipe_with(form.changes), minutes=form.minutes, steps=steps, seed=seed)

    def _of_setting(self, setting: Setting, seed: int) -> Recipe:
        """Return the recipe of an ablation: as long as the first run of the recipe as it is, or as its cost allows."""
        steps, base = self._sizes.steps, (self._sizes.settings[0], self._sizes.seeds[0])
        if (setting, seed) != base and (first := self._result(page.ablation_name(*base))) is not None:
            steps = first.steps
        own = None if steps is None else max(1, round(steps / setting.cost))
        return with_length(self._recipe_with(setting.changes), minutes=TWIN_MINUTES, steps=own, seed=seed)

    def _quality(self) -> Iterator[tuple[Form, int]]:
        return ((form, seed) for form in self._sizes.forms for seed in form.seeds)

    def _ablations(self) -> Iterator[tuple[Setting, int]]:
        """Yield the runs, all settings with one seed before any with the next."""
        for seed in self._sizes.seeds:
            yield from ((setting, seed) for setting in self._sizes.settings)

    def _do_twins(self) -> None:
        if not self._twins.exists():
            self._runs.tell_of_others("twins")
        found = joint_vs_single(
            self._twin_recipe(),
            self._twins,
            self._question(),
            seconds=self._runs.deadline - time.monotonic(),
            reporter=self._reporter,
        )
        if found.is_interrupted:
            self._runs.deadline = -math.inf

    @property
    def _twins(self) -> Path:
        return self._folder / keyed("twins", self._twin_recipe())

    @property
    def _remedies(self) -> Remedies | None:
        """What loses by joint training and the run it may be helped in, where both are known."""
        form = self._sizes.forms[0]
        name = page.quality_name(form, form.seeds[0])
        twins = self._twins_found()
        hurt = () if twins is None else tuple(own.task for own in twins.tasks if own.comparison.improvement < 0)
        if not hurt or self._result(name) is None:
            return None
        run = self._runs.directory(name, self._recipes[name]())
        if not run.is_dir():
            return None  # another machine made it
        return Remedies(run, hurt, self._folder, steps=self._sizes.steps)

    def _do_remedies(self) -> None:
        if (remedies := self._remedies) is not None and not self._runs.is_over:
            remedies.do(reporter=self._reporter)

    def _twins_found(self) -> JointVsSingle | None:
        if not (self._twins / "plan.json").is_file():
            self._runs.tell_of_others("twins")
            return None
        return Study(self._twin_recipe(), self._twins, self._question(), reporter=self._reporter).found()

    def _question(self) -> TwinQuestion:
        return TwinQuestion(tasks=self._sizes.twin_tasks, num_seeds=len(self._sizes.seeds), helps=self._helps)

    def _twin_recipe(self) -> Recipe:
        return with_length(self._recipe_with(), minutes=TWIN_MINUTES, steps=self._sizes.steps, seed=0)

    def _recipe_with(self, changes: tuple[str, ...] = ()) -> Recipe:
        if changes not in self._read:
            self._read[changes] = read_recipe(self._recipe, overrides=[*self._changes, *changes])
        return self._read[changes]


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
