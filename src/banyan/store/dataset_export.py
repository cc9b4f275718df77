"""Stored answers as training rows in the field's own formats, each with the correction a person gave, if any.

The flywheel: what was asked and answered today is learned from tomorrow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from banyan.core.types import Row
from banyan.store.export import artifact_file_name
from banyan.store.types import RequestState, StoredExchange, StoredFeedback, StoredOutput

_TEXT_NAMES = ("text", "prompt", "input", "document")
_LANGUAGES = ("source_language", "target_language")
_SOURCE_NAMES = (
    *_TEXT_NAMES,
    *("tokens", "messages", "question", "context", "translation", "source", *_LANGUAGES),
)
_QUESTION_MARK = "|||"  # question ||| context, as `banyan predict` takes the two in one text


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRow:
    """A row to learn from, and the answer it was made of."""

    row: Row
    choice_index: int


def training_rows(exchange: StoredExchange, *, only_judged: bool = False) -> list[TrainingRow]:
    """Return what can be learned from a request: of each of its inputs, the answers worth it.

    Those are the answers that somebody liked or corrected, a correction in the place of the answer; where there are
    none, the first one, unless it was disliked. With `only_judged`, nothing that nobody rated or corrected.
    """
    outputs = exchange.answer.outputs if exchange.answer else ()
    rows: list[TrainingRow] = []
    for _, own in groupby(outputs, key=lambda output: _input_of(exchange, output.choice_index)):
        found = [
            TrainingRow(row=row, choice_index=index)
            for index in _worth_learning(exchange, list(own), only_judged=only_judged)
            if (row := row_of_answer(exchange, index, correction=_correction(exchange, index))) is not None
        ]
        rows += [each for n, each in enumerate(found) if each.row not in [other.row for other in found[:n]]]
    return rows


def row_of_answer(exchange: StoredExchange, choice_index: int, *, correction: str | None = None) -> Row | None:
    """Return the training row of one answer, or of what it should have been; None if it cannot be one."""
    outputs = exchange.answer.outputs if exchange.answer else ()
    if exchange.state is not RequestState.COMPLETED:
        return None
    output = next((each for each in outputs if each.choice_index == choice_index), None)
    make = _MAKERS.get(exchange.request.task_kind)
    source = _source(exchange, choice_index)
    if output is None or make is None or source is None:
        return None
    return make(source, output, correction, exchange.request.params)


def feedback_on(exchange: StoredExchange, choice_index: int) -> list[StoredFeedback]:
    """Return what people said of one answer.

    Before they could say which they meant, it was the first, or of several inputs nobody knows which.
    """
    usual = 0 if len(exchange.request.sources) < 2 else None
    meant = ((given, usual if given.choice_index is None else given.choice_index) for given in exchange.feedback)
    return [given for given, index in meant if index == choice_index]


def _worth_learning(exchange: StoredExchange, outputs: Sequence[StoredOutput], *, only_judged: bool) -> list[int]:
    indices = [output.choice_index for output in outputs]
    good = [n for n in indices if _correction(exchange, n) is not None or (_rating(exchange, n) or 0) > 0]
    first = [n for n in indices[:1] if (_rating(exchange, n) or 0) >= 0]
    if only_judged:  # a rating of 0 takes an earlier one back, and is a judgement, too
        first = [n for n in first if _rating(exchange, n) is not None]
    return good or first


def _correction(exchange: StoredExchange, choice_index: int) -> str | None:
    said = feedback_on(exchange, choice_index)
    return next((given.correction for given in reversed(said) if given.correction is not None), None)


def _rating(exchange: StoredExchange, choice_index: int) -> int | None:
    said = feedback_on(exchange, choice_index)
    return next((given.rating for given in reversed(said) if given.rating is not None), None)


def _input_of(exchange: StoredExchange, choice_index: int) -> int:
    """Return which of a request's inputs an answer belongs to: each has as many answers as the others, in turn."""
    num_inputs = max(1, len(exchange.request.sources))
    return choice_index // max(1, exchange.request.num_choices // num_inputs)


def _source(exchange: StoredExchange, choice_index: int) -> Mapping[str, Any] | None:
    """Return the input fields of an answer's row: as stored, or those of the body that are named like such."""
    request = exchange.request
    if request.sources:
        return request.sources[_input_of(exchange, choice_index)]
    if request.source is not None:
        return request.source
    return {name: request.body[name] for name in _SOURCE_NAMES if name in request.body} or None


def _text(source: Mapping[str, Any]) -> str | None:
    return next((source[name] for name in _TEXT_NAMES if isinstance(source.get(name), str)), None)


def _labelled(source: Mapping[str, Any], output: StoredOutput, correction: str | None, _: Any) -> Row | None:
    text = _text(source)
    return None if text is None else {"text": text, "label": correction or output.text}


def _tagged(source: Mapping[str, Any], output: StoredOutput, correction: str | None, _: Any) -> Row | None:
    """Return {"tokens", "tags"}, or {"text", "entities"} where the text came whole.

    A correction is a JSON list: one tag per token, or the entities with start, end and label.
    """
    given = None if correction is None else _json_list(correction)
    said = output.prediction or {}
    tokens, text = source.get("tokens"), _text(source)
    if isinstance(tokens, list):
        tags = said.get("tags") if correction is None else given
        fits = isinstance(tags, list) and len(tags) == len(tokens)
        return {"tokens": tokens, "tags": tags} if fits else None
    entities = said.get("entities") if correction is None else given
    return {"text": text, "entities": entities} if text is not None and isinstance(entities, list) else None


def _answered(source: Mapping[str, Any], output: StoredOutput, correction: str | None, _: Any) -> Row | None:
    """Return a SQuAD row; an answer that is not in the context cannot be learned as a span and gives none."""
    question, context = _question_and_context(source)
    if not question or not context:
        return None
    text = output.text if correction is None else correction
    span = (output.prediction or {}).get("span")
    start = span[0] if correction is None and span else context.find(text)
    if text and context[start : start + len(text)] != text:
        return None
    answers = [{"text": text, "start": start}] if text else []
    return {"context": context, "question": question, "answers": answers}


def _question_and_context(source: Mapping[str, Any]) -> tuple[str, str]:
    question, context = source.get("question"), source.get("context")
    if isinstance(question, str) and isinstance(context, str):
        return question, context
    first, _, second = (_text(source) or "").partition(_QUESTION_MARK)
    return first.strip(), second.strip()


def _translated(
    source: Mapping[str, Any], output: StoredOutput, correction: str | None, params: Mapping[str, Any]
) -> Row | None:
    """Return {"translation": {language: text}} where the languages are known, else {"source", "target"}."""
    known = {**params, **source}
    ours, theirs = known.get("source_language"), known.get("target_language")
    pair = source.get("translation")
    text = pair.get(ours) if isinstance(pair, Mapping) else source.get("source", _text(source))
    answer = correction or output.text
    if not isinstance(text, str):
        return None
    if not isinstance(ours, str) or not isinstance(theirs, str):
        named = {name: known[name] for name in _LANGUAGES if isinstance(known.get(name), str)}
        return {"source": text, "target": answer, **named}
    return {"translation": {ours: text, theirs: answer}}


def _summarised(source: Mapping[str, Any], output: StoredOutput, correction: str | None, _: Any) -> Row | None:
    document = source.get("document") or _text(source)
    return {"document": document, "summary": correction or output.text} if isinstance(document, str) else None


def _said(source: Mapping[str, Any], output: StoredOutput, correction: str | None, _: Any) -> Row | None:
    messages = source.get("messages")
    if not isinstance(messages, list):
        text = _text(source)
        messages = None if text is None else [{"role": "user", "content": text}]
    if messages is None:
        return None
    return {"messages": [*messages, {"role": "assistant", "content": correction or output.text}]}


def _continued(source: Mapping[str, Any], output: StoredOutput, correction: str | None, _: Any) -> Row | None:
    text = _text(source)
    return None if text is None else {"text": text + (correction or output.text)}


def _drawn(source: Mapping[str, Any], output: StoredOutput, correction: str | None, _: Any) -> Row | None:
    """Return {"image", "text"}; a correction says what the picture really shows."""
    text = correction or _text(source)
    if text is None or not output.artifacts:
        return None
    return {"image": artifact_file_name(output.artifacts[0]), "text": text}


def _looked_at(source: Mapping[str, Any], output: StoredOutput, correction: str | None, _: Any) -> Row | None:
    """Return {"image", "label"}, with the text beside the picture where there was one."""
    image, text = source.get("image"), source.get("text")
    beside = {"text": text} if isinstance(text, str) else {}
    return {"image": image, **beside, "label": correction or output.text} if isinstance(image, str) else None


def _captioned(source: Mapping[str, Any], output: StoredOutput, correction: str | None, _: Any) -> Row | None:
    image = source.get("image")
    return {"image": image, "text": correction or output.text} if isinstance(image, str) else None


def _json_list(text: str) -> list[Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) else None


_MAKERS: Mapping[str, Callable[[Mapping[str, Any], StoredOutput, str | None, Mapping[str, Any]], Row | None]] = {
    "language_modeling": _continued,
    "classification": _labelled,
    "tagging": _tagged,
    "question_answering": _answered,
    "translation": _translated,
    "summarization": _summarised,
    "dialogue": _said,
    "image_generation": _drawn,
    "picture_classification": _looked_at,
    "captioning": _captioned,
}
