"""Texts in other words, made by a model that translates: there and back, or from the other side of a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from banyan.core.errors import ConfigError, ContextLengthError
from banyan.core.types import FinishReason, Prediction
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.augmentation.config import Augmentation
from banyan.tasks.translation import Translation, TranslationExample
from banyan.workflows.datasets import spread

_AT_ONCE = 64  # sentences
Progress = Callable[[int, int], None]


def translated_texts(
    model: LoadedModel, augment: Augmentation, examples: Sequence[Any], texts: Sequence[str], *, progress: Progress
) -> dict[str, str]:
    """Return, for some texts spread over all, the same in other words.

    The source of a translation is made anew from its translation (Sennrich et al. 2016); any other text goes through
    the language of `augment.pivot` and back. What the model could not read or finish is left out.
    Raises: ConfigError if the model does not translate.
    """
    translator = _translator(model, augment.translator)
    if examples and isinstance(examples[0], TranslationExample):
        chosen = spread(list({example.text: example for example in examples}.values()), augment.max_translated)
        questions = {example.text: _reversed(example) for example in chosen}
        return _answers(model, translator, questions, progress=progress)
    here, _, there = (augment.pivot or "").partition(">")
    kept = spread(list(dict.fromkeys(texts)), augment.max_translated)
    away = {text: _question(text, here, there) for text in kept}
    abroad = _answers(model, translator, away, progress=lambda done, total: progress(done, 2 * total))
    home = {text: _question(other, there, here) for text, other in abroad.items()}
    found = _answers(model, translator, home, progress=lambda done, total: progress(total + done, 2 * total))
    return {text: other for text, other in found.items() if other != text}


def _translator(model: LoadedModel, name: str | None) -> str:
    task = model.task_of_kind(Translation.kind) if name is None else model.task(name)
    if not isinstance(task, Translation):
        raise ConfigError(
            f"augment.translator={name} is a {task.kind} task of {model.directory}; translating needs a translation "
            "task.",
            hint="name one, or leave augment.translator out",
        )
    return task.name


def _reversed(example: TranslationExample) -> TranslationExample:
    return _question(example.translation or "", example.target_language, example.source_language)


def _question(text: str, source_language: str, target_language: str) -> TranslationExample:
    return TranslationExample(text=text, source_language=source_language, target_language=target_language)


def _answers(
    model: LoadedModel, translator: str, questions: Mapping[str, TranslationExample], *, progress: Progress
) -> dict[str, str]:
    """Return the translations of the questions that were read whole and answered to the end."""
    names = list(questions)
    found: dict[str, str] = {}
    for first in range(0, len(names), _AT_ONCE):
        some = [name for name in names[first : first + _AT_ONCE] if _fits(model, translator, questions[name])]
        answers = model.answer(translator, [questions[name] for name in some]) if some else []
        found |= {name: answer.text for name, answer in zip(some, answers, strict=True) if _is_whole(answer)}
        progress(min(first + _AT_ONCE, len(names)), len(names))
    return found


def _fits(model: LoadedModel, translator: str, question: TranslationExample) -> bool:
    try:
        return not model.prompt(translator, question).num_dropped_tokens
    except ContextLengthError:
        return False


def _is_whole(answer: Prediction) -> bool:
    return answer.finish_reason is FinishReason.STOP and bool(answer.text.strip())
