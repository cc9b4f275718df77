"""Tagging: the entities of a text, as one IOB2 tag for each of its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from banyan.core.config import config
from banyan.core.errors import ConfigError, DataError, InputError
from banyan.core.registry import did_you_mean
from banyan.core.types import Completion, Entity, HeadKind, HeadSpec, MaskKind, Prediction, Prompt, Row, Tags
from banyan.tasks.augmentation.config import NOISE
from banyan.tasks.augmentation.passage import Passage, WordSplitter, split_passage
from banyan.tasks.base import Supervision, Task
from banyan.tasks.fitting import fit_source
from banyan.tasks.metrics.entities import measure_entities
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.preprocessing import UNIT_STEPS
from banyan.tasks.rows import list_column, needed_columns, read_each, rename_columns, text_column
from banyan.tasks.tags import (
    OUTSIDE,
    entities_to_tags,
    entity_labels,
    mark_entities,
    tag_set,
    tags_to_entities,
    to_iob2,
)
from banyan.tasks.units import Unit, UnitKind, encode_units, find_words, join_words, split_units
from banyan.tokenizers.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggingExample:
    """A text, its words, and one tag for each word; None where they are asked for."""

    text: str
    units: tuple[Unit, ...]
    tags: tuple[str, ...] | None = None


@config
class Tagging(Task[TaggingExample]):
    """Tags every word with a linear layer, all words reading each other (full mask).

    A word's tag is read at its last token: in a trunk that was pretrained from left to right that is the first place
    where the whole word has been seen.
    """

    kind: ClassVar[str] = "tagging"
    main_metric: ClassVar[str] = "f1"
    other_metrics: ClassVar[tuple[str, ...]] = ("precision", "recall", "tag_accuracy")
    usual_mask: ClassVar[MaskKind] = MaskKind.FULL
    preprocessing: ClassVar[frozenset[str]] = UNIT_STEPS
    augmentations: ClassVar[frozenset[str]] = frozenset({*NOISE, "synonyms", "sentence_permutation"})

    labels: tuple[str, ...]  # of entities, without B- and I-
    unit: UnitKind = "word"  # "character": one tag for every character, as in CLUENER and MSRA

    def __post_init__(self) -> None:
        has_prefix = any(label == OUTSIDE or label[:2] in {"B-", "I-"} for label in self.labels)
        if not self.labels or len(set(self.labels)) < len(self.labels) or has_prefix:
            raise ConfigError(
                f"task {self.name} needs at least one label for entities, each once, got {list(self.labels)}.",
                hint="list them in the recipe as labels: [person, place], without B- and I-",
            )

    @property
    def head(self) -> HeadSpec:
        """A linear layer with one output for every tag."""
        return HeadSpec(name=self.name, kind=HeadKind.TAGGING, labels=tag_set(self.labels))

    @classmethod
    def fields_from_rows(cls, rows: Sequence[Row], *, columns: Mapping[str, str]) -> dict[str, Any]:
        """Return the labels of the entities, and whether the tags are given by character."""
        found = read_each(rows, lambda row: _labels_and_form(rename_columns(row, columns)))
        labels = {label for row_labels, _ in found for label in row_labels}
        by_character = all(is_by_character for _, is_by_character in found)
        return {"labels": tuple(sorted(labels)), "unit": "character" if by_character else "word"}

    def parse(self, row: Row, *, with_answer: bool = True) -> TaggingExample:
        """Read {"tokens", "tags"}, {"text", "tags"} with a tag for every character, or {"text", "entities"}.

        A `text` beside `tokens` is the text they were taken from; without it words are joined by spaces where their
        script has spaces.
        """
        row = rename_columns(row, needed_columns(self.columns, with_answer, answers=("tags", "entities")))
        text, units = self._read_words(row)
        if not units:
            raise DataError("the row holds no word to tag.")
        if not with_answer:
            return TaggingExample(text=text, units=units)
        return TaggingExample(text=text, units=units, tags=self._read_tags(row, text, units))

    def _read_words(self, row: Row) -> tuple[str, tuple[Unit, ...]]:
        if row.get("tokens") is None:
            text = text_column(row, "text")
            return text, split_units(text, self.unit)
        tokens = [str(token) for token in list_column(row, "tokens")]
        if row.get("text") is None:
            return join_words(tokens)
        text = text_column(row, "text")
        return text, find_words(text, tokens)

    def _read_tags(self, row: Row, text: str, units: tuple[Unit, ...]) -> tuple[str, ...]:
        if row.get("tags") is None:
            tags = entities_to_tags(_read_entities(row), units)
        else:
            tags = to_iob2([self._tag_name(tag) for tag in list_column(row, "tags")])
            if _is_by_character(row) and self.unit == "word":
                tags = entities_to_tags(tags_to_entities(tags, split_units(text, "character"), text), units)
        if len(tags) != len(units):
            raise DataError(f"the row has {len(units)} words and {len(tags)} tags; each word needs one tag.")
        for label in entity_labels(tags):
            if label not in self.labels:
                raise DataError(f"label {label!r} is not one of task {self.name}{did_you_mean(label, self.labels)}")
        return tags

    def _tag_name(self, tag: Any) -> str:
        """Return a tag's name; a number counts through O, B-first, I-first, B-second …"""
        names = tag_set(self.labels)
        return names[tag] if isinstance(tag, int) and tag in range(len(names)) else str(tag)

    def example_from_text(self, text: str) -> TaggingExample:
        """Ask for the tags of a text."""
        units = split_units(text, self.unit)
        if not units or not text.strip():
            raise InputError(f"task {self.name} cannot tag a blank text.")
        return TaggingExample(text=text, units=units)

    def prompt(self, example: TaggingExample, vocabulary: Vocabulary, *, max_tokens: int) -> Prompt:
        """Build `<|bos|><|task|> text <|sep|>`, or what an imported model has there.

        Words that do not fit whole are left out.
        """
        head = vocabulary.open_task(self.name, instruction=self.instruction_for(example.text))
        tail = vocabulary.ask_answer()
        encoded = encode_units(example.text, example.units, vocabulary, change=self.cleaned_unit)
        source, num_dropped = fit_source(
            encoded.token_ids,
            task=self.name,
            max_tokens=max_tokens,
            reserved_tokens=len(head) + len(tail),
            max_source_tokens=self.max_source_tokens,
            truncate=self.truncate,
        )
        positions = tuple(len(head) + at for at in encoded.last_tokens() if at < len(source))
        return Prompt(
            task=self.name,
            token_ids=(*head, *source, *tail),
            mask=self.reading,
            decoding=Tags(labels=tag_set(self.labels), head=self.name, positions=positions),
            notes=example,
            num_dropped_tokens=num_dropped,
        )

    def supervise(
        self, example: TaggingExample, prompt: Prompt, vocabulary: Vocabulary, *, max_tokens: int
    ) -> Supervision:
        """Expect each word's tag at its last token."""
        if example.tags is None:
            raise DataError(f"task {self.name} cannot learn from an example without tags.")
        assert isinstance(prompt.decoding, Tags)
        number = {tag: index for index, tag in enumerate(prompt.decoding.labels)}
        pairs = zip(prompt.decoding.positions, example.tags, strict=False)  # words that were cut off have no position
        return Supervision(prompt_targets={position: number[tag] for position, tag in pairs})

    def read(self, prompt: Prompt, completion: Completion, vocabulary: Vocabulary) -> Prediction:
        """Return a tag for every word ("O" for words that did not fit) and the entities they mark."""
        example: TaggingExample = prompt.notes
        names = tag_set(self.labels)
        tags = tuple(names[tag_id] for tag_id in completion.tag_ids)
        tags += (OUTSIDE,) * (len(example.units) - len(tags))
        entities = tags_to_entities(tags, example.units, example.text, probs=completion.tag_probs)
        return Prediction(
            task=self.name,
            text=mark_entities(example.text, entities),
            tags=tags,
            entities=entities,
            num_prompt_tokens=len(prompt),
            num_dropped_tokens=prompt.num_dropped_tokens,
        )

    def passages(self, example: TaggingExample, *, split: WordSplitter) -> tuple[Passage, ...]:
        """Return the text in the words that have tags, each entity as one stretch that must stay."""
        entities = tags_to_entities(example.tags or (), example.units, example.text)
        kept = [(entity.start, entity.end) for entity in entities]
        return (split_passage(example.text, units=example.units, kept=kept),)

    def with_passages(self, example: TaggingExample, passages: Sequence[Passage]) -> TaggingExample:
        """Return another text whose words have their tags; every word outside the entities has none."""
        units: list[Unit] = []
        tags: list[str] = []
        old = list(zip(example.units, example.tags or (), strict=True))
        for word, start in zip(passages[0].words, passages[0].starts(), strict=True):
            if word.origin is None:
                own = [(Unit(start=start, end=start + len(word.text)), OUTSIDE)]
            else:
                own = [
                    (Unit(start=unit.start - word.origin + start, end=unit.end - word.origin + start), tag)
                    for unit, tag in old
                    if word.origin <= unit.start < word.origin + len(word.text)
                ]
            units += [unit for unit, _ in own]
            tags += [tag for _, tag in own]
        return TaggingExample(text=passages[0].text, units=tuple(units), tags=tuple(tags))

    def reference(self, example: TaggingExample) -> str:
        """Return the text with its entities marked."""
        if example.tags is None:
            return ""
        return mark_entities(example.text, tags_to_entities(example.tags, example.units, example.text))

    def source(self, example: TaggingExample) -> str:
        """Return the text."""
        return example.text

    def measure(self, examples: Sequence[TaggingExample], predictions: Sequence[Prediction]) -> Measurement:
        """Count strict entity F1."""
        expected = [example.tags or () for example in examples]
        return measure_entities(expected, [prediction.tags or () for prediction in predictions])


def _labels_and_form(row: Row) -> tuple[tuple[str, ...], bool]:
    """Return the labels of a row's entities, and whether each character has a tag."""
    if row.get("tags") is not None:
        return entity_labels(map(str, list_column(row, "tags"))), _is_by_character(row)
    return tuple(entity.label for entity in _read_entities(row)), False


def _is_by_character(row: Row) -> bool:
    text, tags = row.get("text"), row.get("tags")
    return row.get("tokens") is None and isinstance(tags, list) and isinstance(text, str) and len(tags) == len(text)


def _read_entities(row: Row) -> tuple[Entity, ...]:
    """Read [{"start", "end", "label" or "type"}] or [[start, end, label]].

    Raises: DataError for an entity outside the text.
    """
    text = text_column(row, "text")
    entities = []
    for item in list_column(row, "entities"):
        values = item if isinstance(item, dict) else dict(zip(("start", "end", "label"), _as_list(item), strict=False))
        label = values.get("label") or values.get("type") or values.get("entity_group")
        start, end = values.get("start"), values.get("end")
        if not label or not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(text):
            raise DataError(
                f"entity {item!r} does not fit a text of {len(text)} characters; it needs label, start and end."
            )
        entities.append(Entity(label=str(label), start=start, end=end, text=text[start:end]))
    return tuple(entities)


def _as_list(item: Any) -> list[Any]:
    return list(item) if isinstance(item, list | tuple) else []
