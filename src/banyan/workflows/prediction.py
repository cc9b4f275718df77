"""`banyan predict`: one task over texts or over a file, in batches, going on where it was stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from banyan.core.errors import DataError, InputError
from banyan.core.files import as_write_error
from banyan.core.types import Prediction, Row
from banyan.data.sources import read_rows
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.store.export import prediction_to_json
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.reporter import Reporter

BATCH = 64  # rows answered, written and committed together


@dataclass(frozen=True, kw_only=True, slots=True)
class FilePrediction:
    """What became of a file."""

    output: Path
    num_answered: int  # in this call
    num_found: int  # answered by an earlier call
    num_failed: int  # rows that could not be answered; their lines say why


def predict_texts(
    model: LoadedModel,
    task: str,
    texts: Sequence[str],
    *,
    sampling: SamplingConfig | None,
    recorder: AnswerRecorder,
) -> list[Prediction]:
    """Answer questions as typed, and store every answer."""
    asked = model.task(task)
    examples = [asked.example_from_text(text) for text in texts]
    predictions = model.answer(task, examples, sampling=sampling)
    recorder.record_answers(task, examples, predictions, rows=list(texts), sampling=sampling)
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
    Raises: FileError, DataError for a file that cannot be read; SpaceError if the output cannot be written.
    """
    rows = list(read_rows(source))
    num_found = keep_whole_lines(output, rows)
    num_failed = 0
    reporter.progress(num_found, len(rows))
    waiting = iter(rows[num_found:])
    done = num_found
    while batch := list(islice(waiting, BATCH)):
        lines = _answer_rows(model, task, batch, first=done, sampling=sampling, recorder=recorder)
        recorder.wait()
        _append(output, lines)
        num_failed += sum("error" in line for line in lines)
        done += len(batch)
        reporter.progress(done, len(rows), note=f"{done} of {len(rows)} rows")
    return FilePrediction(output=output, num_answered=done - num_found, num_found=num_found, num_failed=num_failed)


def keep_whole_lines(output: Path, rows: Sequence[Row]) -> int:
    """Cut off a half-written last line, and return how many rows the output already answers.

    Raises: DataError if the lines there answer other rows.
    """
    if not output.exists():
        return 0
    data = output.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.splitlines()
    for number, line in enumerate(lines):
        if not _answers(line, rows, number):
            raise DataError(
                f"{output}:{number + 1} does not answer row {number + 1} of the input; it belongs to another file.",
                hint="give another --output, or remove it",
            )
    if len(whole) < len(data):
        with output.open("r+b") as file:
            file.truncate(len(whole))
    return len(lines)


def _answers(line: bytes, rows: Sequence[Row], number: int) -> bool:
    try:
        value = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict) and number < len(rows) and value.get("input") == plain_row(rows[number])


def plain_row(row: Row) -> Any:
    """Return a row as it reads back from JSON: what JSON lacks is named, not copied."""
    return json.loads(json.dumps(row, ensure_ascii=False, default=lambda value: f"<{type(value).__name__}>"))


def _answer_rows(
    model: LoadedModel,
    task: str,
    rows: Sequence[Row],
    *,
    first: int,
    sampling: SamplingConfig | None,
    recorder: AnswerRecorder,
) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [{"row": first + number, "input": plain_row(row)} for number, row in enumerate(rows)]
    asked = model.task(task)
    examples, places = [], []
    for number, row in enumerate(rows):
        try:
            example = asked.parse(row, with_answer=False)
            model.prompt(task, example)
        except (DataError, InputError) as error:
            lines[number]["error"] = str(error)
        else:
            examples.append(example)
            places.append(number)
    predictions = model.answer(task, examples, sampling=sampling) if examples else []
    asked_rows = [lines[number]["input"] for number in places]
    recorder.record_answers(task, examples, predictions, rows=asked_rows, sampling=sampling)
    for number, prediction in zip(places, predictions, strict=True):
        lines[number] |= {"prediction": prediction.text, **prediction_to_json(prediction)}
    return lines


def _append(output: Path, lines: Sequence[dict[str, Any]]) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise as_write_error(error, output) from error
