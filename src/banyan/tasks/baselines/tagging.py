"""Tagging without a Transformer: every word gets the tag it had most often."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from banyan.core.types import Prediction
from banyan.tasks.tagging import TaggingExample
from banyan.tasks.tags import OUTSIDE, mark_entities, tags_to_entities, to_iob2


def most_frequent_tag(
    task: str, train: Sequence[TaggingExample]
) -> Callable[[Sequence[TaggingExample]], list[Prediction]]:
    """Answer each word's commonest training tag; "O" for words never seen. Illegal sequences are made legal."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for example in train:
        for word, tag in zip(words_of(example), example.tags or (), strict=True):
            counts[word][tag] += 1
    best = {word: seen.most_common(1)[0][0] for word, seen in counts.items()}

    def answer(examples: Sequence[TaggingExample]) -> list[Prediction]:
        return [
            predict_tags(task, example, [best.get(word, OUTSIDE) for word in words_of(example)]) for example in examples
        ]

    return answer


def words_of(example: TaggingExample) -> list[str]:
    """Return the words of an example that get a tag."""
    return [example.text[unit.start : unit.end] for unit in example.units]


def predict_tags(task: str, example: TaggingExample, found: Sequence[str]) -> Prediction:
    """Make one tag for each word into an answer; illegal sequences are made legal."""
    tags = to_iob2(found)
    entities = tags_to_entities(tags, example.units, example.text)
    return Prediction(task=task, text=mark_entities(example.text, entities), tags=tags, entities=entities)
