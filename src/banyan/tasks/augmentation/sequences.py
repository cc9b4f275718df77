"""The training sequences of a task whose examples are worded anew each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

import numpy as np

from banyan.core.errors import ContextLengthError
from banyan.core.types import TokenSequence
from banyan.tasks.augmentation.augmenter import Augmenter
from banyan.tasks.base import Task
from banyan.tokenizers.vocabulary import Vocabulary

E = TypeVar("E")
Weigh: TypeAlias = Callable[[TokenSequence], TokenSequence]


class AugmentedSequences(Generic[E]):
    """Examples as they are, held in memory, and what an augmenter makes of them when they are learned.

    What a sequence becomes follows from the generator, so from seed, epoch and place: a resumed run gets the same. A
    wording that does not fit the context, or has lost its answer, is not used.
    """

    is_running_text = False

    def __init__(
        self,
        task: Task[E],
        examples: Sequence[E],
        sequences: Sequence[TokenSequence],
        *,
        augmenter: Augmenter[E],
        vocabulary: Vocabulary,
        max_tokens: int,
        weigh: Weigh,
    ) -> None:
        assert len(examples) == len(sequences), "every sequence has its example"
        self.task = task.name
        self._kind = task
        self._examples = examples
        self._sequences = sequences
        self._augmenter = augmenter
        self._vocabulary = vocabulary
        self._max_tokens = max_tokens
        self._weigh = weigh

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, index: int) -> TokenSequence:
        return self._sequences[index]

    def varied(self, sequence: TokenSequence, generator: np.random.Generator, *, index: int) -> TokenSequence:
        """Return the sequence of an example, or that of another wording of it."""
        example = self._examples[index]
        worded = self._augmenter.vary(example, generator)
        if worded is example or worded == example:
            return sequence
        try:
            rendered = self._kind.render(worded, self._vocabulary, max_tokens=self._max_tokens)
        except ContextLengthError:
            return sequence
        return self._weigh(rendered) if any(rendered.loss_weights) else sequence
