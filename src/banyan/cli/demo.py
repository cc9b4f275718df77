"""`banyan demo`: grow a small model on what this machine already has, and report."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.workflows.demo import DemoOutcome, plan_demo, run_demo
from banyan.workflows.report import REPORT_FILE, Report, report_as_json

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    minutes: Annotated[float | None, typer.Option(min=1.0, help="Budget in all; 10 if not given.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A short form of about 90 seconds.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed gives another model.")] = 0,
    database: Annotated[str | None, typer.Option(help="Database URL; every answer is stored there.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Grow a GPT that has learned the Python installation it runs in. Ctrl-C saves; run it again to go on.

    Example: banyan demo --minutes 30
    """
    plan = plan_demo(minutes=minutes, is_quick=quick, seed=seed, database=database or "")
    reporter = TerminalReporter(console(quiet=quiet, as_json=as_json))
    try:
        outcome = run_demo(plan, reporter=reporter)
    finally:
        reporter.close()
    emit(summary(outcome), as_json=as_json, quiet=quiet, text=lambda: tell(outcome))
    return 128 + number if (number := outcome.training.result.signal_number) else 0


def summary(outcome: DemoOutcome) -> dict[str, Any]:
    """Return what `--json` prints."""
    if outcome.report is None:
        return {"run": str(outcome.plan.run_directory), "stopped_by": "interrupt"}
    return {"run": str(outcome.plan.run_directory), "stopped_by": "completed", **report_as_json(outcome.report)}


def tell(outcome: DemoOutcome) -> None:
    """Show the scores and the three commands worth typing next."""
    run = outcome.plan.run_directory
    if outcome.report is None:
        say(f"saved step {outcome.training.result.steps}; the same command goes on")
        return
    show_scores(outcome.report)
    say(f"report: {run / REPORT_FILE}")
    say("next:")
    say(f"  banyan chat {run}/best")
    say(f"  banyan serve {run}/best")
    say("  banyan outputs list")


def show_scores(report: Report) -> None:
    """Print each task's score beside its baselines."""
    rows = []
    for name, result in report.results.items():
        metric = result.evaluation.main_metric
        others = "  ".join(f"{b.name} {b.evaluation.scores[metric]:.3f}" for b in result.baselines)
        above = {True: "yes", False: "no", None: "–"}[result.beats_trivial]
        rows.append((name, metric, f"{result.evaluation.score:.3f}", above, others))
    title = f"{report.num_above_trivial} of {len(rows)} tasks above their trivial baseline"
    print_table(("task", "metric", "model", "above trivial", "baselines"), rows, title=title)
