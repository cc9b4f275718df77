"""`banyan predict MODEL TASK`: run one task over texts or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.base_model import BaseOption
from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.cli.sampling import MaxTokensOption, SeedOption, TemperatureOption, changed
from banyan.cli.streams import harmless
from banyan.core.errors import ConfigError
from banyan.core.types import Prediction
from banyan.runtime.defaults import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.store.export import prediction_to_json
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.prediction import FilePrediction, predict_file, predict_texts
from banyan.workflows.word_list import WordList, read_words
from banyan.workflows.word_output import check_word_file, write_words
from banyan.workflows.word_report import PLACE, WordReport, WordScore, check_continues_texts, report_words

app = typer.Typer(add_completion=False)

_MAX_SHOWN_WORDS = 100
_WORD_COLUMNS = ("word", "log-prob", "per piece", "bits/byte", "rank", "pieces", "cut as", "goes on with")


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
    words: Annotated[
        Path | None, typer.Option(help="How probable each word of a list is, one a line (language_modeling).")
    ] = None,
    context: Annotated[
        list[str] | None, typer.Option(help='Where the words stand: "I like {word}"; may be given again.')
    ] = None,
    top_k: Annotated[int, typer.Option("--top", min=0, max=100, help="Likeliest pieces shown for each context.")] = 5,
    continue_tokens: Annotated[
        int, typer.Option("--continue", min=0, max=1000, help="Pieces the model writes after each word.")
    ] = 8,
    temperature: TemperatureOption = None,
    max_tokens: MaxTokensOption = None,
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
    if words is not None:
        if texts or file is not None:
            raise ConfigError("--words takes its words from a file; give neither texts nor --file.")
        _predict_words(
            model,
            task,
            words,
            output,
            context,
            top_k=top_k,
            continue_tokens=continue_tokens,
            as_json=as_json,
            quiet=quiet,
        )
        return
    if context:
        raise ConfigError("--context is where the words of --words stand.", hint="add --words new_words.txt")
    if bool(texts) == (file is not None):
        raise ConfigError("give either texts or --file, not both and not neither.", hint="banyan predict --help")
    if (file is None) != (output is None):
        raise ConfigError("--file and --output belong together.", hint="add --output answers.jsonl")
    with load(model, base=base) as loaded, AnswerRecorder(loaded, endpoint="predict", database=database) as recorder:
        sampling = changed(loaded.sampling_for(task), temperature=temperature, max_tokens=max_tokens, seed=seed)
        if file is not None and output is not None:
            done = _predict_file(loaded, task, file, output, sampling, recorder, quiet=quiet or as_json)
            emit(done, as_json=as_json, quiet=quiet, text=lambda: _tell_file(done))
            return
        predictions = predict_texts(loaded, task, texts or [], sampling=sampling, recorder=recorder)
    result = {"task": task, "predictions": [{"text": p.text, **prediction_to_json(p)} for p in predictions]}
    emit(result, as_json=as_json, quiet=quiet, text=lambda: _tell(predictions))


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


def _predict_words(
    directory: Path,
    task: str,
    words: Path,
    output: Path | None,
    contexts: list[str] | None,
    *,
    top_k: int,
    continue_tokens: int,
    as_json: bool,
    quiet: bool,
) -> None:
    if output is not None:
        check_word_file(output)
    found = read_words(words)
    with load(directory) as model:
        check_continues_texts(model, task)
        report = report_words(model, found.words, contexts or (PLACE,), top_k=top_k, continue_tokens=continue_tokens)
    if output is not None:
        write_words(report, output)
    result = {"report": report, "left_out": found.left_out, "output": output}
    emit(result, as_json=as_json, quiet=quiet, text=lambda: _tell_words(report, found, output))


def _tell_words(report: WordReport, found: WordList, output: Path | None) -> None:
    for context, pieces in report.next_pieces.items():
        likeliest = "   ".join(f"{piece.text!r} {piece.probability:.1%}" for piece in pieces)
        say(harmless(f"{context}   the model itself: {likeliest}"))
    shown = report.scores[:_MAX_SHOWN_WORDS]
    print_table(_WORD_COLUMNS, [_word_row(score) for score in shown])
    if len(report.scores) > len(shown):
        say(f"… and {len(report.scores) - len(shown)} more; --out words.csv writes all of them")
    left_out = {**found.left_out, "longer than the model can read": len(report.too_long)}
    if reasons := ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count):
        say(f"left out: {reasons}")
    if output is not None:
        say(f"{len(report.scores)} rows: {output}")


def _word_row(score: WordScore) -> tuple[object, ...]:
    per_piece, per_byte = f"{score.log_prob_per_piece:.2f}", f"{score.bits_per_byte:.2f}"
    pieces = harmless("|".join(score.pieces))
    after = harmless(repr(score.continuation)) if score.continuation is not None else None
    word = harmless(score.context.replace(PLACE, f"[{score.word}]"))
    return word, f"{score.log_prob:.2f}", per_piece, per_byte, score.first_rank, len(score.pieces), pieces, after


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
