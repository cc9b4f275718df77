"""What an answer was decided by, as one number that can be followed back to what was read: its log-odds.

The log-odds of a choice are its score against all other choices together, log(p / (1 - p)) in nats: above 0 it was
likelier than all others. An answer of several choices (the tags of an entity, the two ends of a span, the tokens of a
text) has the mean of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from banyan.core.errors import InputError
from banyan.core.types import MaskKind, Pooling, Prompt, Span
from banyan.infer.forward import attend_until
from banyan.model.ngrams import ReadTokens
from banyan.model.transformer import Transformer


class Decision(Protocol):
    """One answer of a model to one prompt, which other words in the prompt may make more or less likely."""

    @property
    def prompt(self) -> Prompt:
        """What was asked."""
        ...

    def log_odds(self, model: Transformer, token_ids_BT: Tensor) -> Tensor:
        """Return the log-odds of this answer to prompts that differ from the one asked in their words alone.

        Shapes: token_ids (B, T); returns (B,), float64.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadDecision:
    """Labels that a head chose at positions of the prompt: one for a text, one for each word of an entity."""

    prompt: Prompt
    head: str
    positions: tuple[int, ...]
    chosen: tuple[int, ...]  # number of the label at each of them
    adapter: str | None = None  # whose head it is
    pooling: Pooling = "last"  # mean: the one label was read from the mean of all positions

    def log_odds(self, model: Transformer, token_ids_BT: Tensor) -> Tensor:
        """Return the mean over the positions, (B,)."""
        hidden_BTD = _read(model, token_ids_BT, self.prompt, adapter=self.adapter)
        if self.pooling == "mean":
            tokens = ReadTokens.of_rows(token_ids_BT[:, : len(self.prompt)])
            mean_BD = hidden_BTD[:, : len(self.prompt)].mean(dim=1)
            logits_BL = model.head_logits(self.head, mean_BD, adapter=self.adapter, tokens=tokens)
            return log_odds(logits_BL[:, None], self.chosen)
        logits_BPL = model.head_logits(self.head, hidden_BTD[:, list(self.positions)], adapter=self.adapter)
        return log_odds(logits_BPL, self.chosen)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanDecision:
    """Where an answer begins and ends, among all positions that may hold it."""

    prompt: Prompt
    decoding: Span
    span: tuple[int, int] | None  # None: no answer
    adapter: str | None = None

    def __post_init__(self) -> None:
        if len(self._allowed) < 2:
            raise InputError(
                "the context leaves one place for the answer, so nothing was decided.", hint="give a longer context"
            )

    @property
    def _allowed(self) -> list[int]:
        inside = range(self.decoding.first, self.decoding.last + 1)
        return [*([0] if self.decoding.may_be_empty else []), *inside]

    def log_odds(self, model: Transformer, token_ids_BT: Tensor) -> Tensor:
        """Return the mean of both ends, (B,)."""
        hidden_BTD = _read(model, token_ids_BT, self.prompt, adapter=self.adapter)
        width = len(self.prompt)
        logits_N2 = model.head_logits(
            self.decoding.head,
            hidden_BTD[:, :width].flatten(0, 1),
            adapter=self.adapter,
            tokens=ReadTokens.of_rows(token_ids_BT[:, :width], context=(self.decoding.first, self.decoding.last)),
        )
        logits_BA2 = logits_N2.view(len(token_ids_BT), width, 2)[:, self._allowed]
        ends = [self._allowed.index(end) for end in self.span or (0, 0)]
        return log_odds(logits_BA2.mT, ends)


@dataclass(frozen=True, kw_only=True, slots=True)
class WordLabelDecision:
    """A label that was chosen by how probable its words are as the answer."""

    prompt: Prompt
    label_token_ids: tuple[tuple[int, ...], ...]
    chosen: int
    length_normalised: bool = False
    adapter: str | None = None

    def log_odds(self, model: Transformer, token_ids_BT: Tensor) -> Tensor:
        """Return the log-odds of the label among all labels, (B,)."""
        scores = [self._score(model, token_ids_BT, words) for words in self.label_token_ids]
        return log_odds(torch.stack(scores, dim=-1)[:, None], (self.chosen,))

    def _score(self, model: Transformer, token_ids_BT: Tensor, words: tuple[int, ...]) -> Tensor:
        logits_BWV = _answer_logits(model, token_ids_BT, self.prompt, words, adapter=self.adapter)
        chosen_W1 = torch.tensor(words, device=logits_BWV.device)[:, None]
        log_probs_BW = logits_BWV.log_softmax(dim=-1).gather(-1, chosen_W1.expand(len(logits_BWV), -1, -1))[..., 0]
        return log_probs_BW.mean(dim=-1) if self.length_normalised else log_probs_BW.sum(dim=-1)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextDecision:
    """Tokens of a written answer, each among all tokens, behind those before it as they were written."""

    prompt: Prompt
    answer_ids: tuple[int, ...]
    first: int = 0  # of the tokens asked about
    last: int | None = None  # inclusive; None: to the end
    adapter: str | None = None

    def log_odds(self, model: Transformer, token_ids_BT: Tensor) -> Tensor:
        """Return the mean over the tokens asked about, (B,)."""
        end = len(self.answer_ids) if self.last is None else self.last + 1
        logits_BWV = _answer_logits(model, token_ids_BT, self.prompt, self.answer_ids[:end], adapter=self.adapter)
        return log_odds(logits_BWV[:, self.first :], self.answer_ids[self.first : end])


def log_odds(logits_BCL: Tensor, chosen: Sequence[int]) -> Tensor:
    """Return log(p / (1 - p)) of what was chosen, the mean over the choices.

    Shapes: logits (B, C, L), the number chosen of L at each of C; returns (B,), float64.
    """
    logits_BCL = logits_BCL.double()
    chosen_BC1 = torch.tensor(chosen, device=logits_BCL.device)[:, None].expand(len(logits_BCL), -1, -1)
    others_BC = logits_BCL.scatter(-1, chosen_BC1, -torch.inf).logsumexp(dim=-1)
    return (logits_BCL.gather(-1, chosen_BC1)[..., 0] - others_BC).mean(dim=-1)


def _answer_logits(
    model: Transformer, token_ids_BT: Tensor, prompt: Prompt, answer_ids: Sequence[int], *, adapter: str | None
) -> Tensor:
    """Return what is scored at each token of an answer behind its prompt, (B, W, V), float64."""
    behind_W = torch.tensor(answer_ids[:-1], dtype=torch.long, device=token_ids_BT.device)
    whole_BT = torch.cat((token_ids_BT, behind_W.expand(len(token_ids_BT), -1)), dim=1)
    hidden_BTD = _read(model, whole_BT, prompt, adapter=adapter)
    return model.logits(hidden_BTD[:, len(prompt) - 1 :]).double()


def _read(model: Transformer, token_ids_BT: Tensor, prompt: Prompt, *, adapter: str | None) -> Tensor:
    """Return the hidden states of rows that are seen as the engine sees the prompt, (B, T, D)."""
    num_rows, seq_len = token_ids_BT.shape
    until_BT = None
    if prompt.mask is not MaskKind.CAUSAL:
        until = attend_until(seq_len=seq_len, mask=MaskKind.PREFIX, prefix_len=len(prompt))
        until_BT = torch.tensor(until, device=token_ids_BT.device).expand(num_rows, -1)
    hidden_BTD: Tensor = model(token_ids_BT, attend_until_BT=until_BT, adapters_B=[adapter] * num_rows)
    return hidden_BTD
