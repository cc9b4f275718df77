"""Faults put into training on purpose: is each named rightly, how soon, and how does the run end?

    python benchmarks/fault_injection.py                   every fault, 400 steps each, beside a clean run
    python benchmarks/fault_injection.py --healthy 5000    also healthy runs of so many steps: false alarms
    python benchmarks/fault_injection.py --overhead        seconds of a step with and without the watch, in turn
    python benchmarks/fault_injection.py --quick           fewer steps, fewer faults

What is done is kept in --results and not done again. Real text: tinyshakespeare, trec, emoji64 (BANYAN_DATA).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from banyan.core.config import config_from_mapping
from banyan.core.errors import BanyanError
from banyan.testing import faults
from banyan.train.balance import TaskBalance
from banyan.train.callbacks import Callback, EventRecord, StepRecord
from banyan.train.health.config import HealthConfig
from banyan.train.losses import joint_loss
from banyan.train.trainer import Trainer
from banyan.workflows.learning import balance_of, new_loader
from banyan.workflows.material import Material, gather_material
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.resuming import settle_recipe
from banyan.workflows.settling import new_model

FAULT_AT, FAULT_STEPS = 200, 20
SOON = 20  # steps until a fault must have its name
CLOSE = 0.02  # of the clean run's loss

MODEL = {"num_layers": 4, "num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "embed_dim": 64, "ffn_dim": 160}
PROSE = {"name": "prose", "kind": "language_modeling", "data": {"train": "tinyshakespeare"}}
QUESTIONS = {"name": "questions", "kind": "classification", "data": {"train": "trec"}}
ENTITIES = {"name": "entities", "kind": "tagging", "data": {"train": "wnut17"}}
TRANSLATION = {
    **{"name": "translation", "kind": "translation", "source_language": "en", "target_language": "de"},
    "data": {"train": "multi30k_en_de"},
}
PICTURES = {"name": "pictures", "kind": "image_generation", "data": {"train": "emoji64"}}
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "prose-muon": {"tasks": [PROSE], "optimizer": {"name": "muon"}},
    "prose-adamw": {"tasks": [PROSE], "optimizer": {"name": "adamw"}},
    "joint-muon": {"tasks": [PROSE, QUESTIONS, ENTITIES, TRANSLATION], "optimizer": {"name": "muon"}},
    "joint-adamw": {"tasks": [PROSE, QUESTIONS, ENTITIES, TRANSLATION], "optimizer": {"name": "adamw"}},
    "pictures-muon": {
        "tasks": [PROSE, PICTURES],
        "optimizer": {"name": "muon"},
        "image_tokenizer": {"image_size": 16, "patch_size": 4},
    },
}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A recipe with its material, ready to be trained again and again."""

    name: str
    recipe: Recipe
    material: Material
    directory: Path


class Heard(Callback):
    """Remembers what a run said."""

    def __init__(self) -> None:
        self.events: list[EventRecord] = []
        self.num_steps = 0
        self.seconds: list[float] = []
        self.alarms_at: list[tuple[int, str]] = []  # how many steps were done when it was told, and the signal

    def on_step(self, record: StepRecord) -> None:
        self.num_steps += 1
        self.seconds.append(record.step_seconds)

    def on_event(self, record: EventRecord) -> None:
        self.events.append(record)
        if record.kind == "alarm":
            self.alarms_at.append((self.num_steps, record.detail["signal"]))


def prepare(name: str, *, steps: int, folder: Path) -> Bench:
    directory = folder / name
    plain = {
        "name": name,
        "model": MODEL,
        "tokenizer": {"vocab_size": 1024, "max_training_bytes": 1_000_000},
        "train": {"steps": steps, "seq_len": 64, "micro_batch_seqs": 8, "accumulation_steps": 2},
        **RECIPES[name],
    }
    recipe = settle_recipe(config_from_mapping(Recipe, plain), directory, resume=False)
    return Bench(
        name=name,
        recipe=recipe,
        material=gather_material(recipe, directory, reporter=SilentReporter()),
        directory=directory,
    )


def balance(bench: Bench) -> TaskBalance:
    return balance_of(bench.recipe, bench.material)


def run(
    bench: Bench,
    *,
    heard: Heard,
    health: HealthConfig | None = None,
    spoil: Callable[[dict[str, Any]], None] | None = None,
) -> float:
    """Train once from the beginning and return the loss on held-out order of the same data, in guesser's units."""
    recipe, material = bench.recipe, bench.material
    config = recipe.train if health is None else replace(recipe.train, health=health)
    heads = [task.head for task in material.tasks]
    parts: dict[str, Any] = {
        "model": new_model(recipe, material),
        "loader": new_loader(recipe, material),
        "loss_function": partial(joint_loss, task_heads=tuple(heads)),
        "callbacks": [heard],
    }
    if spoil is not None:
        spoil(parts)
    model, run_directory = parts.pop("model"), bench.directory / "run"
    shutil.rmtree(run_directory, ignore_errors=True)
    begun = parts.pop("begun", None)
    trainer = Trainer(
        model,
        task_names=[task.name for task in material.tasks],
        task_heads=heads,
        config=config,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        run_directory=run_directory,
        balance=balance(bench),
        **parts,
    )
    if begun is not None:
        begun(trainer)
    if trainer.fit().stopped_by == "interrupt":
        raise KeyboardInterrupt  # half a run says nothing
    return held_out_loss(bench, model, heads)


def held_out_loss(bench: Bench, model: Any, heads: Sequence[Any]) -> float:
    loader = new_loader(replace(bench.recipe, seed=bench.recipe.seed + 1), bench.material)
    scale = balance(bench)
    losses = []
    model.eval()
    with torch.no_grad():
        for _ in range(20):
            batch = loader.next_batch()
            sums = batch.weights_by_task(scale.num_tasks)
            found = joint_loss(model, batch, task_heads=tuple(heads))
            losses.append(float((found.loss_sums * scale.factors(sums)).sum()))
    return statistics.fmean(losses)


# ------------------------------------------------------------------------------------------------ faults


def at_data(change: Callable[[Bench], faults.Change], *, num: int = FAULT_STEPS) -> Callable[[Bench], Any]:
    def of(bench: Bench) -> Callable[[dict[str, Any]], None]:
        def spoil(parts: dict[str, Any]) -> None:
            parts["loader"] = faults.FaultyLoader(parts["loader"], change(bench), first=FAULT_AT, num=num)

        return spoil

    return of


def rate_times_30(bench: Bench) -> Callable[[dict[str, Any]], None]:
    """The learning rate in the run's own state, as a bug or a wrong hand would leave it."""

    def spoil(parts: dict[str, Any]) -> None:
        def begun(trainer: Any) -> None:
            def raise_rate() -> None:
                trainer._progress.learning_rate_scale = 30.0

            trainer._callbacks = (*trainer._callbacks, faults.AfterStep(FAULT_AT - 1, raise_rate))

        parts["begun"] = begun

    return spoil


def rate_stays_at_30(bench: Bench) -> Callable[[dict[str, Any]], None]:
    """A schedule that is wrong from a step on: going back does not cure it, only deeper and deeper cuts do."""

    def spoil(parts: dict[str, Any]) -> None:
        def begun(trainer: Any) -> None:
            optimizer = trainer._stepper._parts.optimizer
            prepare_step = optimizer.prepare_step

            def prepared(step: int, *, rate_factor: float) -> None:
                prepare_step(step, rate_factor=rate_factor * (30 if step >= FAULT_AT else 1))

            optimizer.prepare_step = prepared

        parts["begun"] = begun

    return spoil


def nan_once(bench: Bench) -> Callable[[dict[str, Any]], None]:
    def spoil(parts: dict[str, Any]) -> None:
        call = 2 * (FAULT_AT - 1) + 1  # two micro-batches a step
        parts["loss_function"] = faults.poisoned(parts["loss_function"], call=call)

    return spoil


def frozen(bench: Bench) -> Callable[[dict[str, Any]], None]:
    def spoil(parts: dict[str, Any]) -> None:
        freeze = faults.freeze_layer(parts["model"], layer=1)
        parts["callbacks"] = [*parts["callbacks"], faults.AfterStep(FAULT_AT - 1, freeze)]

    return spoil


def words_of(bench: Bench) -> int:
    return bench.material.vocabulary.text.vocab_size


@dataclass(frozen=True, kw_only=True)
class Fault:
    bench: str
    make: Callable[[Bench], Any]
    names: tuple[str, ...]  # any of these is right
    has_remedy: bool = True


FAULTS: Mapping[str, Fault] = {
    "learning rate x 30, muon": Fault(bench="prose-muon", make=rate_times_30, names=("diverged",)),
    "learning rate x 30, adamw": Fault(bench="prose-adamw", make=rate_times_30, names=("diverged",)),
    "learning rate x 30 and stays so": Fault(
        bench="prose-adamw", make=rate_stays_at_30, names=("diverged",), has_remedy=False
    ),
    "NaN in a micro-batch": Fault(bench="prose-muon", make=nan_once, names=("not_finite",)),
    "shuffled labels, words": Fault(
        bench="prose-muon", make=at_data(lambda bench: faults.shuffle_targets), names=("wrong_targets",)
    ),
    "shuffled labels, all tasks": Fault(
        bench="joint-muon", make=at_data(lambda bench: faults.shuffle_targets), names=("wrong_targets",)
    ),
    "frozen layer": Fault(bench="prose-muon", make=frozen, names=("frozen_layer",), has_remedy=False),
    "collapsed codebook": Fault(
        bench="pictures-muon",
        make=at_data(
            lambda bench: faults.collapse_codes(first_image_id=bench.material.vocabulary.first_image_id), num=10**9
        ),
        names=("codebook_collapse",),
        has_remedy=False,
    ),
    "repeated batch": Fault(
        bench="prose-muon", make=at_data(lambda bench: faults.RepeatOne()), names=("repeated_batch",)
    ),
    "fully masked batch": Fault(
        bench="prose-muon", make=at_data(lambda bench: faults.mask_all, num=1), names=("masked_batch",)
    ),
    "wrong vocabulary, other words": Fault(
        bench="prose-muon",
        make=at_data(lambda bench: faults.permute_ids(num_words=words_of(bench))),
        names=("wrong_vocabulary",),
    ),
    "wrong vocabulary, unknown ids": Fault(
        bench="prose-muon",
        make=at_data(lambda bench: faults.raise_ids(vocab_size=bench.material.vocabulary.size)),
        names=("wrong_vocabulary",),
    ),
}
QUICK = ("NaN in a micro-batch", "shuffled labels, words", "repeated batch")


def try_fault(bench: Bench, fault: Fault) -> dict[str, Any]:
    heard, ended, loss = Heard(), "completed", math.nan
    try:
        loss = run(bench, heard=heard, spoil=fault.make(bench))
    except BanyanError as error:
        ended = f"exit {error.exit_code}"
    delay = next((done - FAULT_AT for done, signal in heard.alarms_at if signal in fault.names), None)
    return {
        "ended": ended,
        "named_after_steps": delay,
        "alarms": sorted({f"{signal}@{done}" for done, signal in heard.alarms_at}),
        "false_names": sorted({signal for done, signal in heard.alarms_at if done < FAULT_AT}),
        "num_rewinds": sum(event.kind == "rewound" for event in heard.events),
        "num_skipped": sum(event.kind == "step_skipped" for event in heard.events),
        "loss": loss,
    }


def healthy(bench: Bench) -> dict[str, Any]:
    heard = Heard()
    loss = run(bench, heard=heard)
    return {"loss": loss, "steps": heard.num_steps, "alarms": [f"{signal}@{done}" for done, signal in heard.alarms_at]}


def overhead(bench: Bench, *, rounds: int) -> dict[str, Any]:
    """Steps with and without the watch, run after run in turn; the middle of each run's middles."""
    off, on = HealthConfig(watch=False), HealthConfig()
    middles: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * rounds):
        heard, is_on = Heard(), number % 2 == 1
        run(bench, heard=heard, health=on if is_on else off)
        middles[is_on].append(statistics.fmean(sorted(heard.seconds)[: len(heard.seconds) * 9 // 10]))
    pairs = [b / a for a, b in zip(middles[False], middles[True], strict=True)]
    return {
        "without_ms": 1e3 * statistics.median(middles[False]),
        "with_ms": 1e3 * statistics.median(middles[True]),
        "ratio": statistics.median(pairs),
    }


# ------------------------------------------------------------------------------------------------ the whole


class Results:
    """What is done already, one JSON object a line of work."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.done: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}

    def once(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if name not in self.done:
            started = time.perf_counter()
            self.done[name] = work()
            self.done[name]["seconds"] = round(time.perf_counter() - started, 1)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self.done, indent=1))
            print(name, json.dumps(self.done[name]), flush=True)
        return self.done[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--healthy", type=int, default=0)
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--only", default="", help="part of a fault's name")
    parser.add_argument("--recipe", default="", help="part of the name of a recipe whose healthy run is watched")
    parser.add_argument("--results", type=Path, default=Path("runs/fault_injection/results.json"))
    options = parser.parse_args()
    if not os.environ.get("BANYAN_DATA"):
        raise SystemExit("set BANYAN_DATA to the folder of the data sets")
    torch.set_flush_denormal(True)
    steps = 260 if options.quick else options.steps
    with tempfile.TemporaryDirectory() as folder:
        results = Results(Path(folder) / "quick.json" if options.quick else options.results)
        figures = inject(results, Path(folder), options, steps=steps)
        figures += check_healthy(results, Path(folder), options)
        if options.overhead:
            bench = prepare("prose-muon", steps=200, folder=Path(folder) / "overhead")
            found = results.once("overhead", lambda: overhead(bench, rounds=5))
            figures.append(
                {
                    "name": "health-overhead",
                    "value": found["ratio"] - 1,
                    "unit": "of a step",
                    "ratio": 1 / found["ratio"],
                    "against": "the same run without the watch",
                }
            )
    print(json.dumps({"figures": figures}))


def inject(results: Results, folder: Path, options: argparse.Namespace, *, steps: int) -> list[dict[str, Any]]:
    chosen = {
        name: fault for name, fault in FAULTS.items() if options.only in name and (not options.quick or name in QUICK)
    }
    benches: dict[str, Bench] = {}

    def bench_of(name: str) -> Bench:
        if name not in benches:
            benches[name] = prepare(name, steps=steps, folder=folder)
        return benches[name]

    num_right = num_close = num_curable = 0
    for name, fault in chosen.items():
        clean = results.once(f"clean {fault.bench} {steps}", lambda fault=fault: healthy(bench_of(fault.bench)))
        found = results.once(f"{name} {steps}", lambda fault=fault: try_fault(bench_of(fault.bench), fault))
        delay = found["named_after_steps"]
        is_right = delay is not None and delay <= SOON and not found["false_names"]
        worse = found["loss"] / clean["loss"] - 1
        is_close = not fault.has_remedy or worse <= CLOSE
        num_right += is_right
        num_curable += fault.has_remedy
        num_close += fault.has_remedy and is_close
        verdict = "ok" if is_right and is_close else "NOT OK"
        told = f"named after {delay} steps, loss {100 * worse:+.2f} %, {found['ended']}, {found['alarms']}"
        print(f"{verdict:6} {name:34} {told}")
    if not chosen:
        return []
    return [
        {
            "name": "faults-named",
            "value": num_right,
            "unit": "faults",
            "ratio": num_right / len(chosen),
            "against": f"{len(chosen)} injected",
        },
        {
            "name": "faults-cured",
            "value": num_close,
            "unit": "faults",
            "ratio": num_close / max(1, num_curable),
            "against": f"{num_curable} with a remedy",
        },
    ]


def check_healthy(results: Results, folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    if not options.healthy:
        return []
    num_steps = num_alarms = 0
    for name in (name for name in RECIPES if options.recipe in name):
        bench = lambda name=name: prepare(name, steps=options.healthy, folder=folder / "healthy")  # noqa: E731
        found = results.once(f"healthy {name} {options.healthy}", lambda bench=bench: healthy(bench()))
        num_steps, num_alarms = num_steps + found["steps"], num_alarms + len(found["alarms"])
        print(f"healthy {name}: {found['steps']} steps, alarms {found['alarms']}")
    rate = 5000 * num_alarms / max(1, num_steps)
    return [
        {
            "name": "false-alarms",
            "value": rate,
            "unit": "per 5,000 steps",
            "ratio": 1 / max(rate, 1e-9),
            "against": "1 per 5,000 steps",
        }
    ]


if __name__ == "__main__":
    main()
