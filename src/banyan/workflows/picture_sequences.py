"""Pictures as training sequences: each under several of its captions, and a share of them without any wish."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from banyan.core.types import Prompt, TokenSequence
from banyan.tasks.image_generation import ImageGeneration, PictureExample
from banyan.tokenizers.vocabulary import Vocabulary

_MAX_VARIANTS = 4  # of one picture in an epoch


class PictureSequences:
    """The sequences of a task that draws, rendered when they are asked for: a large set would not fit as tuples.

    First come all pictures under one caption each, then all under another one (and with the codes of another copy),
    and at the end those that teach what guidance compares with: pictures without a wish.
    """

    is_running_text = False

    def __init__(
        self, task: ImageGeneration, examples: Sequence[PictureExample], vocabulary: Vocabulary, *, max_tokens: int
    ) -> None:
        self.task = task.name
        self._kind = task
        self._examples = examples
        self._vocabulary = vocabulary
        self._max_tokens = max_tokens
        self._prompts: dict[str, Prompt] = {}  # by caption
        num_variants = max(max(len(one.captions), 1 + len(one.other_codes)) for one in examples)
        self._num_wished = len(examples) * min(num_variants, _MAX_VARIANTS)
        share = task.caption_dropout
        self._num_wishless = round(self._num_wished * share / (1 - share))
        self[0]  # a context that is too short is found out here

    def __len__(self) -> int:
        return self._num_wished + self._num_wishless

    def __getitem__(self, index: int) -> TokenSequence:
        if not 0 <= index < len(self):
            raise IndexError(f"sequence {index} of {len(self)}")
        if index >= self._num_wished:
            place = (index - self._num_wished) * self._num_wished // self._num_wishless
            return self._render(place, drop_source=True)
        return self._render(index)

    def varied(self, sequence: TokenSequence, generator: np.random.Generator, *, index: int) -> TokenSequence:
        """Return the sequence as it is."""
        return sequence

    def _render(self, place: int, *, drop_source: bool = False) -> TokenSequence:
        variant, number = divmod(place, len(self._examples))
        # Each picture under several of its captions; another picture begins with another one.
        example = self._kind.with_caption(self._examples[number], number + variant)
        example = self._kind.with_copy(example, variant)
        if drop_source:
            return self._kind.render(example, self._vocabulary, max_tokens=self._max_tokens, drop_source=True)
        if example.caption not in self._prompts:
            self._prompts[example.caption] = self._kind.prompt(example, self._vocabulary, max_tokens=self._max_tokens)
        prompt = self._prompts[example.caption]
        return self._kind.complete(prompt, example, self._vocabulary, max_tokens=self._max_tokens)
