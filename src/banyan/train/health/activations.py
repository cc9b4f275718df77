"""A look into the layers: how large, how sharp, how much of it alive, on two rows of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from banyan.data.batch import Batch
from banyan.model.attention import Attention, AttentionPlan
from banyan.model.feed_forward import FeedForward, GatedFeedForward
from banyan.model.transformer import Transformer
from banyan.train.health.signals import Finding

NUM_ROWS = 2
NUM_POSITIONS = 128
MAX_ATTENTION_SCORE = 100.0
MAX_LOG_NORMALISER_DRIFT = 20.0  # nats away from where it began
MAX_GROWTH = 50.0  # of the hidden states, from the first block to the last
MAX_DEAD_SHARE = 0.5
_DEAD_POSITIONS = 4096  # so many seen before a unit is called dead
_DEAD_SIZE = 1e-6


class LayerProbe:
    """Runs two rows through a model now and then and compares what its layers do with what healthy ones do."""

    def __init__(self) -> None:
        self._first_normaliser: float | None = None
        self._largest: dict[str, Tensor] = {}  # by layer: of each unit, since the count began
        self._num_positions = 0

    def look(self, model: Transformer, batch: Batch) -> list[Finding]:
        """Return what is wrong inside; the model and its random numbers stay as they are."""
        rows = _few_rows(batch).to(model.device)
        seen = _Seen()
        was_training = model.training
        model.eval()
        with torch.no_grad(), seen.listening(model):
            hidden_BTD = model(
                rows.token_ids,
                position_ids_BT=rows.position_ids,
                segment_ids_BT=rows.segment_ids,
                attend_until_BT=rows.attend_until,
                grid_ids_BT=rows.grid_ids,
            )
            log_normaliser = float(model.logits(hidden_BTD[rows.segment_ids >= 0]).float().logsumexp(-1).mean())
        model.train(was_training)
        return [*seen.scores(), *seen.growth(), *self._drift(log_normaliser), *self._dead(seen)]

    def _drift(self, log_normaliser: float) -> list[Finding]:
        if self._first_normaliser is None:
            self._first_normaliser = log_normaliser
        drift = abs(log_normaliser - self._first_normaliser)
        if drift <= MAX_LOG_NORMALISER_DRIFT:
            return []
        return [Finding(signal="log_normaliser", value=drift, threshold=MAX_LOG_NORMALISER_DRIFT)]

    def _dead(self, seen: _Seen) -> list[Finding]:
        """Count the units that answered nothing over thousands of positions."""
        for layer, largest in seen.units.items():
            before = self._largest.get(layer)
            self._largest[layer] = largest if before is None else torch.maximum(before, largest)
        self._num_positions += seen.num_positions
        if self._num_positions < _DEAD_POSITIONS:
            return []
        shares = {layer: float((largest < _DEAD_SIZE).float().mean()) for layer, largest in self._largest.items()}
        self._largest, self._num_positions = {}, 0
        return [
            Finding(signal="dead_units", value=share, threshold=MAX_DEAD_SHARE, where=layer)
            for layer, share in shares.items()
            if share > MAX_DEAD_SHARE
        ]


class _Seen:
    """What the layers did in one pass."""

    def __init__(self) -> None:
        self.units: dict[str, Tensor] = {}
        self.num_positions = 0
        self._largest_scores: dict[str, Tensor] = {}
        self._block_sizes: list[Tensor] = []

    @contextmanager
    def listening(self, model: Transformer) -> Iterator[None]:
        """Hear of every layer while the block lasts."""
        with ExitStack() as stack:
            for name, module in model.named_modules():
                for hook in self._hooks(name, module):
                    stack.callback(hook.remove)
            for block in model.blocks:
                stack.callback(block.register_forward_hook(self._note_block).remove)
            yield

    def scores(self) -> list[Finding]:
        """Return the layers whose attention scores are too large."""
        return [
            Finding(signal="attention_logits", value=float(score), threshold=MAX_ATTENTION_SCORE, where=layer)
            for layer, score in self._largest_scores.items()
            if score > MAX_ATTENTION_SCORE
        ]

    def growth(self) -> list[Finding]:
        """Compare the hidden states behind the last block with those behind the first."""
        first, last = float(self._block_sizes[0]), float(self._block_sizes[-1])
        if not first or last / first <= MAX_GROWTH:
            return []
        return [Finding(signal="residual_growth", value=last / first, threshold=MAX_GROWTH)]

    def _hooks(self, name: str, module: nn.Module) -> list[Any]:
        if isinstance(module, Attention):
            return [module.register_forward_pre_hook(lambda m, given: self._note_scores(name, m, *given))]
        if isinstance(module, FeedForward | GatedFeedForward):
            return [module.down.register_forward_pre_hook(lambda m, given: self._note_units(name, given[0]))]
        return []

    def _note_scores(self, name: str, attention: nn.Module, x_BTD: Tensor, plan: AttentionPlan) -> None:
        assert isinstance(attention, Attention)
        scores_BHTT = attention.scores(x_BTD, plan)
        self._largest_scores[name] = scores_BHTT.amax()

    def _note_units(self, name: str, wide_BTF: Tensor) -> None:
        self.units[name] = wide_BTF.abs().amax(dim=(0, 1))
        self.num_positions = wide_BTF.shape[0] * wide_BTF.shape[1]

    def _note_block(self, block: nn.Module, given: Any, x_BTD: Tensor) -> None:
        self._block_sizes.append(x_BTD.float().square().mean().sqrt())


def _few_rows(batch: Batch) -> Batch:
    rows = {field.name: getattr(batch, field.name)[:NUM_ROWS] for field in fields(batch)}
    return replace(
        batch, **{name: value[:, :NUM_POSITIONS] if value.ndim > 1 else value for name, value in rows.items()}
    )
