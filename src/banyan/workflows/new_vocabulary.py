"""A child that reads other tokens than its parent: more of them, or those of another tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from banyan.model.transformer import Transformer
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.transfer.retokenize import retokenize
from banyan.transfer.vocabulary import GrowConfig, grow_rows
from banyan.workflows.growing import read_growth, read_target
from banyan.workflows.transfer_recipe import TransferRecipe


@dataclass(frozen=True, kw_only=True, slots=True)
class VocabularyChange:
    """A child's vocabulary, and what gives a model the rows for it."""

    vocabulary: Vocabulary
    apply: Callable[[Transformer], Transformer]


def vocabulary_change(transfer: TransferRecipe, vocabulary: Vocabulary) -> VocabularyChange | None:
    """Return what a recipe changes about its parent's vocabulary; None: nothing.

    Raises: ConfigError, FileError, DataError, CheckpointError if tokens or tokenizer cannot be used.
    """
    if transfer.grow_vocabulary is not None:
        return _grown(transfer.grow_vocabulary, vocabulary)
    if transfer.retokenize is not None:
        target = read_target(Path(transfer.retokenize), like=vocabulary)
        return VocabularyChange(vocabulary=target, apply=lambda model: retokenize(model, vocabulary, target).model)
    return None


def _grown(config: GrowConfig, vocabulary: Vocabulary) -> VocabularyChange:
    grown = read_growth(vocabulary, config)
    return VocabularyChange(vocabulary=grown.vocabulary, apply=lambda model: grow_rows(model, grown, config))


def with_tasks(vocabulary: Vocabulary, task_names: Sequence[str]) -> Vocabulary:
    """Return the same vocabulary for other tasks."""
    is_foreign = vocabulary.foreign is not None
    return Vocabulary(
        vocabulary.text,
        task_names=task_names,
        num_image_codes=vocabulary.num_image_codes,
        foreign=vocabulary.foreign,
        chat=vocabulary.chat,
        text_size=vocabulary.text_size if is_foreign else None,
    )
