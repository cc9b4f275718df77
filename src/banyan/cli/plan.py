"""`banyan plan RECIPE`: memory, time and disk before launch, calibrated by ten seconds of training."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say, to_plain
from banyan.cli.progress import TerminalReporter
from banyan.core.config import write_config
from banyan.core.errors import ConfigError
from banyan.core.paths import runs_directory
from banyan.workflows.plan_probe import ProbeReport, probe_recipe, read_probe, write_probe
from banyan.workflows.planned_devices import parse_devices
from banyan.workflows.planning import THIS_MACHINE, Plan, make_plan
from banyan.workflows.recipe import Recipe, read_recipe
from banyan.workflows.resuming import settle_recipe
from banyan.workflows.sidecars import RECIPE_FILE

app = typer.Typer(add_completion=False)

_PROBE_FILE = "probe.json"


@app.command(name="plan")
def plan_command(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe; `banyan init FILES…` writes one.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, for example train.steps=500")] = None,
    devices: Annotated[
        str | None, typer.Option(help="What to plan for: a number of machines like this one, or h200, h200x8, l4 …")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long the probe trains.")] = 10.0,
    probe_into: Annotated[Path | None, typer.Option(hidden=True, help="Probe here and write what was found.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Say what a recipe will take: weights, memory by part, arithmetic, disk, speed and time.

    Nothing is left behind. With a named accelerator, which need not be here, the figures are modelled, not measured.
    Example: banyan plan recipe.yaml train.micro_batch_seqs=32
    """
    settled = read_recipe(recipe, overrides=overrides or [])
    if probe_into is not None:
        write_probe(probe_into / _PROBE_FILE, probe_recipe(settled, probe_into, seconds=seconds))
        return 0
    wanted = THIS_MACHINE if devices is None else parse_devices(devices)
    if not seconds and wanted.spec is None:
        raise ConfigError("--seconds=0 leaves nothing to plan this machine by; the probe needs 0.5 or more.")
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        reporter.stage("prepare and probe")
        report = probe_in_child(settled, seconds=0.0 if wanted.spec else seconds)
    plan = make_plan(settled, report, wanted)
    emit(summary(plan), as_json=as_json, quiet=quiet, text=lambda: tell(plan))
    return 0


def probe_in_child(recipe: Recipe, *, seconds: float) -> ProbeReport:
    """Probe a recipe in a process of its own, whose memory is the recipe's alone, in a folder that is then removed.

    Raises: typer.Exit with the exit code of a probe that failed; it has said itself what is wrong.
    """
    runs = runs_directory()
    runs.mkdir(parents=True, exist_ok=True)  # the disk that the run will save to
    with tempfile.TemporaryDirectory(prefix=".plan-", dir=runs) as name:
        folder = Path(name)
        write_config(folder / RECIPE_FILE, settle_recipe(recipe, folder, resume=False))
        command = [sys.executable, "-m", "banyan", "plan", str(folder / RECIPE_FILE)]
        done = subprocess.run([*command, "--probe-into", name, "--seconds", str(seconds), "--quiet"])
        if done.returncode:
            raise typer.Exit(done.returncode)
        return read_probe(folder / _PROBE_FILE)


def summary(plan: Plan) -> dict[str, Any]:
    """Return what `--json` prints."""
    size = plan.size
    found: dict[str, Any] = to_plain(plan)
    totals = {
        "parameters": size.weights.total,
        "flops": size.flops,
        "tokens": size.num_tokens,
        "tokens_per_second": plan.tokens_per_second,
        "seconds": plan.time.total,
        "disk_bytes": plan.disk.total,
        "fits": plan.fits,
    }
    return found | totals


def tell(plan: Plan) -> None:
    """Show the plan as four tables, and what it rests on."""
    size, name = plan.size, plan.devices.name
    kind = "modelled" if plan.is_modelled else "measured in a probe"
    count = f" × {plan.devices.count}" if plan.devices.count > 1 else ""
    print_table(("what", "value"), _facts(plan), title=f"{name}{count}, {kind}")
    print_table(("memory", "value"), _memory_rows(plan))
    saves = f"{size.num_evaluations} evaluations, {size.num_saves} saves"
    print_table(("time", "value"), [*_rows(plan.time, span), ("total", span(plan.time.total))], title=saves)
    print_table(("disk", "value"), [*_rows(plan.disk, amount), ("total", amount(plan.disk.total))])
    for assumption in plan.assumptions:
        say(f"assumed: {assumption}")
    if not plan.fits:
        say(f"this does not fit: {amount(plan.peak_bytes)} are needed, {amount(plan.available_bytes)} are there;")
        say("set train.micro_batch_seqs lower and train.accumulation_steps as much higher")


def _facts(plan: Plan) -> list[tuple[str, str]]:
    size, weights = plan.size, plan.size.weights
    return [
        ("weights", f"{weights.total:,}"),
        ("  in embeddings", f"{weights.embedding:,}"),
        ("  in matrices", f"{weights.matrices:,}"),
        ("steps", f"{size.steps:,} of {size.tokens_per_step:,} tokens"),
        ("FLOPs", f"{size.flops_per_token:.3g} a token, {size.flops:.3g} in all"),
        ("speed", f"{plan.tokens_per_second:,.0f} tokens/s, {plan.step_seconds * 1000:.1f} ms a step"),
        ("time", span(plan.time.total)),
        ("memory", f"{amount(plan.peak_bytes)} of {amount(plan.available_bytes)}"),
        ("disk", amount(plan.disk.total)),
    ]


def _memory_rows(plan: Plan) -> list[tuple[str, str]]:
    beyond = max(0, plan.peak_bytes - plan.memory.total)
    rows = [*_rows(plan.memory, amount), ("evaluation, save", amount(beyond))]
    return [*(row for row in rows if row[1] != amount(0)), ("peak", amount(plan.peak_bytes))]


def _rows(parts: Any, shown: Callable[[float], str]) -> list[tuple[str, str]]:
    return [(field.name, shown(getattr(parts, field.name))) for field in dataclasses.fields(parts)]


def amount(num_bytes: float) -> str:
    """Write a number of bytes for a person."""
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.1f} MiB"


def span(seconds: float) -> str:
    """Write a time for a person."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
