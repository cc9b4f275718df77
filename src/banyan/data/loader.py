"""Batches that mix the rows of many tasks, in an order that depends on the seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from banyan.core.errors import DataError, UnknownNameError
from banyan.core.registry import did_you_mean
from banyan.core.types import TokenSequence
from banyan.data.batch import Batch, collate
from banyan.data.packing import pack_sequences
from banyan.data.sequences import SequenceSource

WINDOW_SEQUENCES = 256  # packed together: enough for rows without gaps, few enough to render in a moment


class TaskRows:
    """The endless stream of packed rows of one task: epoch after epoch, each shuffled anew.

    Sequence n of the stream is number n % size of epoch n // size. Each window of 256 sequences is packed on its own,
    so row r of window w is a pure function of (seed, w, r), wherever a run is resumed.
    """

    def __init__(self, source: SequenceSource, *, seq_len: int, seed: int, stream: int) -> None:
        if not len(source):
            raise DataError(f"task {source.task!r} has no training examples.", hint="check its data")
        self.source = source
        self.window = 0
        self.row = 0  # next row inside the window
        self._seq_len = seq_len
        self._seed = (seed, stream)
        self._packed: list[list[TokenSequence]] = []
        self._packed_window = -1
        self._order: NDArray[np.int64] = np.empty(0, np.int64)
        self._order_epoch = -1

    @property
    def epoch(self) -> float:
        """How often the source has been seen, as far as the stream has come."""
        done = self.row / len(self._packed) if self._packed_window == self.window and self._packed else 0.0
        return (self.window + done) * WINDOW_SEQUENCES / len(self.source)

    def next_row(self) -> list[TokenSequence]:
        """Return the next row and move on."""
        if self._packed_window == self.window and self.row == len(self._packed):
            self.window, self.row = self.window + 1, 0
        if self._packed_window != self.window:
            self._packed, self._packed_window = self._pack(self.window), self.window
        self.row += 1
        return self._packed[self.row - 1]

    def move_to(self, window: int, row: int) -> None:
        """Continue at a row of a window."""
        self.window, self.row = window, row
        self._packed_window = -1
        if row:
            self._packed, self._packed_window = self._pack(window), window

    def _pack(self, window: int) -> list[list[TokenSequence]]:
        numbers = range(window * WINDOW_SEQUENCES, (window + 1) * WINDOW_SEQUENCES)
        sequences = [self.source[self._index(number)] for number in numbers]
        rows = pack_sequences([len(sequence) for sequence in sequences], seq_len=self._seq_len)
        shuffled = self._generator(1, window).permutation(len(rows))  # packing puts the longest first
        return [[sequences[index] for index in rows[row]] for row in shuffled]

    def _index(self, number: int) -> int:
        """Return which sequence of the source stands at a place of the stream."""
        epoch, place = divmod(number, len(self.source))
        if epoch != self._order_epoch:
            self._order, self._order_epoch = self._generator(0, epoch).permutation(len(self.source)), epoch
        return int(self._order[place])

    def _generator(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([*self._seed, purpose, number]))


class MixtureLoader:
    """Gives batches in which each task has its share of the rows; its place can be saved and restored exactly.

    Which task a row belongs to is settled by largest deficit: the task that is furthest behind its share comes next.
    So the shares hold at every moment, and rows of different tasks stand in one batch.
    """

    def __init__(
        self,
        sources: Sequence[SequenceSource],
        *,
        rates: Mapping[str, float],
        seq_len: int,
        rows_per_batch: int,
        pad_id: int,
        task_names: Sequence[str],
        seed: int,
    ) -> None:
        for source in sources:
            if source.task not in rates:
                raise UnknownNameError(f"no rate for task {source.task!r}{did_you_mean(source.task, rates)}")
        self._tasks = [TaskRows(s, seq_len=seq_len, seed=seed, stream=i) for i, s in enumerate(sources)]
        self._rates = np.array([rates[source.task] for source in sources])
        self._rates /= self._rates.sum()
        self._num_rows = np.zeros(len(sources), dtype=np.int64)  # given so far, by task
        self._rows_per_batch = rows_per_batch
        self._seq_len = seq_len
        self._pad_id = pad_id
        self._task_names = tuple(task_names)
        self._seed = seed

    def next_batch(self) -> Batch:
        """Return the next `rows_per_batch` rows as one batch."""
        rows = [self._tasks[self._next_task()].next_row() for _ in range(self._rows_per_batch)]
        return collate(rows, seq_len=self._seq_len, pad_id=self._pad_id, task_names=self._task_names)

    def epochs(self) -> dict[str, float]:
        """Return how often each task's examples have been seen."""
        return {rows.source.task: rows.epoch for rows in self._tasks}

    def state(self) -> dict[str, Any]:
        """Return the place in the stream, ready for JSON."""
        places = {
            rows.source.task: {"window": rows.window, "row": rows.row, "num_rows": int(count)}
            for rows, count in zip(self._tasks, self._num_rows, strict=True)
        }
        return {"seed": self._seed, "sizes": self._sizes(), "places": places}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken.

        Raises: DataError if the data, the tasks or the seed are not those of the state.
        """
        for what, saved, now in (("seed", state["seed"], self._seed), ("data", state["sizes"], self._sizes())):
            if saved != now:
                raise DataError(
                    f"cannot continue on other {what}: the checkpoint was trained with {saved}, now it is {now}.",
                    hint="bring back the earlier data and seed, or start a new run",
                )
        for index, rows in enumerate(self._tasks):
            place = state["places"][rows.source.task]
            rows.move_to(place["window"], place["row"])
            self._num_rows[index] = place["num_rows"]

    def _next_task(self) -> int:
        deficits = self._rates * (self._num_rows.sum() + 1) - self._num_rows
        task = int(np.argmax(deficits))
        self._num_rows[task] += 1
        return task

    def _sizes(self) -> dict[str, int]:
        return {rows.source.task: len(rows.source) for rows in self._tasks}
