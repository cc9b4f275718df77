"""Which decisions an answer is made of, and which of them somebody asks about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from banyan.core.errors import InputError, UnknownNameError
from banyan.core.registry import did_you_mean
from banyan.core.types import Completion, LabelSet, Prediction, Prompt, Span, Tags, Text
from banyan.infer.decisions import Decision, HeadDecision, SpanDecision, TextDecision, WordLabelDecision
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.question_answering import ContextNotes
from banyan.tasks.tagging import TaggingExample
from banyan.workflows.source_words import words_of

_SHOWN_WORDS = 8  # of a text, in a message
_SHOWN_CHARACTERS = 80  # of an answer, in a message


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """A question and what the model answered to it."""

    prompt: Prompt
    completion: Completion
    prediction: Prediction


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedDecision:
    """A decision, and what to call it."""

    about: str
    decision: Decision


def decisions_of(
    model: LoadedModel, answered: Answered, *, about: str | None = None, each: bool = False
) -> tuple[NamedDecision, ...]:
    """Return what was decided: the label, the tags of each entity, the span, or the written text as a whole.

    `about` asks for another label, one entity or word of a tagged text, another stretch of the context, or one word of
    a written answer; `each` for every label or every word of a written answer.
    Raises: UnknownNameError or InputError if there is nothing of that name, or nothing was decided.
    """
    decoding = answered.prompt.decoding
    if isinstance(decoding, LabelSet):
        return tuple(_labels(model, answered, decoding, about=about, each=each))
    if isinstance(decoding, Tags):
        return tuple(_tags(model, answered, decoding, about=about))
    if isinstance(decoding, Span):
        return (_span(model, answered, decoding, about=about),)
    assert isinstance(decoding, Text)  # questions about pictures are not explained
    return tuple(_text(model, answered, decoding, about=about, each=each))


def _labels(
    model: LoadedModel, answered: Answered, decoding: LabelSet, *, about: str | None, each: bool
) -> Iterator[NamedDecision]:
    if about is not None and about not in decoding.labels:
        raise UnknownNameError(
            f"--about {about!r} is not one of the {len(decoding.labels)} labels of task {answered.prompt.task}"
            f"{did_you_mean(about, decoding.labels)}"
        )
    for label in decoding.labels if each and about is None else (about or answered.prediction.text,):
        chosen = decoding.labels.index(label)
        yield NamedDecision(about=label, decision=_label(model, answered.prompt, decoding, chosen))


def _label(model: LoadedModel, prompt: Prompt, decoding: LabelSet, chosen: int) -> Decision:
    adapter = model.engine.adapter_for(prompt.task)
    if decoding.head is None:
        return WordLabelDecision(
            prompt=prompt,
            label_token_ids=decoding.label_token_ids,
            chosen=chosen,
            length_normalised=decoding.length_normalised,
            adapter=adapter,
        )
    last = len(prompt) - 1
    return HeadDecision(
        prompt=prompt,
        head=decoding.head,
        positions=(last,),
        chosen=(chosen,),
        adapter=adapter,
        pooling=decoding.pooling,
    )


def _tags(model: LoadedModel, answered: Answered, decoding: Tags, *, about: str | None) -> Iterator[NamedDecision]:
    example: TaggingExample = answered.prompt.notes
    entities = answered.prediction.entities or ()
    places = [(f"{entity.text} ({entity.label})", entity.start, entity.end) for entity in entities]
    if about is not None:
        named = [place for entity, place in zip(entities, places, strict=True) if entity.text == about]
        places = named or list(_tagged_words(example, answered.prediction, about))[:1]
    if not places:
        raise _nothing_tagged(example, about)
    for name, start, end in places:
        read = example.units[: len(decoding.positions)]  # the others were cut off
        numbers = [n for n, unit in enumerate(read) if unit.start < end and unit.end > start]
        if not numbers:
            raise InputError(
                f"--about {about!r} stands where the model did not read any more.", hint="shorten the text"
            )
        decision = HeadDecision(
            prompt=answered.prompt,
            head=decoding.head,
            positions=tuple(decoding.positions[number] for number in numbers),
            chosen=tuple(answered.completion.tag_ids[number] for number in numbers),
            adapter=model.engine.adapter_for(answered.prompt.task),
        )
        yield NamedDecision(about=name, decision=decision)


def _tagged_words(example: TaggingExample, prediction: Prediction, about: str) -> Iterator[tuple[str, int, int]]:
    for unit, tag in zip(example.units, prediction.tags or (), strict=True):
        if example.text[unit.start : unit.end] == about:
            yield f"{about} ({tag})", unit.start, unit.end


def _nothing_tagged(example: TaggingExample, about: str | None) -> InputError:
    words = [example.text[unit.start : unit.end] for unit in example.units[:_SHOWN_WORDS]]
    if about is None:
        return InputError("the model tagged nothing in this text.", hint=f"ask why not: --about {words[0]!r}")
    return InputError(f"--about {about!r} is no word of the text.", hint=f"its words begin with {', '.join(words)}")


def _span(model: LoadedModel, answered: Answered, decoding: Span, *, about: str | None) -> NamedDecision:
    notes: ContextNotes = answered.prompt.notes
    span = answered.completion.span
    if about is not None:
        start = notes.context.find(about) if about else -1
        span = notes.positions(start, start + len(about)) if start >= 0 else None
        if span is None:
            raise InputError(f"--about {about!r} does not stand in the context as the model has read it.")
    name = about or answered.prediction.text or "no answer"
    adapter = model.engine.adapter_for(answered.prompt.task)
    decision = SpanDecision(prompt=answered.prompt, decoding=decoding, span=span, adapter=adapter)
    return NamedDecision(about=name, decision=decision)


def _text(
    model: LoadedModel, answered: Answered, decoding: Text, *, about: str | None, each: bool
) -> Iterator[NamedDecision]:
    adapter = model.engine.adapter_for(answered.prompt.task)

    def decide(ids: tuple[int, ...], first: int = 0, last: int | None = None) -> Decision:
        return TextDecision(prompt=answered.prompt, answer_ids=ids, first=first, last=last, adapter=adapter)

    written = answered.completion.token_ids
    words = words_of(written, range(len(written)), model.vocabulary)
    if about is not None:
        words = tuple(word for word in words if word.text.strip() == about)[:1]
        if not words:
            raise InputError(
                f"--about {about!r} is no word of the answer {answered.prediction.text[:_SHOWN_CHARACTERS]!r}."
            )
    if not written:
        yield NamedDecision(about="(it ends at once)", decision=decide(decoding.stop_token_ids[:1]))
    elif about is None and not each:
        yield NamedDecision(about=answered.prediction.text, decision=decide(written))
    else:
        for word in words:
            first, last = word.positions[0], word.positions[-1]
            yield NamedDecision(about=word.text.strip(), decision=decide(written, first, last))
