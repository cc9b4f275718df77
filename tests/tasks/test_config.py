import dataclasses
from typing import Any

import pytest

from banyan.core.errors import ConfigError, DataError, UnknownNameError
from banyan.core.types import MaskKind, Prediction
from banyan.data.masking import MaskShares
from banyan.tasks.classification import Classification
from banyan.tasks.config import TaskConfig, TaskDataConfig, build_task
from banyan.tasks.language_modeling import LanguageModeling
from banyan.tasks.metrics.likelihood import BITS_PER_CODE
from banyan.tasks.registry import task_from_spec
from banyan.testing.tasks import ENGLISH, TASKS, example_about


def test_a_recipe_becomes_a_task_and_its_labels_come_from_the_rows() -> None:
    config = TaskConfig(name="mood", kind="classification", data=TaskDataConfig(columns={"text": "review"}))
    task = build_task(config, rows=[{"review": "x", "label": "good"}, {"review": "y", "label": "bad"}])
    assert task == Classification(name="mood", labels=("bad", "good"), columns={"text": "review"}, pooling="mean")


def test_one_bad_row_does_not_hide_the_labels_but_bad_rows_alone_do() -> None:
    config = TaskConfig(name="mood", kind="classification")
    good = [{"text": "x", "label": "good"}, {"text": "y", "label": "bad"}]
    assert build_task(config, rows=[{"text": "z"}, *good]).labels == ("bad", "good")
    with pytest.raises(DataError, match="no 'label'"):
        build_task(config, rows=[{"text": "z"}])


def test_a_task_survives_its_description() -> None:
    task = Classification(name="mood", labels=("a", "b"), answer="words", template="{title}")
    assert task_from_spec(task.spec()) == task


def test_a_key_the_kind_does_not_use_is_refused() -> None:
    config = TaskConfig(name="mood", kind="classification", labels=("a", "b"), source_language="en")
    with pytest.raises(ConfigError, match="does not use 'source_language'"):
        build_task(config)


def test_an_unknown_kind_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean classification"):
        TaskConfig(name="mood", kind="clasification")


@pytest.mark.parametrize("changes", [{"weight": 0.0}, {"rate": 1.5}, {"name": "a b"}])
def test_values_outside_their_range_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        TaskConfig(**{"name": "mood", "kind": "classification", **changes})


@pytest.mark.parametrize("mask", ["causal", "prefix", "full"])
def test_a_recipe_may_say_how_a_question_is_read(mask: str) -> None:
    config = TaskConfig(name="mood", kind="classification", labels=("a", "b"), mask=mask)  # type: ignore[arg-type]
    task = build_task(config)
    assert task.reading is MaskKind(mask)
    assert task_from_spec(task.spec()).reading is MaskKind(mask)


@pytest.mark.parametrize("kind", ["dialogue", "language_modeling"])
def test_what_is_always_read_in_order_cannot_be_asked_to_be_read_otherwise(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"mask=full cannot be chosen for {kind}, which is always read causal"):
        build_task(TaskConfig(name="talk", kind=kind, mask="full"))


def test_shares_of_masks_reach_the_task() -> None:
    config = TaskConfig(name="text", kind="language_modeling", masks=MaskShares(prefix=0.3, full=0.2))
    task = build_task(config)
    assert isinstance(task, LanguageModeling)
    assert task.masks == MaskShares(prefix=0.3, full=0.2)
    assert task_from_spec(task.spec()) == task


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "translation", "class_weights": "balanced"},
        {"kind": "classification", "answer": "words", "class_weights": "balanced"},
        {"kind": "classification", "class_weights": {"a": 0.0}},
        {"kind": "classification", "label_smoothing": 1.0},
        {"kind": "question_answering", "label_smoothing": 0.1},
        {"kind": "classification", "data": TaskDataConfig(), "label_smoothing": -0.1},
    ],
)
def test_what_a_loss_cannot_do_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="class_weights|label_smoothing"):
        TaskConfig(name="x", **changes)


def test_a_capped_epoch_has_an_example() -> None:
    with pytest.raises(ConfigError, match="epoch_examples=0"):
        TaskDataConfig(epoch_examples=0)


def test_a_classifier_of_a_recipe_reads_means_and_one_that_does_not_say_reads_the_last_position() -> None:
    asked = TaskConfig(name="sky", kind="classification", labels=("a", "b"))
    assert build_task(asked).head.pooling == "mean"  # type: ignore[union-attr]
    assert build_task(dataclasses.replace(asked, pooling="last")).head.pooling == "last"  # type: ignore[union-attr]
    assert Classification(name="sky", labels=("a", "b")).head.pooling == "last"  # type: ignore[union-attr]


def test_a_classifier_that_reads_whole_texts_may_have_a_table_of_n_grams() -> None:
    asked = TaskConfig(name="sky", kind="classification", labels=("a", "b"), ngram_buckets=64)
    assert build_task(asked).head.ngram_buckets == 64  # type: ignore[union-attr]
    for change in ({"pooling": "last"}, {"answer": "words"}, {"ngram_buckets": -1}, {"ngram_buckets": 1 << 30}):
        with pytest.raises(ConfigError, match="task sky: ngram_buckets="):
            build_task(dataclasses.replace(asked, **change))  # type: ignore[arg-type]


def test_a_recipe_may_name_the_score_that_chooses() -> None:
    config = TaskConfig(name="mood", kind="classification", labels=("a", "b"), metric="macro_f1")
    task = build_task(config)
    assert (task.chosen_metric, task_from_spec(task.spec()).chosen_metric) == ("macro_f1", "macro_f1")
    assert build_task(dataclasses.replace(config, metric=None)).chosen_metric == "accuracy"
    with pytest.raises(ConfigError, match="metric=macrof1 cannot choose; did you mean macro_f1"):
        dataclasses.replace(config, metric="macrof1")


def test_every_score_that_may_be_named_is_measured() -> None:
    for kind, task in TASKS.items():
        if kind != "language_modeling":
            examples = [example_about(kind, ENGLISH)]
            answers = [Prediction(task=task.name, text="tree", tags=examples[0].tags if kind == "tagging" else None)]
            scores = task.score(examples, answers)
            measured = {*scores, *([BITS_PER_CODE] if kind == "image_generation" else [])}  # of codes, not of answers
            assert {task.main_metric, *task.other_metrics} <= measured, kind


def test_options_reach_the_kind_and_may_not_hide_a_key() -> None:
    config = TaskConfig(name="sum", kind="summarization", options={"truncat": False})
    with pytest.raises(ConfigError, match="does not use 'truncat'"):
        build_task(config)
    with pytest.raises(ConfigError, match="options.truncate has a key of its own"):
        dataclasses.replace(config, options={"truncate": False})
