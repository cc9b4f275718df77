"""`banyan evaluate MODEL`: score a model on its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from banyan.cli.base_model import BaseOption
from banyan.cli.calibration import CalibrateOption, run_calibration
from banyan.cli.harness import HARNESS
from banyan.cli.harness import app as harness
from banyan.cli.joint_vs_single import JOINT_VS_SINGLE
from banyan.cli.joint_vs_single import app as joint_vs_single
from banyan.cli.model_comparison import AgainstOption, run_model_comparison
from banyan.cli.output import JsonOption, QuietOption
from banyan.cli.picture_scores import IMAGES
from banyan.cli.picture_scores import app as pictures
from banyan.cli.probe import ProbeOption, run_probe
from banyan.cli.sampling import SeedOption, TemperatureOption
from banyan.cli.scoring import (
    BaselineExamplesOption,
    BaselinesOption,
    DataOption,
    MaxExamplesOption,
    ReportOption,
    SavePredictionsOption,
    ScoringQuestion,
    SplitOption,
    TasksOption,
    run_scoring,
)
from banyan.cli.text_comparison import (
    CompareOption,
    ComparisonQuestion,
    GeneratedOption,
    NumOption,
    PromptTokensOption,
    SampleTokensOption,
    run_comparison,
)
from banyan.core.errors import ConfigError
from banyan.workflows.evaluation import Beside

app = typer.Typer(add_completion=False)
_WAYS = {JOINT_VS_SINGLE: joint_vs_single, IMAGES: pictures, HARNESS: harness}


class ByWay(typer.core.TyperCommand):
    """Gives the word to a way to evaluate that has options of its own."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **settings: Any) -> Any:
        """Run the command."""
        for way, own in _WAYS.items():
            if any(word.partition("=")[0] == way for word in args or ()):
                return typer.main.get_command(own).main(args, *more, **settings)
        return super().main(args, *more, **settings)


@app.command(name="evaluate", cls=ByWay)
def evaluate_command(
    model: Annotated[Path, typer.Argument(help="A model directory, for example runs/demo/best")],
    task: TasksOption = None,
    data: DataOption = None,
    split: SplitOption = "test",
    max_examples: MaxExamplesOption = 500,
    save_predictions: SavePredictionsOption = None,
    report: ReportOption = None,
    baselines: BaselinesOption = "fast",
    baseline_examples: BaselineExamplesOption = 20_000,
    database: Annotated[str | None, typer.Option(help="Database URL; the scores are recorded there.")] = None,
    base: BaseOption = None,
    calibrate: CalibrateOption = False,
    against: AgainstOption = None,
    compare: CompareOption = None,
    generated: GeneratedOption = None,
    prompt_tokens: PromptTokensOption = 32,
    sample_tokens: SampleTokensOption = 128,
    num: NumOption = 100,
    probe: ProbeOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "--out", "-o", help="--compare, --probe: a folder for scores and plot.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score a model with the official metric of each task, with 95 % intervals, beside simple systems.

    Example: banyan evaluate runs/demo/best --task classification

    With --compare: what the model writes beside real text, score by score. With --probe: which layer holds a task.
    With --calibrate: classifiers learn to be as sure as they are right. With --against: is another one better?
    Ways with options and a --help of their own: --images (what it draws, measured offline), --harness (tasks of
    lm-evaluation-harness), RECIPE --joint-vs-single (does a task lose by being taught with others?).
    """
    ways = {"--compare": compare, "--probe": probe, "--calibrate": calibrate, "--against": against}
    written = {"--save-predictions": save_predictions, "--report": report}
    check_way(ways, generated=generated, output=output, written=written)
    rows = tuple(task or ()), tuple(data or ())
    asked = ScoringQuestion(tasks=rows[0], data=rows[1], split=split, max_examples=max_examples, base=base)
    if probe is not None:
        run_probe(model, probe, max_examples=max_examples, seed=seed or 0, output=output, as_json=as_json, quiet=quiet)
    elif compare is not None:
        texts = ComparisonQuestion(
            real=compare,
            generated=generated,
            prompt_tokens=prompt_tokens,
            sample_tokens=sample_tokens,
            max_samples=num,
            temperature=temperature,
            seed=seed,
        )
        run_comparison(model, texts, base=base, output=output, as_json=as_json, quiet=quiet)
    elif against is not None:
        run_model_comparison(model, against, asked, as_json=as_json, quiet=quiet)
    elif calibrate:
        run_calibration(model, asked, as_json=as_json, quiet=quiet)
    else:
        run_scoring(
            model,
            asked,
            save_predictions=save_predictions,
            report=report,
            database=database,
            beside=Beside(systems=baselines, max_train=baseline_examples),
            as_json=as_json,
            quiet=quiet,
        )


def check_way(
    ways: Mapping[str, object], *, generated: Path | None, output: Path | None, written: Mapping[str, Path | None]
) -> None:
    """Refuse options that do not go together.

    `ways` are the options that each ask for something else, `written` those that write what scoring alone finds.

    Raises: ConfigError saying what they belong to.
    """
    given = [name for name, value in ways.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} are {len(given)} ways to evaluate; give one of them.")
    if given and (file := next((name for name, place in written.items() if place is not None), None)):
        raise ConfigError(f"{file} belongs to scoring, not to {given[0]}.", hint="give one of the two")
    if generated is not None and "--compare" not in given:
        raise ConfigError("--generated belongs to --compare.", hint="banyan evaluate MODEL --compare real.txt")
    if output is not None and not {"--compare", "--probe"} & set(given):
        raise ConfigError("--output belongs to --compare or --probe.", hint="banyan evaluate --help")
