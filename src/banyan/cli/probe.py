"""What `banyan evaluate --probe` says: a table of layers, and which of them carries the task."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from banyan.cli.output import console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.core.files import atomic_write_bytes, atomic_write_json
from banyan.workflows.probe_plot import draw_probe
from banyan.workflows.probing import LayerScore, Probe, probe

ProbeOption = Annotated[
    str | None, typer.Option(help="Which layer holds a task: a task, a catalog name, or a file of text and label.")
]
JSON_FILE, PLOT_FILE = "probe.json", "probe.png"


def run_probe(
    model: Path, data: str, *, max_examples: int, seed: int, output: Path | None, as_json: bool, quiet: bool
) -> None:
    """Probe every layer of a model and say what was found.

    Raises: as `probe` and `show_probe`.
    """
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        found = probe(model, data, max_examples=max_examples, seed=seed, reporter=reporter)
    show_probe(found, output=output, as_json=as_json, quiet=quiet)


def show_probe(found: Probe, *, output: Path | None, as_json: bool, quiet: bool) -> None:
    """Print what a probe found, and write it with its plot into a folder if one is named.

    Raises: SpaceError if the folder cannot be written.
    """
    if output is not None:
        atomic_write_json(output / JSON_FILE, as_plain(found))
        atomic_write_bytes(output / PLOT_FILE, draw_probe(found))
    emit(as_plain(found), as_json=as_json, quiet=quiet, text=lambda: tell(found, output))


def as_plain(found: Probe) -> dict[str, Any]:
    """Return what `--json` prints."""
    return dataclasses.asdict(found)


def tell(found: Probe, output: Path | None) -> None:
    """Print a line for each layer, and the verdict."""
    rows = [
        _row(f"{score.layer} (embeddings)" if score.layer == 0 else str(score.layer), score) for score in found.layers
    ]
    print_table(("layer", "accuracy", "95 % interval", "macro F1"), [*rows, _row("commonest label", found.majority)])
    say(f"{found.num_labels} labels, learned from {found.num_train} examples, scored on {found.num_test} others")
    say(verdict(found))
    if output is not None:
        say(f"plot: {output / PLOT_FILE}")


def verdict(found: Probe) -> str:
    """Say in a sentence which layer carries the task."""
    best = found.layers[found.best]
    if not found.is_held:
        return f"No layer tells the labels of {found.data} better than always answering the commonest one does."
    earlier = f"; layer {found.first_as_good} is the first that is as good (95 %)"
    return (
        f"Layer {found.best} carries {found.data} best, with an accuracy of {best.accuracy:.1%}"
        f"{earlier if found.first_as_good != found.best else ''}."
    )


def _row(name: str, score: LayerScore) -> tuple[str, ...]:
    interval = f"{score.interval.low:.4f} – {score.interval.high:.4f}"
    return name, f"{score.accuracy:.4f}", interval, f"{score.macro_f1:.4f}"
