"""`banyan predict MODEL TASK`: run one task over texts or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.base_model import BaseOption
from banyan.cli.output import JsonOption, QuietOption, console, emit, say
from banyan.cli.progress import TerminalReporter
from banyan.cli.sampling import (
    BeamsOption,
    LengthPenaltyOption,
    MaxTokensOption,
    MinTokensOption,
    NoRepeatOption,
    SeedOption,
    TemperatureOption,
    changed,
)
from banyan.cli.streams import harmless
from banyan.cli.words import (
    ContextOption,
    ContinueOption,
    TopPiecesOption,
    WordQuestion,
    WordsOption,
    check_way,
    run_words,
)
from banyan.core.errors import ConfigError
from banyan.core.types import Prediction
from banyan.runtime.defaults import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.store.export import prediction_to_json
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.prediction import FilePrediction, predict_file, predict_texts

app = typer.Typer(add_completion=False)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A model directory, for example runs/demo/best")],
    task: Annotated[str, typer.Argument(help="One of the model's tasks, by name.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Questions, each as one argument.")] = None,
    file: Annotated[Path | None, typer.Option(help="Rows to answer: jsonl, csv, txt … in the task's format.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "--out", "-o", help="JSON lines; run again to go on after a stop. Words also as .csv."
        ),
    ] = None,
    words: WordsOption = None,
    context: ContextOption = None,
    top_k: TopPiecesOption = 5,
    continue_tokens: ContinueOption = 8,
    temperature: TemperatureOption = None,
    max_tokens: MaxTokensOption = None,
    num_beams: BeamsOption = None,
    length_penalty: LengthPenaltyOption = None,
    no_repeat: NoRepeatOption = None,
    min_tokens: MinTokensOption = None,
    seed: SeedOption = None,
    database: Annotated[str | None, typer.Option(help="Database URL; every answer is stored there.")] = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Answer texts, or every row of a file in batches.

    Example: banyan predict runs/demo/best classification "Return the base name of a path."

    With --words: how probable each word of a list is in a context, and how the model would go on.
    """
    check_way(words, context, texts=texts, file=file)
    if words is not None:
        asked = WordQuestion(words=words, contexts=context, top_k=top_k, continue_tokens=continue_tokens)
        run_words(model, task, asked, base=base, output=output, as_json=as_json, quiet=quiet)
        return
    _check_input(texts, file, output)
    given = {"num_beams": num_beams, "length_penalty": length_penalty, "no_repeat_ngram": no_repeat}
    given |= {"temperature": temperature, "max_tokens": max_tokens, "min_tokens": min_tokens, "seed": seed}
    with load(model, base=base) as loaded, AnswerRecorder(loaded, endpoint="predict", database=database) as recorder:
        sampling = changed(loaded.sampling_for(task), **given)
        if file is not None and output is not None:
            done = _predict_file(loaded, task, file, output, sampling, recorder, quiet=quiet or as_json)
            emit(done, as_json=as_json, quiet=quiet, text=lambda: _tell_file(done))
            return
        predictions = predict_texts(loaded, task, texts or [], sampling=sampling, recorder=recorder)
    result = {"task": task, "predictions": [{"text": p.text, **prediction_to_json(p)} for p in predictions]}
    emit(result, as_json=as_json, quiet=quiet, text=lambda: _tell(predictions))


def _check_input(texts: list[str] | None, file: Path | None, output: Path | None) -> None:
    if bool(texts) == (file is not None):
        raise ConfigError("give either texts or --file, not both and not neither.", hint="banyan predict --help")
    if (file is None) != (output is None):
        raise ConfigError("--file and --output belong together.", hint="add --output answers.jsonl")


def _predict_file(
    model: LoadedModel,
    task: str,
    file: Path,
    output: Path,
    sampling: SamplingConfig,
    recorder: AnswerRecorder,
    *,
    quiet: bool,
) -> FilePrediction:
    with TerminalReporter(console(quiet=quiet)) as reporter:
        reporter.stage(f"predict {task}")
        return predict_file(model, task, file, output, sampling=sampling, recorder=recorder, reporter=reporter)


def _tell_file(done: FilePrediction) -> None:
    found = f", {done.num_found} were there" if done.num_found else ""
    failed = f", {done.num_failed} could not be answered (their lines say why)" if done.num_failed else ""
    say(f"{done.num_answered} rows answered{found}{failed}: {done.output}")


def _tell(predictions: list[Prediction]) -> None:
    for prediction in predictions:
        say(harmless(describe(prediction)))


def describe(prediction: Prediction) -> str:
    """Return an answer as one line for a terminal."""
    if prediction.labels is not None:
        first = list(prediction.labels.items())[:3]
        return "   ".join(f"{label} {probability:.1%}" for label, probability in first)
    if prediction.entities is not None:
        return "   ".join(f"{e.label}: {e.text}" for e in prediction.entities) or "(nothing found)"
    if prediction.image is not None:
        return f"a picture of {prediction.image.width}×{prediction.image.height} pixels; draw it with `banyan draw`"
    score = f"   ({prediction.score:.1%})" if prediction.score is not None else ""
    return f"{prediction.text}{score}"
