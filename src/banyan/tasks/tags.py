"""Tags of words and labelled stretches of text, each made from the other.

Inside Banyan tags are IOB2 ("O", "B-x" at the start of every entity, "I-x" behind it). IOB1, BIOES, BILOU and BMES are
read too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from banyan.core.errors import DataError
from banyan.core.types import Entity
from banyan.tasks.units import Unit

OUTSIDE = "O"
_AS_IOB2 = {"B": "B", "I": "I", "E": "I", "L": "I", "M": "I", "S": "B", "U": "B"}


def split_tag(tag: str) -> tuple[str, str]:
    """Split "B-location" into "B" and "location"; "O" has no label.

    Raises: DataError if the tag belongs to no scheme we know.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, label = tag.partition("-")
    if prefix not in _AS_IOB2 or not dash or not label:
        raise DataError(f"tag {tag!r} is neither O nor one of B-x, I-x, E-x, S-x, M-x, L-x, U-x.")
    return prefix, label


def to_iob2(tags: Sequence[str]) -> tuple[str, ...]:
    """Bring tags of any known scheme into IOB2; an entity that starts without a B gets one.

    Raises: DataError for a tag of no known scheme.
    """
    result: list[str] = []
    open_label = ""
    for tag in tags:
        prefix, label = split_tag(tag)
        if prefix == OUTSIDE:
            result.append(OUTSIDE)
        else:
            result.append(f"I-{label}" if _AS_IOB2[prefix] == "I" and label == open_label else f"B-{label}")
        open_label = label
    return tuple(result)


def tag_set(labels: Iterable[str]) -> tuple[str, ...]:
    """Return every tag that entities of these labels can get, "O" first."""
    return (OUTSIDE, *(f"{prefix}-{label}" for label in labels for prefix in ("B", "I")))


def entity_labels(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the labels that occur in tags, in alphabetical order."""
    return tuple(sorted({split_tag(tag)[1] for tag in tags} - {""}))


def entities_to_tags(entities: Iterable[Entity], units: Sequence[Unit]) -> tuple[str, ...]:
    """Tag every unit that an entity touches; where entities overlap the longer one is kept.

    Raises: DataError for an entity that touches no unit.
    """
    tags = [OUTSIDE] * len(units)
    for entity in sorted(entities, key=lambda entity: (entity.start - entity.end, entity.start)):
        touched = [n for n, unit in enumerate(units) if unit.start < entity.end and unit.end > entity.start]
        if not touched:
            raise DataError(f"entity {entity.label!r} at characters {entity.start} to {entity.end} holds no word.")
        if all(tags[number] == OUTSIDE for number in touched):
            for number in touched:
                tags[number] = f"I-{entity.label}"
            tags[touched[0]] = f"B-{entity.label}"
    return tuple(tags)


def tags_to_entities(
    tags: Sequence[str], units: Sequence[Unit], text: str, *, probs: Sequence[float] = ()
) -> tuple[Entity, ...]:
    """Return the entities that IOB2 tags mark; an entity's score is the product of its tags' probabilities."""
    starts = [number for number, tag in enumerate(tags) if tag.startswith("B-")]
    entities = []
    for first, next_first in pairwise([*starts, len(tags)]):
        last = first
        while last + 1 < next_first and tags[last + 1] == f"I-{tags[first][2:]}":
            last += 1
        start, end = units[first].start, units[last].end
        score = math.prod(probs[first : last + 1]) if probs else 1.0
        entities.append(Entity(label=tags[first][2:], start=start, end=end, text=text[start:end], score=score))
    return tuple(entities)


def mark_entities(text: str, entities: Iterable[Entity]) -> str:
    """Return the text with every entity written as `[words](label)`."""
    parts: list[str] = []
    at = 0
    for entity in entities:
        parts += [text[at : entity.start], f"[{entity.text}]({entity.label})"]
        at = entity.end
    return "".join([*parts, text[at:]])
