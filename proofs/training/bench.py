"""What every trial starts from: tiny data, a recipe, and the run that nothing disturbed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from proofs.training.processes import Child, import_what_a_run_needs, start_banyan
from proofs.training.recipes import needs_parent, recipe_of

_WORDS = (
    *("the", "river", "ran", "past", "a", "mill", "and", "nobody", "knew", "why", "河水", "流过", "磨坊", "each"),
    *("stone", "was", "red", "or", "blue", "that", "year"),
)


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A run that was never disturbed."""

    run_directory: Path
    seconds: float  # the process took
    digest: str  # of weights, optimizer, progress and losses


class Bench:
    """Makes places for trials, below one folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._golden: dict[str, Golden] = {}

    @cached_property
    def rows(self) -> dict[str, Path]:
        """Data files, by kind of task."""
        folder = self.directory / "data"
        folder.mkdir(parents=True, exist_ok=True)
        return {kind: _write_rows(folder / f"{kind}.jsonl", rows) for kind, rows in _rows().items()}

    def recipe(self, kind: str, **changes: Any) -> dict[str, Any]:
        """Return a recipe as plain values; `changes` are laid over its sections."""
        parent = self.golden("pretraining").run_directory if needs_parent(kind) else None
        recipe = recipe_of(kind, rows=self.rows, parent=parent)
        for section, values in changes.items():
            recipe[section] = {**recipe[section], **values} if isinstance(values, Mapping) else values
        return recipe

    def place(self, name: str, *, kind: str = "pretraining", **changes: Any) -> Place:
        """Return a fresh folder with a recipe in it."""
        directory = self.directory / "trials" / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        place = Place(directory)
        place.write(self.recipe(kind, **changes))
        return place

    def golden(self, kind: str) -> Golden:
        """Return the undisturbed run of a kind, made once."""
        if kind not in self._golden:
            place = self.place(f"golden-{kind}", kind=kind)
            place.train().expect(0)
            again = self.place(f"golden-{kind}-again", kind=kind)  # with everything imported: its time counts
            child = again.train()
            child.expect(0)
            digest = digest_of(place.run)
            assert digest == digest_of(again.run), f"two undisturbed {kind} runs differ: nothing can be compared"
            self._golden[kind] = Golden(run_directory=place.run, seconds=child.seconds, digest=digest)
        return self._golden[kind]


@contextmanager
def open_bench(directory: Path) -> Iterator[Bench]:
    """Import what runs need, once for all of them, and give the bench."""
    import_what_a_run_needs()
    yield Bench(directory)


@dataclass(frozen=True)
class Place:
    """One trial's own folder."""

    directory: Path

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.directory / "runs" / "run"

    @property
    def recipe(self) -> Path:
        """The recipe's file."""
        return self.directory / "recipe.yaml"

    @property
    def environment(self) -> dict[str, str]:
        """Where processes of this place keep runs and records."""
        database = f"sqlite:///{self.directory / 'banyan.db'}"
        return {"BANYAN_RUNS": str(self.directory / "runs"), "BANYAN_DATABASE": database}

    def write(self, recipe: Mapping[str, Any]) -> None:
        """Replace the recipe."""
        self.recipe.write_text(yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True))

    def train(self, *words: str, **options: Any) -> Child:
        """Start `banyan train` here; it goes on until somebody waits for it or ends it."""
        return self.run_banyan("train", str(self.recipe), *words, **options)

    def run_banyan(self, *words: str, **options: Any) -> Child:
        """Start any verb here."""
        environment = {**self.environment, **options.pop("environment", {})}
        return start_banyan(*words, cwd=self.directory, environment=environment, **options)

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint."""
        return sorted(
            int(path.name[5:]) for path in (self.run / "checkpoints").glob("step-*") if path.name[5:].isdigit()
        )

    def checkpoint(self, step: int) -> Path:
        """Return the folder of a checkpoint."""
        return self.run / "checkpoints" / f"step-{step:08d}"

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return what events.jsonl says."""
        lines = json_lines(self.run / "events.jsonl")
        return [line for line in lines if kind in (None, line["event"])]

    def last_step(self) -> int:
        """Return the last step that was written down."""
        return max((line["step"] for line in json_lines(self.run / "metrics.jsonl")), default=0)

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.directory, ignore_errors=True)


def weights_digest(run: Path) -> str:
    """Return one hash of the last weights and of the optimizer's memory."""
    digest = sha256()
    for path in sorted((run / "last").glob("*.safetensors")):
        digest.update(path.name.encode() + sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def digest_of(run: Path) -> str:
    """Return one hash of all that a fault must not change: weights, optimizer, progress, losses of every step."""
    digest = sha256(weights_digest(run).encode())
    state = json.loads((run / "last/state.json").read_text())
    digest.update(json.dumps({key: state[key] for key in sorted(state) if "seconds" not in key}).encode())
    for line in json_lines(run / "metrics.jsonl"):
        kept = {key: line[key] for key in ("step", "loss", "task_losses", "learning_rate", "grad_norm")}
        digest.update(json.dumps(kept).encode())
    return digest.hexdigest()


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a JSON-lines file."""
    text = path.read_text("utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.split("\n")[:-1] if line]


def _rows() -> dict[str, list[dict[str, Any]]]:
    def text(number: int, length: int) -> str:
        return " ".join(_WORDS[(number * 7 + place * (1 + number % 5)) % len(_WORDS)] for place in range(length))

    return {
        "language_modeling": [{"text": text(n, 4 + n % 23)} for n in range(90)],
        "classification": [{"text": text(n, 5), "label": ["warm", "cold"][n % 2]} for n in range(40)],
        "image_generation": [
            {"image": _picture(n), "text": f"picture {n % 3}", "label": str(n % 3)} for n in range(30)
        ],
    }


def _picture(number: int) -> dict[str, Any]:
    """One of three patterns, each picture on a ground of its own: pictures that are alike are held out together."""
    pixels = [255 if (x + y * (number % 3)) % 3 == 0 else 8 * number for y in range(4) for x in range(4)]
    return {"width": 4, "height": 4, "channels": 1, "pixels": pixels}


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
