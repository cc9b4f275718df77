"""Which words of a prompt carried a decision: integrated gradients and occlusion, by Captum.

Both compare what was read with the same prompt in which words are replaced by a blank one; the tokens of the format
around them stay. What a word is worth is in the unit of the decision (nats of its log-odds): above 0 the word spoke for
the answer, below 0 against it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from banyan.core.errors import missing_extra
from banyan.infer.decisions import Decision
from banyan.model.transformer import Transformer

Groups: TypeAlias = Sequence[Sequence[int]]  # for each word the prompt positions of its tokens
_BATCH_TOKENS = 4096  # tokens of one forward pass, at most
_FIRST_STEPS, _MAX_STEPS = 32, 512
_ALLOWED_GAP = 0.01  # of the difference that the words have to explain


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """What each word was worth to a decision."""

    values: tuple[float, ...]  # one for each word
    log_odds: float  # of the decision, as it was asked
    blank_log_odds: float  # where all words are blank
    gap: float | None = None  # the sum of the values less the difference of the two; None: they need not add up
    num_steps: int | None = None  # of the integral


class Method(Protocol):
    """A way to find out what each word was worth."""

    def __call__(self, model: Transformer, decision: Decision, groups: Groups, *, blank_id: int) -> Attribution:
        """Return what each group of prompt positions was worth; `blank_id` stands for a word that is not there.

        Nobody else may use the model meanwhile.
        Raises: MissingExtraError if Captum is not installed.
        """
        ...


def integrated_gradients(model: Transformer, decision: Decision, groups: Groups, *, blank_id: int) -> Attribution:
    """Follow the decision from blank words to the real ones and add up what each embedding changes on the way.

    The values of all words add up to the difference between the two ends (completeness). The number of steps is doubled
    until they do within a hundredth, 512 steps at most; `gap` says what is left.
    Source: Sundararajan et al. 2017 (eq. 1 and 3); Gauss-Legendre points, as Captum takes them.
    """
    asked_1T, blank_1T = _ends(model, decision, groups, blank_id=blank_id)
    whole, blank = _log_odds_of(model, decision, asked_1T), _log_odds_of(model, decision, blank_1T)
    num_steps, gap = _FIRST_STEPS // 2, math.inf
    values: tuple[float, ...] = ()
    while num_steps < _MAX_STEPS and abs(gap) > _ALLOWED_GAP * abs(whole - blank):
        num_steps *= 2
        changes_T = _integrate(model, decision, asked_1T, blank_1T, num_steps=num_steps)
        values = tuple(float(changes_T[list(positions)].sum()) for positions in groups)
        gap = math.fsum(values) - (whole - blank)
    return Attribution(values=values, log_odds=whole, blank_log_odds=blank, gap=gap, num_steps=num_steps)


def occlusion(model: Transformer, decision: Decision, groups: Groups, *, blank_id: int) -> Attribution:
    """Blank one word after the other, all of its tokens together, and see what the decision loses.

    The values need not add up: of two words that say the same each can be spared, but not both.
    Source: Zeiler and Fergus 2014; Captum's FeatureAblation, with a word as its window.
    """
    asked_1T, blank_1T = _ends(model, decision, groups, blank_id=blank_id)
    window_1T = torch.zeros_like(asked_1T)  # 0: what is never blanked
    for number, positions in enumerate(groups, start=1):
        window_1T[0, list(positions)] = number
    ablation = _captum().FeatureAblation(lambda token_ids_BT: decision.log_odds(model, token_ids_BT))
    changes_1T = ablation.attribute(
        asked_1T, baselines=blank_1T, feature_mask=window_1T, perturbations_per_eval=_rows_at_once(decision)
    )
    return Attribution(
        values=tuple(float(changes_1T[0, positions[0]]) for positions in groups),
        log_odds=_log_odds_of(model, decision, asked_1T),
        blank_log_odds=_log_odds_of(model, decision, blank_1T),
    )


GRADIENTS, OCCLUSION = "integrated-gradients", "occlusion"
METHODS: Mapping[str, Method] = {GRADIENTS: integrated_gradients, OCCLUSION: occlusion}


def require_captum() -> None:
    """Refuse what cannot be worked out here, before any work is done.

    Raises: MissingExtraError if Captum is not installed.
    """
    _captum()


def _captum() -> Any:
    try:
        from captum import attr  # here, for it is an extra
    except ImportError as error:
        raise missing_extra("captum", "explain", needed_for="banyan explain") from error
    return attr


def _ends(model: Transformer, decision: Decision, groups: Groups, *, blank_id: int) -> tuple[Tensor, Tensor]:
    """Return the prompt as it was asked and with blank words, (1, T) each."""
    asked_1T = torch.tensor([decision.prompt.token_ids], device=model.device)
    blank_1T = asked_1T.clone()
    blank_1T[0, [position for positions in groups for position in positions]] = blank_id
    return asked_1T, blank_1T


@torch.no_grad()
def _log_odds_of(model: Transformer, decision: Decision, token_ids_1T: Tensor) -> float:
    return float(decision.log_odds(model, token_ids_1T))


def _integrate(model: Transformer, decision: Decision, asked_1T: Tensor, blank_1T: Tensor, *, num_steps: int) -> Tensor:
    """Return what the embedding of each token of the prompt changes between the two ends, (T,)."""

    def follow(embeddings_BTD: Tensor) -> Tensor:
        with _embeddings(model, embeddings_BTD):
            return decision.log_odds(model, asked_1T.expand(len(embeddings_BTD), -1))

    changes_1TD = (
        _captum()
        .IntegratedGradients(follow)
        .attribute(
            model.embedding(asked_1T).detach(),
            baselines=model.embedding(blank_1T).detach(),
            n_steps=num_steps,
            internal_batch_size=_rows_at_once(decision),
        )
    )
    changes_T: Tensor = changes_1TD[0].double().sum(dim=-1)
    return changes_T


@contextmanager
def _embeddings(model: Transformer, embeddings_BTD: Tensor) -> Iterator[None]:
    """Let a model read these embeddings of a prompt in place of its own; what stands behind the prompt stays."""
    first = model.config.lookback  # tokens laid before each row, for the first ones to look back at
    end = first + embeddings_BTD.shape[1]

    def replace(_: object, __: object, own_BSD: Tensor) -> Tensor:
        return torch.cat((own_BSD[:, :first], embeddings_BTD, own_BSD[:, end:]), dim=1)

    hook = model.embedding.register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()


def _rows_at_once(decision: Decision) -> int:
    return max(1, _BATCH_TOKENS // len(decision.prompt))
