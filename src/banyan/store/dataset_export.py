"""Stored answers as training rows in the field's own formats, each with the correction a person gave, if any.

The flywheel: what was asked and answered today is learned from tomorrow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from banyan.core.types import Row
from banyan.store.export import artifact_file_name
from banyan.store.types import RequestState, StoredExchange, StoredOutput

_TEXT_NAMES = ("text", "prompt", "input", "document")
_SOURCE_NAMES = (
    *_TEXT_NAMES,
    *("tokens", "messages", "question", "context", "translation", "source", "source_language", "target_language"),
)
_QUESTION_MARK = "|||"  # question ||| context, as `banyan predict` takes the two in one text


def dataset_rows(exchanges: Iterable[StoredExchange]) -> Iterator[Row]:
    """Yield a training row for every completed answer that can be one.

    A correction takes the place of the answer. An answer rated below 0 without a correction is left out, and so is
    one whose source or task kind is not known.
    """
    for exchange in exchanges:
        if row := dataset_row(exchange):
            yield row


def dataset_row(exchange: StoredExchange) -> Row | None:
    """Return the training row of one request, or None if it cannot be one."""
    answer = exchange.answer
    if answer is None or answer.state is not RequestState.COMPLETED or not answer.outputs:
        return None
    correction = _correction(exchange)
    if correction is None and _is_disliked(exchange):
        return None
    make = _MAKERS.get(exchange.request.task_kind)
    source = _source(exchange)
    if make is None or source is None:
        return None
    return make(source, answer.outputs[0], correction, exchange.request.params)


def _correction(exchange: StoredExchange) -> str | None:
    given = [feedback.correction for feedback in exchange.feedback if feedback.correction is not None]
    return given[-1] if given else None


def _is_disliked(exchange: StoredExchange) -> bool:
    ratings = [feedback.rating for feedback in exchange.feedback if feedback.rating is not None]
    return bool(ratings) and ratings[-1] < 0


def _source(exchange: StoredExchange) -> Mapping[str, Any] | None:
    """Return the input fields of the row: as stored, or those of the body that are named like such."""
    if exchange.request.source is not None:
        return exchange.request.source
    body = exchange.request.body
    return {name: body[name] for name in _SOURCE_NAMES if name in body} or None


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
        return {"source": text, "target": answer}
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
