"""Penalties: make tokens that occurred before less probable, or more."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from banyan.infer.sampling import SamplingConfig


class Penalties:
    """What one request has seen and said so far, and what that costs the next token.

    The repetition penalty looks at prompt and answer; presence and frequency penalties at the answer alone.
    Source: Keskar et al. 2019 (CTRL, section 4.1) for repetition; the OpenAI API for presence and frequency.
    """

    def __init__(self, config: SamplingConfig, prompt_ids: Sequence[int], *, vocab_size: int) -> None:
        self._config = config
        self._vocab_size = vocab_size
        self._was_seen = torch.zeros(vocab_size, dtype=torch.bool)
        self._num_said = torch.zeros(vocab_size, dtype=torch.float32)
        self._was_seen[[token for token in prompt_ids if token < vocab_size]] = True

    def record(self, token: int) -> None:
        """Remember one token of the answer."""
        if token < self._vocab_size:
            self._was_seen[token] = True
            self._num_said[token] += 1

    def __call__(self, logits_V: Tensor) -> Tensor:
        """Return the logits after the penalties.

        Shapes: (V,) → (V,).
        """
        was_seen, num_said = self._was_seen.to(logits_V.device), self._num_said.to(logits_V.device)
        repetition = self._config.repetition_penalty
        punished = torch.where(logits_V > 0, logits_V / repetition, logits_V * repetition)
        result = torch.where(was_seen, punished, logits_V) if repetition != 1 else logits_V
        result = result - self._config.frequency_penalty * num_said
        return result - self._config.presence_penalty * (num_said > 0)
