"""Which batches are let through to the model, and when there are too many that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from banyan.data.batch import Batch, TrainableBatch
from banyan.train.health.codes import CodeUse
from banyan.train.health.data import BatchWatch, DataShape
from banyan.train.health.signals import Finding

TOO_MANY, WINDOW = 30, 100  # batches kept out, among so many steps: the data is broken
KEPT_OUT = ("masked_batch", "wrong_vocabulary", "wrong_targets", "repeated_batch")
IMPOSSIBLE = ("masked_batch", "wrong_vocabulary")  # no update can be made from these


class BatchGate:
    """Looks at a batch before anything is computed from it."""

    def __init__(self, shape: DataShape | None) -> None:
        self._watch = None if shape is None else BatchWatch(shape)
        num_codes = 0 if shape is None else shape.vocab_size - shape.first_image_id
        self._codes = CodeUse(first_image_id=shape.first_image_id, num_codes=num_codes) if shape else None
        self._kept_out: list[int] = []  # steps

    @property
    def has_shifted(self) -> bool:
        """Whether the last batches hold other tokens than those before them."""
        return self._watch is not None and self._watch.has_shifted

    def look(self, batch: TrainableBatch) -> list[Finding]:
        """Return what is wrong with a batch, the gravest first."""
        if batch.num_targets == 0:
            return [Finding(signal="masked_batch", value=0.0, threshold=1.0)]
        if self._watch is None or self._codes is None or not isinstance(batch, Batch):
            return []
        collapse = self._codes.look(batch)
        return [*self._watch.look(batch), *([collapse] if collapse else [])]

    def keep_out(self, *, step: int) -> None:
        """Count a batch that was not learned from."""
        self._kept_out = [*(s for s in self._kept_out if s > step - WINDOW), step]

    @property
    def is_broken(self) -> bool:
        """Whether so many batches were kept out that the data cannot be learned from."""
        return len(self._kept_out) >= TOO_MANY

    def state(self) -> dict[str, Any]:
        """Return everything that decisions depend on, ready for JSON."""
        return {"watch": self._watch.state() if self._watch else None, "kept_out": self._kept_out}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned."""
        self._kept_out = list(state["kept_out"])
        if self._watch is not None and state["watch"] is not None:
            self._watch.restore(state["watch"])
