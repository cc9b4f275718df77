"""The batch before anything is learned from it: targets at all, ids that exist, nothing seen a moment ago."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from banyan.core.hashing import hash_token_ids
from banyan.data.batch import PADDING, Batch
from banyan.train.health.signals import Finding
from banyan.train.health.statistics import Usual

REPEATS = 2  # earlier batches just like this one, among the last …
_REPEAT_WINDOW = 32
_DISTINCT = 16  # … after so many different ones; a data set of one batch repeats itself rightly
NUM_BUCKETS = 256  # of token ids, so that one batch fills them
KL_BOUND = 0.5  # nats
_KL_SIGMA = 6.0
_SHIFT_STEPS, _SHIFT_LASTS = 3, 30  # in a row
AGREEMENT_FALL = 0.2  # of the targets
PADDED_SHARE, _PADDED_BATCHES = 0.5, 64  # of all positions, on average over so many batches
_ACTIVE_AFTER = 32  # batches


@dataclass(frozen=True, kw_only=True, slots=True)
class DataShape:
    """What a run knows of its ids: where words end, and which tasks answer in words."""

    vocab_size: int
    first_image_id: int
    is_word_task: tuple[bool, ...]  # by task; False: answered by a head


class BatchWatch:
    """Looks at every batch; what it remembers is a pure function of the batches before."""

    def __init__(self, shape: DataShape) -> None:
        self._shape = shape
        self._recent: list[str] = []  # hashes of the last batches
        self._histogram: NDArray[np.float64] = np.zeros(NUM_BUCKETS)
        self._distance = Usual()
        self._agreement = Usual()
        self._num_shifted = 0
        self._padding = Usual(window=_PADDED_BATCHES)

    @property
    def has_shifted(self) -> bool:
        """Whether the last batches hold other tokens than those before them."""
        return self._num_shifted >= _SHIFT_STEPS

    def look(self, batch: Batch) -> list[Finding]:
        """Return what is wrong with the batch, the gravest first."""
        token_ids = batch.token_ids.numpy()
        findings = [*self._unknown_ids(token_ids), *self._repeated(batch), *self._disagreement(batch)]
        if not findings:
            findings += self._shifted(token_ids)
        return [*findings, *self._padded(batch)]

    def _padded(self, batch: Batch) -> list[Finding]:
        """Say it once, when so many batches were seen that it is the rule."""
        self._padding.add(float((batch.segment_ids.numpy() == PADDING).mean()))
        if self._padding.count != _PADDED_BATCHES or self._padding.mean <= PADDED_SHARE:
            return []
        return [Finding(signal="mostly_padding", value=self._padding.mean, threshold=PADDED_SHARE)]

    def _unknown_ids(self, token_ids: NDArray[np.int64]) -> list[Finding]:
        highest, bound = int(token_ids.max()), self._shape.vocab_size - 1
        if highest <= bound and int(token_ids.min()) >= 0:
            return []
        return [Finding(signal="wrong_vocabulary", value=highest, threshold=bound)]

    def _repeated(self, batch: Batch) -> list[Finding]:
        name = _hash_of(batch)
        same, distinct = self._recent[-_REPEAT_WINDOW:].count(name), len(set(self._recent))
        self._recent = [*self._recent, name][-2 * _REPEAT_WINDOW :]
        if same < REPEATS or distinct < _DISTINCT:
            return []
        return [Finding(signal="repeated_batch", value=same, threshold=REPEATS)]

    def _disagreement(self, batch: Batch) -> list[Finding]:
        """Compare each word target with the token that follows: where they agreed, they go on doing so."""
        share = self._agreeing_share(batch)
        if share is None:
            return []
        usual, before = self._agreement.mean, self._agreement.count
        if before >= _ACTIVE_AFTER and share < usual - AGREEMENT_FALL - 6 * self._agreement.std:
            return [Finding(signal="wrong_targets", value=share, threshold=usual - AGREEMENT_FALL)]
        self._agreement.add(share)
        return []

    def _agreeing_share(self, batch: Batch) -> float | None:
        """Return the share of the targets that follow in the input, among those whose position does not read it.

        A position that reads what follows is asked for a token that is hidden there.
        """
        targets, weights = batch.targets.numpy()[:, :-1], batch.loss_weights.numpy()[:, :-1]
        token_ids, tasks = batch.token_ids.numpy(), batch.task_ids.numpy()[:, :-1]
        counts = (weights > 0) & (batch.attend_until.numpy()[:, :-1] <= np.arange(targets.shape[1]))
        if not all(self._shape.is_word_task):
            counts &= np.array([*self._shape.is_word_task, False])[tasks]
        num = int(counts.sum())
        return None if num == 0 else float((counts & (targets == token_ids[:, 1:])).sum()) / num

    def _shifted(self, token_ids: NDArray[np.int64]) -> list[Finding]:
        """Compare the batch's tokens with those of the batches before."""
        now = np.bincount(token_ids.ravel() % NUM_BUCKETS, minlength=NUM_BUCKETS) + 0.5
        now /= now.sum()
        usual = self._distance
        distance = float((now * np.log(now / self._histogram)).sum()) if usual.count else 0.0
        bound = max(KL_BOUND, usual.mean + _KL_SIGMA * usual.std)
        is_far = usual.count >= _ACTIVE_AFTER and distance > bound
        self._num_shifted = self._num_shifted + 1 if is_far else 0
        if self._num_shifted > _SHIFT_LASTS:  # this is what the data is like now
            self._distance, self._num_shifted = Usual(), 0
        elif not is_far:
            rate = max(1 / (usual.count + 1), 2 / 129)
            self._histogram = (1 - rate) * self._histogram + rate * now
            usual.add(distance)
        if self._num_shifted != _SHIFT_STEPS:
            return []
        return [Finding(signal="data_changed", value=distance, threshold=bound)]

    def state(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "recent": self._recent,
            "histogram": self._histogram.tolist(),
            "distance": self._distance.state(),
            "agreement": self._agreement.state(),
            "num_shifted": self._num_shifted,
            "padding": self._padding.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned."""
        self._recent = list(state["recent"])
        self._histogram = np.array(state["histogram"])
        self._distance, self._agreement = Usual(**state["distance"]), Usual(**state["agreement"])
        self._num_shifted = state["num_shifted"]
        self._padding = Usual(**state.get("padding", {"window": _PADDED_BATCHES}))


def _hash_of(batch: Batch) -> str:
    digest = blake2b(batch.token_ids.numpy().tobytes(), digest_size=8)
    digest.update(batch.targets.numpy().tobytes())
    return digest.hexdigest()


def describe_rows(batch: Batch, *, task_names: Sequence[str]) -> list[dict[str, Any]]:
    """Name the rows of a batch: which tasks each holds, and the hash of its token ids."""
    rows = []
    for token_ids, segments, tasks in zip(batch.token_ids, batch.segment_ids, batch.task_ids, strict=True):
        held = segments >= 0
        names = [task_names[task] for task in dict.fromkeys(tasks[held].tolist())]
        rows.append({"tasks": names, "sha256": hash_token_ids([token_ids[held].tolist()])[:16]})
    return rows
