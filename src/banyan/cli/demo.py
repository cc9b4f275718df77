"""`banyan demo`: grow a small model on what this machine already has, and report."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.cli.sampling import MAX_SEED
from banyan.workflows.demo import DemoOutcome, plan_demo, run_demo
from banyan.workflows.report import REPORT_FILE

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    minutes: Annotated[float | None, typer.Option(min=1.0, help="Budget in all; 10 if not given.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A short form of about 90 seconds.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Another seed gives another model.")] = 0,
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
    return 0 if outcome.signal_number is None else 128 + outcome.signal_number


def summary(outcome: DemoOutcome) -> dict[str, Any]:
    """Return what `--json` prints."""
    run = str(outcome.plan.run_directory)
    if outcome.report is None:
        return {"run": run, "stopped_by": "interrupt", "steps": outcome.num_steps}
    return {"run": run, "stopped_by": "completed", **outcome.report}


def tell(outcome: DemoOutcome) -> None:
    """Show the scores and the three commands worth typing next."""
    run = outcome.plan.run_directory
    if outcome.report is None:
        say(f"saved step {outcome.num_steps}; the same command goes on")
        return
    show_scores(outcome.report)
    say(f"report: {run / REPORT_FILE}   (remove {run} to grow another)")
    say("next:")
    say(f"  banyan chat {run}/best")
    say(f"  banyan serve {run}/best")
    say("  banyan outputs list")


def show_scores(report: dict[str, Any]) -> None:
    """Print each task's score beside its baselines."""
    rows = []
    for name, task in report["tasks"].items():
        metric = task["main_metric"]
        others = ", ".join(f"{b['name']} {b['scores'][metric]:.3f}" for b in task["baselines"])
        above = {True: "yes", False: "no", None: "–"}[task["beats_trivial"]]
        rows.append((name, metric, f"{task['scores'][metric]:.3f}", above, others))
    title = f"{report['tasks_above_trivial']} of {len(rows)} tasks above their trivial baseline"
    print_table(("task", "metric", "model", "above trivial", "baselines"), rows, title=title)
