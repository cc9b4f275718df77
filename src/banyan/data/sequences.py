"""Sources of training sequences: examples already rendered, and windows over prepared shards."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np

from banyan.core.errors import ConfigError, DataError
from banyan.core.types import MaskKind, TokenSequence
from banyan.data.masking import MaskShares, mix_masks
from banyan.data.shards import ShardReader


class SequenceSource(Protocol):
    """All sequences of one task, by number; the same number always gives the same sequence."""

    @property
    def task(self) -> str:
        """Name of the task the sequences belong to."""
        ...

    @property
    def is_running_text(self) -> bool:
        """Whether a sequence may be cut anywhere, for rows that are shorter than it."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> TokenSequence: ...

    def varied(self, sequence: TokenSequence, generator: np.random.Generator, *, index: int) -> TokenSequence:
        """Return sequence number `index` of this source, or a piece of it, as it is learned this time."""
        ...


class ExampleSequences:
    """A task's examples, rendered and held in memory."""

    is_running_text = False

    def __init__(self, task: str, sequences: Sequence[TokenSequence]) -> None:
        self.task = task
        self._sequences = sequences

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, index: int) -> TokenSequence:
        return self._sequences[index]

    def varied(self, sequence: TokenSequence, generator: np.random.Generator, *, index: int) -> TokenSequence:
        """Return the sequence as it is."""
        return sequence


class ShardWindows:
    """Next-token windows over the documents of prepared shards; every token is predicted exactly once.

    A document reads `start_ids … text … end_id`. One longer than `seq_len` continues in further windows; a window never
    holds two documents (the loader packs short ones into one row, each as its own segment).
    The documents `left_out` of each shard (numbers, shard by shard) are passed over. With `masks`, some stretches are
    read in both directions each time they come; `hidden_id` stands where a token is hidden then.
    Raises: DataError if the shards hold no documents.
    """

    is_running_text = True

    def __init__(
        self,
        task: str,
        shards: Sequence[ShardReader],
        *,
        seq_len: int,
        start_ids: Sequence[int],
        end_id: int,
        left_out: Sequence[Collection[int]] = (),
        masks: MaskShares | None = None,
        hidden_id: int = 0,
    ) -> None:
        if not start_ids:
            raise ConfigError(
                "start_ids is empty; a document needs at least one token to predict its first token from."
            )
        self.task = task
        self._shards = shards
        self._seq_len = seq_len
        self._start_ids = np.array(start_ids, dtype=np.int64)
        self._end_id = end_id
        self._masks = masks
        self._hidden_id = hidden_id
        lengths = [np.diff(shard.document_starts) for shard in shards]
        num_predictions = np.concatenate([*lengths, np.empty(0, np.int64)]) + len(start_ids)  # of a whole document
        first = 0
        for length, numbers in zip(lengths, left_out, strict=False):
            num_predictions[[first + number for number in numbers]] = 0  # no window looks into such a document
            first += len(length)
        self._first_window = np.concatenate([[0], np.cumsum(-(-num_predictions // seq_len))])
        self._first_document = np.concatenate([[0], np.cumsum([len(length) for length in lengths])])
        if not len(self):
            raise DataError(f"task {task!r}: the shards hold no documents.", hint="run `banyan prepare` on some text")

    def __len__(self) -> int:
        return int(self._first_window[-1])

    def __getitem__(self, index: int) -> TokenSequence:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        document = int(np.searchsorted(self._first_window, index, side="right")) - 1
        start = (index - int(self._first_window[document])) * self._seq_len
        stretch = self._stretch(document, start, start + self._seq_len + 1)
        num_given = max(0, len(self._start_ids) - 1 - start)  # start tokens that code puts there are not learned
        length = len(stretch) - 1
        weights = (0.0,) * min(num_given, length) + (1.0,) * (length - num_given)
        return TokenSequence(
            task=self.task,
            token_ids=tuple(stretch[:-1]),
            targets=tuple(stretch[1:]),
            loss_weights=weights,
            mask=MaskKind.CAUSAL,
        )

    def varied(self, sequence: TokenSequence, generator: np.random.Generator, *, index: int) -> TokenSequence:
        """Return the stretch under the mask that the draw gives it."""
        if self._masks is None:
            return sequence
        return mix_masks(sequence, self._masks, hidden_id=self._hidden_id, generator=generator)

    def _stretch(self, document: int, start: int, end: int) -> list[int]:
        """Return tokens start … end of a document with its start and end tokens around it."""
        shard = int(np.searchsorted(self._first_document, document, side="right")) - 1
        text = self._shards[shard][document - int(self._first_document[shard])]
        num_start = len(self._start_ids)
        ids: list[int] = self._start_ids[start:end].tolist()
        ids += text[max(0, start - num_start) : max(0, end - num_start)].tolist()
        if end > num_start + len(text):
            ids.append(self._end_id)
        return ids
