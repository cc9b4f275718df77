"""Sequences that an earlier start left on disk are those that would be rendered now, or they are rendered now."""

import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from banyan.core.types import Prompt, TokenSequence
from banyan.tasks.base import Task
from banyan.tasks.classification import Classification, ClassificationExample
from banyan.tasks.kept_rendering import render_once
from banyan.tasks.rendering import Rendered, render_examples
from banyan.testing.tasks import CHINESE, ENGLISH, TASKS, VOCABULARY, example_about
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.vocabulary import Vocabulary

TOPIC = Classification(name="topic", labels=("tree", "树"))
EXAMPLES = [ClassificationExample(text=text, label=label) for text in (ENGLISH, CHINESE) for label in TOPIC.labels]
KEY = "ab" * 32

USUAL: dict[str, Any] = {"task": TOPIC, "examples": EXAMPLES, "vocabulary": VOCABULARY, "max_tokens": 64}


def once(path: Path, *, key: str = KEY, **changes: Any) -> Rendered[Any]:
    return render_once(**(USUAL | changes), path=path, key=key)


@pytest.mark.parametrize("kind", TASKS)
def test_what_is_kept_is_what_is_rendered(kind: str, tmp_path: Path) -> None:
    examples = [example_about(kind, text) for text in (ENGLISH, CHINESE, ENGLISH * 20)]
    rendered = render_examples(TASKS[kind], examples, VOCABULARY, max_tokens=96)
    for _ in ("written", "read"):
        kept = once(tmp_path / "it.shard", task=TASKS[kind], examples=examples, max_tokens=96)
        assert tuple(kept.sequences) == rendered.sequences
        assert tuple(kept.examples) == rendered.examples
        assert (kept.num_without_target, kept.num_too_long) == (rendered.num_without_target, rendered.num_too_long)


def test_examples_without_a_sequence_are_counted_and_left_out(tmp_path: Path) -> None:
    task = TASKS["question_answering"]
    rows: list[dict[str, Any]] = [
        {"question": "which?", "context": "tree " * 50 + "oak", "answers": ["oak"]},
        {"question": "which?", "context": "an oak", "answers": ["oak"]},
        {"question": "which? " * 50, "context": "an oak", "answers": ["oak"]},
    ]
    examples = [task.parse(row) for row in rows]
    for _ in ("written", "read"):
        kept = once(tmp_path / "it.shard", task=task, examples=examples, max_tokens=40)
        assert kept.examples == [examples[1]]
        assert tuple(kept.sequences) == (task.render(examples[1], VOCABULARY, max_tokens=40),)
        assert (kept.num_without_target, kept.num_too_long) == (1, 1)


def test_a_file_of_the_same_examples_is_read_and_nothing_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tuple(once(tmp_path / "it.shard").sequences)
    monkeypatch.setattr(Classification, "prompt", None)
    assert tuple(once(tmp_path / "it.shard").sequences) == first


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "cd" * 32, "examples": EXAMPLES[::-1]},
        {"examples": EXAMPLES[1:]},
        {"task": replace(TOPIC, labels=("树", "tree"))},
        {"task": replace(TOPIC, max_source_tokens=8)},
        {"max_tokens": 24},
        {"vocabulary": tiny_vocabulary(["topic"])},
    ],
    ids=["other data", "fewer examples", "other labels", "shorter sources", "shorter rows", "other task tokens"],
)
def test_anything_else_is_rendered_anew(changes: dict[str, Any], tmp_path: Path) -> None:
    before = tuple(once(tmp_path / "it.shard").sequences)
    asked = USUAL | {name: value for name, value in changes.items() if name != "key"}
    now = tuple(once(tmp_path / "it.shard", **changes).sequences)
    assert now == render_examples(**asked).sequences != before


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: data[:150] + bytes([data[150] ^ 1]) + data[151:], lambda data: b""],
    ids=["its end is missing", "one bit of it is another", "it is empty"],
)
def test_a_damaged_file_is_made_anew(damage: Any, tmp_path: Path) -> None:
    path = tmp_path / "it.shard"
    first = tuple(once(path).sequences)
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    assert tuple(once(path).sequences) == first
    assert path.read_bytes() == sound


class Unequal(Classification):
    """Weighs its examples by the length of their texts."""

    def complete(
        self, prompt: Prompt, example: ClassificationExample, vocabulary: Vocabulary, *, max_tokens: int
    ) -> TokenSequence:
        sequence = super().complete(prompt, example, vocabulary, max_tokens=max_tokens)
        return replace(sequence, loss_weights=tuple(weight / len(prompt) for weight in sequence.loss_weights))


def test_weights_of_any_size_come_back_to_the_bit(tmp_path: Path) -> None:
    task = Unequal(name="topic", labels=TOPIC.labels)
    kept = once(tmp_path / "it.shard", task=task)
    assert tuple(kept.sequences) == render_examples(**(USUAL | {"task": task})).sequences
    assert len({max(sequence.loss_weights) for sequence in kept.sequences}) == 2


def plug_in(path: Path, preface: str, monkeypatch: pytest.MonkeyPatch) -> Task[Any]:
    """Write a kind into a file of its own, and return a task of it."""
    path.write_text(
        "from banyan.tasks.classification import Classification\n"
        "class Loud(Classification):\n"
        f"    def cleaned(self, text):\n        return {preface!r} + text\n"
    )
    spec = spec_from_file_location("loud", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "loud", module)
    spec.loader.exec_module(module)
    made: Task[Any] = module.Loud(name="topic", labels=TOPIC.labels)
    return made


def test_a_plug_in_that_was_changed_renders_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (
        tuple(once(tmp_path / "it.shard", task=plug_in(tmp_path / "loud.py", preface, monkeypatch)).sequences)
        for preface in ("Listen: ", "Hear: ")
    )
    assert first != second
