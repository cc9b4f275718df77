"""Batches that mix the rows of many tasks, in an order that depends on the seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from banyan.core.errors import DataError, UnknownNameError
from banyan.core.registry import did_you_mean
from banyan.core.types import TokenSequence
from banyan.data.batch import Batch, collate
from banyan.data.mixture import RatePlan
from banyan.data.pace import Paces
from banyan.data.packing import pack_sequences
from banyan.data.sequences import SequenceSource

_NO_ROW = 1e-12  # what none adds up to
WINDOW_SEQUENCES = 256  # packed together: enough for rows without gaps, few enough to render in a moment


class TaskRows:
    """The endless stream of packed rows of one task: epoch after epoch, each shuffled anew.

    Sequence n of the stream is number n % size of epoch n // size. Each window of 256 sequences is packed on its own,
    so row r of window w is a pure function of (seed, w, r, row length), wherever a run is resumed. Another row length
    begins with the next window. Where a sequence is longer than a row, text is cut, and an example is passed over.
    """

    def __init__(self, source: SequenceSource, *, seed: int, stream: int, epoch_examples: int | None = None) -> None:
        if not len(source):
            raise DataError(f"task {source.task!r} has no training examples.", hint="check its data")
        self.source = source
        self.epoch_size = min(len(source), epoch_examples or len(source))
        self.window = 0
        self.row = 0  # next row inside the window
        self.seq_len = 0  # tokens in a row, as it was last asked for
        self._seed = (seed, stream)
        self._packed: list[list[TokenSequence]] = []
        self._packed_window = -1
        self._order: NDArray[np.int64] = np.empty(0, np.int64)
        self._order_epoch = -1

    @property
    def epoch(self) -> float:
        """How many epochs have been seen, as far as the stream has come; one may be only a part of the source."""
        done = self.row / len(self._packed) if self._packed_window == self.window and self._packed else 0.0
        return (self.window + done) * WINDOW_SEQUENCES / self.epoch_size

    def next_row(self, seq_len: int) -> list[TokenSequence]:
        """Return the next row of so many tokens at most, and move on.

        Raises: DataError if no sequence is that short.
        """
        if seq_len != self.seq_len:
            self.move_to(self.window + (self.row > 0), 0, seq_len)
        for _ in range(2 + len(self.source) // WINDOW_SEQUENCES):
            if self._packed_window != self.window:
                self._packed, self._packed_window = self._pack(self.window), self.window
            if self.row < len(self._packed):
                self.row += 1
                return self._packed[self.row - 1]
            self.window, self.row = self.window + 1, 0
        raise DataError(
            f"task {self.source.task!r}: no training example fits into a row of {seq_len} tokens.",
            hint="set train.seq_len, or the first lengths of train.seq_len_ramp, higher",
        )

    def move_to(self, window: int, row: int, seq_len: int) -> None:
        """Continue at a row of a window that is packed for a row length."""
        self.window, self.row, self.seq_len = window, row, seq_len
        self._packed_window = -1
        if row:
            self._packed, self._packed_window = self._pack(window), window

    def _pack(self, window: int) -> list[list[TokenSequence]]:
        numbers = range(window * WINDOW_SEQUENCES, (window + 1) * WINDOW_SEQUENCES)
        sequences = [part for number in numbers for part in self._parts(number)]
        rows = pack_sequences([len(sequence) for sequence in sequences], seq_len=self.seq_len)
        shuffled = self._generator(1, window).permutation(len(rows))  # packing puts the longest first
        return [[sequences[index] for index in rows[row]] for row in shuffled]

    def _parts(self, number: int) -> list[TokenSequence]:
        """Return what a place of the stream gives: the same every time, and another variation in the next epoch."""
        index, generator = self._index(number), self._generator(2, number)
        parts = self._fitting(self.source[index])
        varied = [self.source.varied(part, generator, index=index) for part in parts]
        return [now if len(now) <= self.seq_len else part for part, now in zip(parts, varied, strict=True)]

    def _fitting(self, sequence: TokenSequence) -> list[TokenSequence]:
        """Return what of a sequence fits into rows: all of it, in pieces if it is text, or else nothing."""
        if len(sequence) <= self.seq_len:
            return [sequence]
        return _cut(sequence, self.seq_len) if self.source.is_running_text else []

    def _index(self, number: int) -> int:
        """Return which sequence of the source stands at a place of the stream."""
        epoch, place = divmod(number, len(self.source))
        if epoch != self._order_epoch:
            self._order, self._order_epoch = self._generator(0, epoch).permutation(len(self.source)), epoch
        return int(self._order[place])

    def _generator(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([*self._seed, purpose, number]))


def _cut(sequence: TokenSequence, seq_len: int) -> list[TokenSequence]:
    parts = [slice(start, start + seq_len) for start in range(0, len(sequence), seq_len)]
    return [
        replace(
            sequence,
            token_ids=sequence.token_ids[part],
            targets=sequence.targets[part],
            loss_weights=sequence.loss_weights[part],
        )
        for part in parts
    ]


class MixtureLoader:
    """Gives batches in which each task has its share of the rows; its place can be saved and restored exactly.

    Which task a row belongs to is settled by largest deficit: the task that is furthest behind its share comes next.
    So the shares hold at every moment, and rows of different tasks stand in one batch. With a `plan`, the shares are
    those of the place in the run, once `plan_rows` has said how long that is. `epoch_examples` only counts epochs.
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
        plan: RatePlan | None = None,
        epoch_examples: Mapping[str, int] | None = None,
        paces: Paces | None = None,
    ) -> None:
        for source in sources:
            if source.task not in rates:
                raise UnknownNameError(f"no rate for task {source.task!r}{did_you_mean(source.task, rates)}")
        caps = epoch_examples or {}
        self._tasks = [
            TaskRows(source, seed=seed, stream=i, epoch_examples=caps.get(source.task))
            for i, source in enumerate(sources)
        ]
        self._rates = np.array([rates[source.task] for source in sources])
        self._rates /= self._rates.sum()
        self._num_rows = np.zeros(len(sources), dtype=np.int64)  # given so far, by task
        self._rows_per_batch = rows_per_batch
        self._seq_len = seq_len
        self._pad_id = pad_id
        self._task_names = tuple(task_names)
        self._seed = seed
        self._plan = plan
        self._planned_rows: int | None = None
        self._paces = paces
        self._origin = 0  # rows given when a pace last changed
        self._owed = np.zeros(len(sources))  # rows that each task should have had by then

    def plan_rows(self, num_rows: int) -> None:
        """Say how many rows the whole run has; until then the shares stay as they are at its beginning."""
        self._planned_rows = num_rows

    def hear_scores(self, scores: Mapping[str, float]) -> None:
        """Take in each task's score of a validation: one that gets no better may be drawn less from here on."""
        if self._paces is None:
            return
        here = int(self._num_rows.sum())
        self._owed, self._origin = self._due(here), here
        self._paces.hear(scores)

    def next_batch(self, *, num_rows: int | None = None, seq_len: int | None = None) -> Batch:
        """Return the next rows as one batch; as many and as long as the loader was made for, unless told otherwise."""
        return self.collate(self.next_rows(num_rows=num_rows, seq_len=seq_len), seq_len=seq_len)

    def next_rows(self, *, num_rows: int | None = None, seq_len: int | None = None) -> list[list[TokenSequence]]:
        """Return the sequences of the next rows; as many and as long rows as the loader was made for by default."""
        num_rows, seq_len = num_rows or self._rows_per_batch, seq_len or self._seq_len
        return [self._tasks[self._next_task()].next_row(seq_len) for _ in range(num_rows)]

    def collate(self, rows: Sequence[Sequence[TokenSequence]], *, seq_len: int | None = None) -> Batch:
        """Return rows of this loader as a batch."""
        return collate(rows, seq_len=seq_len or self._seq_len, pad_id=self._pad_id, task_names=self._task_names)

    def epochs(self) -> dict[str, float]:
        """Return how often each task's examples have been seen."""
        return {rows.source.task: rows.epoch for rows in self._tasks}

    def state(self) -> dict[str, Any]:
        """Return the place in the stream, ready for JSON."""
        places = {
            rows.source.task: {
                "window": rows.window,
                "row": rows.row,
                "seq_len": rows.seq_len,
                "num_rows": int(count),
            }
            for rows, count in zip(self._tasks, self._num_rows, strict=True)
        }
        state = {"seed": self._seed, "sizes": self._sizes(), "places": places}
        if self._paces is None:
            return state
        return {**state, "paces": self._paces.state(), "origin": self._origin, "owed": self._owed.tolist()}

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
            rows.move_to(place["window"], place["row"], place["seq_len"])
            self._num_rows[index] = place["num_rows"]
        if self._paces is not None:
            self._paces.restore(state["paces"])
            self._origin, self._owed = state["origin"], np.array(state["owed"])

    def _next_task(self) -> int:
        task = int(np.argmax(self._due(self._num_rows.sum() + 1) - self._num_rows))
        self._num_rows[task] += 1
        return task

    def _due(self, num_rows: int) -> NDArray[np.float64]:
        """Return how many of the first rows each task should have had: a function of their number and the paces."""
        if self._paces is None:
            return self._planned(num_rows)
        shares = self._paces.factors * (self._planned(num_rows) - self._planned(self._origin))
        return np.asarray(self._owed + shares * ((num_rows - self._origin) / max(shares.sum(), _NO_ROW)))

    def _planned(self, num_rows: int) -> NDArray[np.float64]:
        """Return how many of the first rows each task should have where none is slowed down."""
        if self._plan is None or self._planned_rows is None:
            return self._rates * num_rows
        due = dict(zip(self._plan.names, self._plan.due(num_rows / self._planned_rows), strict=True))
        return np.array([due[rows.source.task] for rows in self._tasks]) * self._planned_rows

    def _sizes(self) -> dict[str, int]:
        return {rows.source.task: len(rows.source) for rows in self._tasks}
