"""What augments a task's examples: its words, and what a model was asked about them before the first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from banyan.core.errors import ConfigError
from banyan.core.files import atomic_write_json, read_json
from banyan.data.corpus import corpus_key
from banyan.runtime.loading import load
from banyan.tasks.augmentation.augmenter import Augmenter, Lexicon, ModelKnowledge, build_lexicon
from banyan.tasks.augmentation.config import Augmentation
from banyan.tasks.augmentation.passage import WordSplitter, longest_words
from banyan.tasks.base import Task
from banyan.tasks.units import split_units
from banyan.workflows.back_translation import translated_texts
from banyan.workflows.parent import find_parent
from banyan.workflows.reporter import Reporter
from banyan.workflows.word_list import read_words
from banyan.workflows.word_neighbours import word_neighbours

FOLDER = "augmentation"  # of a run: what models were asked, so that a resumed run learns the same wordings
_MAX_ANSWERS_BYTES = 1 << 30


def build_augmenter(
    task: Task[Any],
    augment: Augmentation,
    examples: Sequence[Any],
    *,
    parent: str | None,
    folder: Path | None,
    key: str,
    reporter: Reporter,
) -> Augmenter[Any]:
    """Return what words the examples of a task otherwise, from its training examples.

    What a model was asked is kept in the folder; `key` stands for the data. So a run that is resumed needs no model.
    Raises: FileError, CheckpointError if model or dictionary are not there; ConfigError if it does not translate.
    """
    split = _splitter(augment)
    lexicon = build_lexicon(task, examples, split=split)
    if not augment.needs_model:
        return Augmenter(task, augment, lexicon)
    ask = partial(_ask, task, augment, examples, lexicon, parent=parent, reporter=reporter)
    if folder is None:
        return Augmenter(task, augment, lexicon, knowledge=ask())
    path = folder / f"{task.name}.json"
    return Augmenter(task, augment, lexicon, knowledge=_kept(path, corpus_key(key, task.spec(), augment), ask))


def _splitter(augment: Augmentation) -> WordSplitter:
    if augment.dictionary is None:
        return split_units
    return longest_words(read_words(Path(augment.dictionary)).words)


def _kept(path: Path, key: str, ask: Callable[[], ModelKnowledge]) -> ModelKnowledge:
    """Return what an earlier call wrote for the same data and keys, or ask now and write it down."""
    if path.is_file():
        found = read_json(path, max_bytes=_MAX_ANSWERS_BYTES)
        if found.get("key") == key:
            return ModelKnowledge(synonyms=found["synonyms"], translated=found["translated"])
    knowledge = ask()
    path.parent.mkdir(parents=True, exist_ok=True)
    answers = {"synonyms": dict(knowledge.synonyms), "translated": dict(knowledge.translated)}
    atomic_write_json(path, {"key": key, **answers})
    return knowledge


def _ask(
    task: Task[Any],
    augment: Augmentation,
    examples: Sequence[Any],
    lexicon: Lexicon,
    *,
    parent: str | None,
    reporter: Reporter,
) -> ModelKnowledge:
    directory = augment.model or parent
    if directory is None:
        raise ConfigError(f"task {task.name}: augment needs a model to ask.", hint="set augment.model")
    reporter.stage(f"ask {directory} for other wordings")
    with load(find_parent(Path(directory))) as model:
        synonyms = word_neighbours(model, lexicon.counts) if augment.synonyms else {}
        translated: dict[str, str] = {}
        if augment.back_translation:
            texts = [text for example in examples for text in _texts_of(task, example, lexicon.split)]
            progress = partial(reporter.progress, note=task.name)
            translated = translated_texts(model, augment, examples, texts, progress=progress)
    reporter.line(f"{task.name}: {len(synonyms)} words have neighbours, {len(translated)} texts have another wording")
    return ModelKnowledge(synonyms=synonyms, translated=translated)


def _texts_of(task: Task[Any], example: Any, split: WordSplitter) -> list[str]:
    return [passage.text for passage in task.passages(example, split=split)]
