"""What the frozen part of a model makes of every training sequence: computed once, kept in a memory-mapped file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from banyan.core.errors import CheckpointError, FileError
from banyan.core.files import atomic_write_json, check_room, read_json
from banyan.core.types import HeadKind, HeadSpec, TokenSequence
from banyan.data.batch import collate
from banyan.data.features import FeatureBatch
from banyan.data.sequences import SequenceSource
from banyan.model.masks import is_plain_causal
from banyan.model.partial_passes import onward
from banyan.model.transformer import Transformer
from banyan.train.losses import TaskLosses, hidden_losses

FeatureFormat = Literal["float32", "bfloat16"]

_CHUNK_SEQUENCES = 256  # computed between two notes of how far the file has come
_ROWS = 16  # in one forward pass
_NUMBERS: Mapping[FeatureFormat, Any] = {"float32": np.float32, "bfloat16": np.int16}  # NumPy knows no bfloat16
_NUMBER_BYTES: Mapping[FeatureFormat, int] = {"float32": 4, "bfloat16": 2}


class TrunkFeatures:
    """The hidden states of a run's training sequences behind the last frozen block.

    A sequence is known by its content, wherever in a row it stands: what a token reads lies in its own sequence. Where
    only heads learn, nothing is kept of the positions that no head looks at.
    """

    def __init__(
        self,
        model: Transformer,
        *,
        sources: Sequence[SequenceSource],
        task_heads: Mapping[str, HeadSpec | None],
        first_block: int,
        directory: Path,
        model_sha256: str,
        number_format: FeatureFormat = "float32",
    ) -> None:
        self._model = model
        self._heads = task_heads
        self._first_block = first_block
        self._only_heads = first_block == model.config.num_layers
        self._format: FeatureFormat = number_format
        self._sources = sources
        self._starts: dict[bytes, int] = {}  # digest of a sequence → its first row in the file
        self.num_rows = 0
        digest = blake2b(f"{model_sha256}/{first_block}/{number_format}".encode(), digest_size=16)
        for name, sequence in self._distinct():
            digest.update(name)
            self._starts[name] = self.num_rows
            self.num_rows += len(self._kept(sequence))
        self._path = directory / f"{digest.hexdigest()}.{number_format}"
        self._rows_ND: NDArray[Any] | None = None

    @property
    def width(self) -> int:
        """Numbers at a position."""
        return self._model.config.embed_dim

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return self.num_rows * self.width * _NUMBER_BYTES[self._format]

    @property
    def is_complete(self) -> bool:
        """Whether everything has been computed."""
        return self.num_rows_done == self.num_rows

    @property
    def num_rows_done(self) -> int:
        """How far the file has come; a file that is not as it was left begins anew."""
        try:
            done = int(read_json(self._note)["num_rows"])
        except (FileError, CheckpointError, KeyError, TypeError, ValueError):
            return 0
        is_whole = self._path.is_file() and self._path.stat().st_size == self.num_bytes
        return done if is_whole and done <= self.num_rows else 0

    def fill(self, *, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Compute what is not in the file yet; an interrupted computation goes on where it stopped.

        Raises: SpaceError if the disk has no room for the file.
        """
        done = self.num_rows_done
        if done < self.num_rows:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            check_room(self._path.parent, num_bytes=self.num_bytes)
            self._compute(done, on_progress)
        self._rows_ND = self._mapped("r")

    def of(self, sequence: TokenSequence) -> Tensor:
        """Return the hidden states of a sequence, shape (len, D), float32; zeros where no head looks.

        One that is not in the file, such as a piece of a longer text, is computed.
        """
        start = self._starts.get(_digest(sequence))
        kept = self._kept(sequence)
        if start is None or self._rows_ND is None:
            found = self._hidden([sequence])[0][kept]
        else:
            found = self._read(self._rows_ND[start : start + len(kept)])
        if len(kept) == len(sequence):
            return found
        return torch.zeros(len(sequence), self.width).index_copy_(0, torch.tensor(kept), found)

    def _compute(self, done: int, on_progress: Callable[[int, int], None]) -> None:
        rows_ND = self._mapped("r+" if done else "w+")
        waiting = (sequence for name, sequence in self._distinct() if self._starts[name] >= done)
        while chunk := list(itertools.islice(waiting, _CHUNK_SEQUENCES)):
            for sequence, hidden_TD in zip(chunk, self._hidden(chunk), strict=True):
                kept = self._kept(sequence)
                rows_ND[done : done + len(kept)] = self._written(hidden_TD[kept])
                done += len(kept)
            rows_ND.flush()
            atomic_write_json(self._note, {"num_rows": done})
            on_progress(done, self.num_rows)

    @torch.no_grad()
    def _hidden(self, sequences: Sequence[TokenSequence]) -> list[Tensor]:
        """Return the hidden states of sequences, those of like length computed together."""
        order = sorted(range(len(sequences)), key=lambda number: len(sequences[number]))
        found: dict[int, Tensor] = {}
        was_training = self._model.training
        self._model.eval()
        for first in range(0, len(order), _ROWS):
            numbers = order[first : first + _ROWS]
            hidden_BTD = self._pass([sequences[number] for number in numbers])
            found |= {n: hidden_TD[: len(sequences[n])] for n, hidden_TD in zip(numbers, hidden_BTD, strict=True)}
        self._model.train(was_training)
        return [found[number] for number in range(len(sequences))]

    def _pass(self, sequences: Sequence[TokenSequence]) -> Tensor:
        longest = max(map(len, sequences))
        names = sorted({sequence.task for sequence in sequences})
        batch = collate([[sequence] for sequence in sequences], seq_len=longest, pad_id=0, task_names=names)
        placed = batch.to(self._model.device)
        hidden: Tensor = self._model(
            placed.token_ids,
            position_ids_BT=placed.position_ids,
            segment_ids_BT=placed.segment_ids,
            attend_until_BT=placed.attend_until,
            grid_ids_BT=placed.grid_ids,
            num_blocks=self._first_block,
            is_causal=is_plain_causal(batch.segment_ids, batch.attend_until),
        )
        return hidden.float().cpu()

    def _kept(self, sequence: TokenSequence) -> list[int]:
        """Return the positions whose hidden states are looked at."""
        head = self._heads[sequence.task]
        reads_all = head is not None and (head.kind is HeadKind.SPAN or head.pooling == "mean")
        if not self._only_heads or reads_all:
            return list(range(len(sequence)))
        return [position for position, weight in enumerate(sequence.loss_weights) if weight > 0]

    def _distinct(self) -> Iterator[tuple[bytes, TokenSequence]]:
        """Yield every sequence of the run once, with the digest it is known by."""
        seen = set()
        for source in self._sources:
            for number in range(len(source)):
                sequence = source[number]
                if (name := _digest(sequence)) not in seen:
                    seen.add(name)
                    yield name, sequence

    @property
    def _note(self) -> Path:
        """Where it is written down how far the file has come."""
        return self._path.with_suffix(".json")

    def _mapped(self, mode: Literal["r", "r+", "w+"]) -> Any:
        shape = (self.num_rows, self.width)
        return np.memmap(self._path, dtype=_NUMBERS[self._format], mode=mode, shape=shape)

    def _written(self, hidden_TD: Tensor) -> NDArray[Any]:
        stored = hidden_TD if self._format == "float32" else hidden_TD.bfloat16().view(torch.int16)
        array: NDArray[Any] = stored.numpy()
        return array

    def _read(self, rows: NDArray[Any]) -> Tensor:
        stored = torch.from_numpy(np.array(rows))
        return stored if self._format == "float32" else stored.view(torch.bfloat16).float()


def _digest(sequence: TokenSequence) -> bytes:
    """Name all that hidden states depend on, and the positions that are looked at."""
    parts = (sequence.token_ids, sequence.mask.value, sequence.prefix_len, sequence.grid_ids)
    looked_at = bytes(weight > 0 for weight in sequence.loss_weights)
    return blake2b(repr((sequence.task, parts)).encode() + looked_at, digest_size=16).digest()


def feature_loss(
    model: Transformer,
    batch: FeatureBatch,
    *,
    task_heads: Sequence[HeadSpec | None],
    first_block: int,
    label_smoothing: Sequence[float] = (),
) -> TaskLosses:
    """Score a batch from its features on: the blocks that learn, then the heads.

    The losses are those of `joint_loss`, but for the order of sums.
    Raises: DataError if a span example marks no start or no end.
    """
    placed = batch.to(model.device)
    hidden_BTD = onward(
        model,
        placed.features,
        first_block=first_block,
        position_ids_BT=placed.position_ids,
        segment_ids_BT=placed.segment_ids,
        attend_until_BT=placed.attend_until,
        noise_seeds_B=placed.noise_seeds,
        is_causal=is_plain_causal(batch.segment_ids, batch.attend_until),
    )
    return hidden_losses(
        model, batch, hidden_BTD, placed=placed, task_heads=task_heads, label_smoothing=label_smoothing
    )
