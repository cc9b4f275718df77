import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from banyan.core.errors import StoreError
from banyan.core.hashing import hash_token_ids
from banyan.core.types import Image
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.store.dataset_export import training_rows
from banyan.store.types import StoredExchange
from banyan.workflows.answer_records import AnswerRecorder, artifact_of, output_of

Stored = Callable[[], list[StoredExchange]]
PICTURE = Image(width=2, height=2, channels=1, pixels=bytes([0, 90, 180, 255]))


def record(loaded: LoadedModel, address: str, task: str, rows: list[Any], **options: Any) -> None:
    asked = loaded.task(task)
    bodies = [{"text": row} if isinstance(row, str) else row for row in rows]
    read = [asked.read_question(row) for row in rows]
    examples, own = [question.example for question in read], [question.row for question in read]
    predictions = loaded.answer(task, examples, sampling=options.get("sampling"))
    with AnswerRecorder(loaded, endpoint="predict", database=address) as recorder:
        recorder.record_answers(task, examples, predictions, bodies=bodies, rows=own, **options)


def test_a_request_is_stored_with_everything_that_decided_it(loaded: LoadedModel, address: str, stored: Stored) -> None:
    record(loaded, address, "classification", ["red thing"])
    (exchange,) = stored()
    request = exchange.request
    prompt = loaded.prompt("classification", loaded.task("classification").example_from_text("red thing"))
    assert (request.endpoint, request.task, request.task_kind) == ("predict", "classification", "classification")
    assert (request.model_name, request.model_sha256) == ("tiny", loaded.sha256)
    assert request.prompt_sha256 == hash_token_ids([prompt.token_ids])
    assert request.num_prompt_tokens == len(prompt)
    assert request.body == {"text": "red thing"}


def test_a_row_is_stored_as_it_was_asked_but_for_its_pictures(
    loaded: LoadedModel, address: str, stored: Stored
) -> None:
    rows = [{"text": "red", "more": [1, {"bytes": b"12", "image": PICTURE}]}]
    record(loaded, address, "language_modeling", rows)
    assert stored()[0].request.body == {"text": "red", "more": [1, {"bytes": "<picture>", "image": "<picture>"}]}


def test_repeated_questions_are_stored_with_the_seeds_they_were_drawn_with(
    loaded: LoadedModel, address: str, stored: Stored
) -> None:
    record(loaded, address, "language_modeling", ["x", "x"], sampling=SamplingConfig(temperature=1.0, seed=4))
    seeds = [exchange.request.seed for exchange in stored()]
    assert seeds[0] == 4 and seeds[1] != 4


def test_what_is_recorded_already_is_not_recorded_again(loaded: LoadedModel, address: str, stored: Stored) -> None:
    record(loaded, address, "classification", ["a", "b", "c"], num_recorded=2)
    assert [exchange.request.body for exchange in stored()] == [{"text": "c"}]


def test_a_picture_is_stored_as_png(loaded: LoadedModel, address: str, stored: Stored) -> None:
    record(loaded, address, "image_generation", ["picture 1"])
    answer = stored()[0].answer
    assert answer is not None
    (artifact,) = answer.outputs[0].artifacts
    assert artifact.data.startswith(b"\x89PNG") and (artifact.width, artifact.height) == (4, 4)
    assert artifact_of(PICTURE).media_type == "image/png"


def test_a_stored_answer_can_be_learned_from(loaded: LoadedModel, address: str, stored: Stored) -> None:
    record(loaded, address, "classification", ["red thing"])
    record(loaded, address, "summarization", ["def f(x): return x"])
    labelled, summed = (found.row for exchange in stored() for found in training_rows(exchange))
    assert labelled["text"] == "red thing" and labelled["label"] in {"cold", "warm"}
    assert summed["document"] == "def f(x): return x"


def test_columns_of_other_names_can_be_learned_from_too(loaded: LoadedModel, address: str, stored: Stored) -> None:
    task = dataclasses.replace(loaded.task("classification"), columns={"text": "review", "label": "stars"})
    renamed = dataclasses.replace(loaded, tasks={**loaded.tasks, "classification": task})
    row = {"review": "red thing", "stars": "warm"}
    asked = task.read_question(row)
    predictions = renamed.answer("classification", [asked.example])
    with AnswerRecorder(renamed, endpoint="predict", database=address) as recorder:
        recorder.record_answers("classification", [asked.example], predictions, bodies=[row], rows=[asked.row])
    (exchange,) = stored()
    (learned,) = training_rows(exchange)
    assert exchange.request.body == row
    assert learned.row["text"] == "red thing"


def test_a_store_that_cannot_be_opened_is_found_out_before_anything_is_answered(loaded: LoadedModel) -> None:
    with pytest.raises(StoreError), AnswerRecorder(loaded, endpoint="predict", database="/dev/null/x.db"):
        raise AssertionError("never reached")


def test_an_output_says_how_its_answer_ended(loaded: LoadedModel) -> None:
    (prediction,) = loaded.predict("dialogue", "What is red?", sampling=SamplingConfig(max_tokens=1))
    output = output_of(prediction, choice_index=3)
    assert (output.choice_index, output.text, output.finish_reason) == (3, prediction.text, "length")
