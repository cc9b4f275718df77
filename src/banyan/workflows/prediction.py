"""`banyan predict`: one task over texts or over a file, in batches, going on where it was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.errors import DataError, InputError
from banyan.core.model_directory import name_of
from banyan.core.types import Prediction, Row
from banyan.data.sources import read_rows
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.store.export import prediction_to_json
from banyan.workflows.answer_file import open_answer_file, plain_row
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.reporter import Reporter

BATCH = 64  # rows answered, written and committed together


@dataclass(frozen=True, kw_only=True, slots=True)
class FilePrediction:
    """What became of a file."""

    output: Path
    num_answered: int  # in this call
    num_found: int  # lines of an earlier call
    num_failed: int  # in this call: rows that could not be answered; their lines say why


def predict_texts(
    model: LoadedModel,
    task: str,
    texts: Sequence[str],
    *,
    sampling: SamplingConfig | None,
    recorder: AnswerRecorder,
) -> list[Prediction]:
    """Answer questions as typed, and store every answer."""
    asked = [model.task(task).asked_from_text(text) for text in texts]
    examples = [question.example for question in asked]
    predictions = model.answer(task, examples, sampling=sampling)
    recorder.record_answers(
        task,
        examples,
        predictions,
        bodies=[{"text": text} for text in texts],
        rows=[question.row for question in asked],
        sampling=sampling,
    )
    return predictions


def predict_file(
    model: LoadedModel,
    task: str,
    source: Path,
    output: Path,
    *,
    sampling: SamplingConfig | None,
    recorder: AnswerRecorder,
    reporter: Reporter,
) -> FilePrediction:
    """Answer every row of a file into a file of JSON lines, in the same order.

    Lines that an earlier call wrote for the same rows are kept. A row that cannot be answered gets a line with its
    `error`; the rest go on. A line appears only when its answer is in the database.
    Raises: FileError, DataError for a file that cannot be read, or none of whose first rows can be answered; BusyError
    or SpaceError if the output cannot be written.
    """
    rows = list(read_rows(source))
    marks = {"task": task, "model": f"{name_of(model.directory)} {model.sha256[:12]}"}
    with open_answer_file(output, marks=marks) as file:
        num_found = done = file.keep_whole_lines(rows)
        num_failed = 0
        reporter.progress(done, len(rows))
        try:
            while done < len(rows):
                lines = _answer_batch(model, task, rows, done, sampling=sampling, recorder=recorder)
                _check_any(lines, source, is_first=done == 0)
                recorder.wait()
                file.append(lines)
                num_failed += sum("error" in line for line in lines)
                done += len(lines)
                reporter.progress(done, len(rows), note=f"{done} of {len(rows)} rows")
        except KeyboardInterrupt:
            reporter.line(f"{file.count()} of {len(rows)} rows are in {output}; the same command goes on")
            raise
    return FilePrediction(
        output=output, num_answered=done - num_found - num_failed, num_found=num_found, num_failed=num_failed
    )


def _check_any(lines: Sequence[dict[str, Any]], source: Path, *, is_first: bool) -> None:
    if is_first and all("error" in line for line in lines):
        raise DataError(
            f"{source}: none of the first {len(lines)} rows can be answered; row 1: {lines[0]['error']}",
            hint="check that the file is for this task, and the names of its columns",
        )


def _answer_batch(
    model: LoadedModel,
    task: str,
    rows: Sequence[Row],
    done: int,
    *,
    sampling: SamplingConfig | None,
    recorder: AnswerRecorder,
) -> list[dict[str, Any]]:
    """Answer the batch that holds row `done`, and return its lines from that row on.

    Batches begin at the same rows whenever the work was stopped: a question that is repeated in its batch is drawn
    with another seed each time, so the rows before it belong to its answer.
    """
    first = done - done % BATCH
    batch = rows[first : first + BATCH]
    lines: list[dict[str, Any]] = [{"row": first + n, "input": plain_row(row)} for n, row in enumerate(batch)]
    examples, places = _read_rows(model, task, batch, lines)
    predictions = model.answer(task, examples, sampling=sampling) if examples else []
    bodies = [lines[number]["input"] for number in places]
    recorder.record_answers(
        task,
        examples,
        predictions,
        bodies=bodies,
        rows=[model.task(task).own_names(body) for body in bodies],
        sampling=sampling,
        num_recorded=sum(number < done - first for number in places),
    )
    for number, prediction in zip(places, predictions, strict=True):
        lines[number] |= {"prediction": prediction.text, **prediction_to_json(prediction)}
    return lines[done - first :]


def _read_rows(
    model: LoadedModel, task: str, batch: Sequence[Row], lines: Sequence[dict[str, Any]]
) -> tuple[list[Any], list[int]]:
    """Return the examples of a batch with their places in it; the line of any other row says what is wrong with it."""
    asked = model.task(task)
    examples, places = [], []
    for number, row in enumerate(batch):
        try:
            example = asked.parse(row, with_answer=False)
            model.prompt(task, example)
        except (DataError, InputError) as error:
            lines[number]["error"] = str(error)
        else:
            examples.append(example)
            places.append(number)
    return examples, places
