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
    Written,
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
from banyan.cli.ways import refuse_options_of_other_ways
from banyan.core.errors import ConfigError
from banyan.workflows.evaluation import Beside

OutputOption = Annotated[
    Path | None, typer.Option("--output", "--out", "-o", help="--compare, --probe: a folder for scores and plot.")
]
app = typer.Typer(add_completion=False)
_SCORING = "scoring"
_EXAMPLES = ("task", "data", "split", "max_examples", "base")
_READS = {
    _SCORING: (*_EXAMPLES, "save_predictions", "report", "baselines", "baseline_examples", "database"),
    "--calibrate": _EXAMPLES,
    "--against": _EXAMPLES,
    "--compare": ("generated", "prompt_tokens", "sample_tokens", "num", "temperature", "seed", "base", "output"),
    "--probe": ("max_examples", "seed", "output"),
}
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
    context: typer.Context,
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
    output: OutputOption = None,
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
    way = the_way({"--compare": compare, "--probe": probe, "--calibrate": calibrate, "--against": against})
    refuse_options_of_other_ways(context, way=way, reads=_READS, hint="banyan evaluate --help")
    asked = ScoringQuestion(tasks=task or (), data=data or (), split=split, max_examples=max_examples, base=base)
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
        written = Written(predictions=save_predictions, report=report, database=database)
        beside = Beside(systems=baselines, max_train=baseline_examples)
        run_scoring(model, asked, written=written, beside=beside, as_json=as_json, quiet=quiet)


def the_way(ways: Mapping[str, object]) -> str:
    """Return which of the options that each ask for something else was given; scoring is asked for by none.

    Raises: ConfigError if there are several.
    """
    given = [name for name, value in ways.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} are {len(given)} ways to evaluate; give one of them.")
    return given[0] if given else _SCORING
