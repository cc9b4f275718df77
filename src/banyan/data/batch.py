"""What one training step looks at: rows of packed sequences as tensors, and how they are built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from banyan.core.errors import DataError
from banyan.core.registry import did_you_mean
from banyan.core.types import NO_GRID, NO_TARGET, MaskKind, TokenSequence

AnyBatch = TypeVar("AnyBatch", bound="TrainableBatch")
PADDING = -1  # segment and task of a position that holds nothing


class TrainableBatch(Protocol):
    """What the training step needs to know of a batch; token rows are one kind, pictures another."""

    @property
    def num_targets(self) -> int:
        """Positions that carry loss."""
        ...

    @property
    def num_tokens(self) -> int:
        """Positions that hold something; what throughput counts."""
        ...

    def to(self, device: torch.device) -> Self:
        """Return the same batch on a device."""
        ...

    def split(self, num: int) -> Sequence[Self]:
        """Return the rows in `num` parts of equal size (the last ones may be one row shorter)."""
        ...

    def weights_by_task(self, num_tasks: int) -> Tensor:
        """Return the sum of the loss weights of each task, shape (num_tasks,)."""
        ...

    def with_noise(self, seed: int) -> Self:
        """Return the same batch with a seed for what is random about each of its rows, such as dropout."""
        ...


class BatchLoader(Protocol):
    """An endless stream of batches whose place can be saved and restored exactly."""

    def next_batch(self, *, num_rows: int | None = None, seq_len: int | None = None) -> TrainableBatch:
        """Return the batch of one step, in the sizes the loader was made for or in smaller ones."""
        ...

    def state(self) -> Mapping[str, Any]:
        """Return the place in the stream, ready for JSON."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Rows of packed token sequences.

    Shapes: (B, T), int64; `loss_weights` are float32, and `noise_seeds` have shape (B,).

    Query t reads key s if both lie in the same segment and s <= max(t, attend_until[t]).
    """

    token_ids: Tensor
    targets: Tensor  # what each position predicts, already shifted; NO_TARGET where nothing
    loss_weights: Tensor  # 0 where no loss counts
    position_ids: Tensor  # restart at 0 in each segment
    segment_ids: Tensor  # 0, 1, … inside a row; PADDING
    attend_until: Tensor  # last position of the row a query may read, where that lies behind the query itself
    grid_ids: Tensor  # cell of the picture a position predicts; NO_GRID
    task_ids: Tensor  # index into the task names; PADDING
    noise_seeds: Tensor  # of what is random about a row, one each

    @property
    def num_targets(self) -> int:
        """Positions that carry loss."""
        return int((self.loss_weights > 0).sum())

    @property
    def num_tokens(self) -> int:
        """Positions that are not padding."""
        return int((self.segment_ids != PADDING).sum())

    def to(self, device: torch.device) -> Self:
        """Return the same batch on a device."""
        moved = {field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)}
        return replace(self, **moved)

    def split(self, num: int) -> list[Self]:
        """Return the rows in `num` parts; fewer where there are fewer rows."""
        parts = {field.name: getattr(self, field.name).tensor_split(num) for field in fields(self)}
        count = min(num, len(self.token_ids))
        return [replace(self, **{name: tensors[part] for name, tensors in parts.items()}) for part in range(count)]

    def weights_by_task(self, num_tasks: int) -> Tensor:
        """Return the sum of the loss weights of each task, shape (num_tasks,)."""
        sums = torch.bincount(self.task_ids.flatten() + 1, self.loss_weights.flatten().double(), num_tasks + 1)
        return sums[1:].float()

    def with_noise(self, seed: int) -> Self:
        """Return the same batch with the noise of a seed: that of row r is a function of (seed, r).

        So it is given to the batch of a whole step, before that is split into micro-batches and shares.
        """
        return replace(self, noise_seeds=_noise_seeds(len(self.token_ids), seed=seed))


def rows_of_tasks(batch: AnyBatch, tasks: Sequence[int]) -> AnyBatch:
    """Return the rows that hold something of some tasks; a batch of another kind as it is."""
    if not isinstance(batch, Batch):
        return batch
    rows = torch.isin(batch.task_ids, torch.tensor(tasks)).any(dim=1)
    return replace(batch, **{field.name: getattr(batch, field.name)[rows] for field in fields(batch)})


def _noise_seeds(num_rows: int, *, seed: int) -> Tensor:
    return torch.from_numpy(np.random.PCG64(seed).random_raw(num_rows).view(np.int64))


def collate(rows: Sequence[Sequence[TokenSequence]], *, seq_len: int, pad_id: int, task_names: Sequence[str]) -> Batch:
    """Lay packed sequences side by side in rows of `seq_len` and pad the ends.

    Raises: DataError if a row is too long, a sequence is malformed, or its task is not one of `task_names`.
    """
    arrays = _padding(len(rows), seq_len, pad_id=pad_id)
    task_index = {name: index for index, name in enumerate(task_names)}
    for row, sequences in enumerate(rows):
        start = 0
        for segment, sequence in enumerate(sequences):
            end = start + len(sequence)
            if end > seq_len:
                raise DataError(f"row {row} holds {sum(map(len, sequences))} tokens; at most {seq_len} fit.")
            place = {name: array[row, start:end] for name, array in arrays.items()}
            _fill(place, sequence, start=start)
            place["segment_ids"][:] = segment
            place["task_ids"][:] = _index_of(sequence.task, task_index)
            start = end
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Batch(**tensors, noise_seeds=_noise_seeds(len(rows), seed=0))


def _padding(num_rows: int, seq_len: int, *, pad_id: int) -> dict[str, NDArray[np.generic]]:
    positions = np.arange(seq_len, dtype=np.int64)
    values = {"token_ids": pad_id, "targets": NO_TARGET, "grid_ids": NO_GRID, "position_ids": 0}
    arrays: dict[str, NDArray[np.generic]] = {
        name: np.full((num_rows, seq_len), value, dtype=np.int64)
        for name, value in {**values, "segment_ids": PADDING, "task_ids": PADDING}.items()
    }
    arrays["attend_until"] = np.tile(positions, (num_rows, 1))
    arrays["loss_weights"] = np.zeros((num_rows, seq_len), dtype=np.float32)
    return arrays


def _fill(place: dict[str, NDArray[np.generic]], sequence: TokenSequence, *, start: int) -> None:
    """Write one sequence into its stretch of a row."""
    length = len(sequence)
    if not length == len(sequence.targets) == len(sequence.loss_weights) == (len(sequence.grid_ids) or length):
        raise DataError(f"task {sequence.task}: a sequence has fields of different lengths ({length} tokens).")
    place["token_ids"][:] = sequence.token_ids
    place["targets"][:] = sequence.targets
    place["loss_weights"][:] = sequence.loss_weights
    place["position_ids"][:] = np.arange(length)
    if sequence.grid_ids:
        place["grid_ids"][:] = sequence.grid_ids
    readable = _readable_source(sequence)
    place["attend_until"][:readable] = start + readable - 1


def _readable_source(sequence: TokenSequence) -> int:
    """Return how many tokens at the start of a sequence read each other in both directions."""
    if sequence.mask is MaskKind.FULL:
        return len(sequence)
    return sequence.prefix_len if sequence.mask is MaskKind.PREFIX else 0


def _index_of(task: str, task_index: dict[str, int]) -> int:
    if task not in task_index:
        raise DataError(
            f"a sequence belongs to task {task!r}, which this run does not have{did_you_mean(task, task_index)}"
        )
    return task_index[task]
