"""Vectors of texts: the hidden states of one layer or several, pooled over the tokens of each text.

A text that is longer than the model can read at once is read in windows that follow each other; its vector is the mean
of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import torch
from torch import Tensor

from banyan.core.errors import ConfigError, ContextLengthError, InputError
from banyan.core.types import MaskKind
from banyan.infer.forward import Row
from banyan.model.config import ModelConfig
from banyan.model.transformer import Transformer
from banyan.tokenizers.vocabulary import Vocabulary

TextOrIds: TypeAlias = str | Sequence[int]  # a text, or the token ids of one exactly as they shall be read


class Pooling(StrEnum):
    """How the hidden states of many tokens become one vector; special tokens are left out either way."""

    MEAN = "mean"  # of all tokens
    LAST = "last"  # of the last token, which has read all others


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingConfig:
    """How a text becomes a vector, or one for each of several layers."""

    pooling: Pooling = Pooling.MEAN
    layers: tuple[int, ...] = (-1,)  # 0: the embeddings; n: after n blocks; negative ones count from the end
    normalises: bool = True  # to length 1, so that a dot product is the cosine
    splits_long_texts: bool = True  # False: a text that does not fit is refused

    def blocks(self, model: ModelConfig) -> tuple[int, ...]:
        """Return after how many blocks each layer lies.

        Raises: ConfigError for a layer the model does not have.
        """
        return tuple(count_blocks(layer, num_layers=model.num_layers) for layer in self.layers)


def count_blocks(layer: int, *, num_layers: int) -> int:
    """Return after how many blocks a layer lies: -1 after all of them, where the final norm follows.

    Raises: ConfigError for a layer the model does not have.
    """
    if not -num_layers - 1 <= layer <= num_layers:
        raise ConfigError(
            f"layer={layer} is not there: the model has 0 (embeddings) to {num_layers} (after the last block), "
            f"or -1 to {-num_layers - 1} from the end."
        )
    return layer if layer >= 0 else num_layers + 1 + layer


@dataclass(frozen=True, slots=True)
class TextVector:
    """A text whose vectors are wanted, as the engine reads it."""

    rows: tuple[Row, ...]  # its windows
    weights: tuple[float, ...]  # of each window in the mean; they sum to 1
    normalises: bool

    @property
    def num_tokens(self) -> int:
        """Tokens to read, those that begin its windows included."""
        return sum(map(len, self.rows))

    def answer(self, model: Transformer, hidden: Sequence[Tensor]) -> Tensor:
        """Return one vector for each layer, in float32 on the CPU.

        Shapes: hidden (N, 1, D) for each window; returns (N, D).
        """
        vectors_ND = torch.zeros_like(hidden[0][:, 0], dtype=torch.float32)
        for window, weight in zip(hidden, self.weights, strict=True):
            vectors_ND = vectors_ND + weight * window[:, 0].float()
        if self.normalises:
            vectors_ND = torch.nn.functional.normalize(vectors_ND, dim=-1)
        return vectors_ND.cpu()


def text_vectors(
    texts: Sequence[TextOrIds],
    how: EmbeddingConfig,
    *,
    vocabulary: Vocabulary,
    config: ModelConfig,
    first_number: int = 1,
) -> list[TextVector]:
    """Return texts as the engine reads them: each behind what begins a text in the model's format; ids as they are.

    Raises: InputError naming the text that is empty or holds an id that is none; ContextLengthError for one that is
    too long where long texts are refused; ConfigError for a layer the model does not have.
    """
    blocks = how.blocks(config)
    encoded = iter(vocabulary.encode_batch([text for text in texts if isinstance(text, str)]))
    found = []
    for number, text in enumerate(texts, first_number):
        is_text = isinstance(text, str)
        token_ids = next(encoded) if isinstance(text, str) else text
        start_ids = vocabulary.start_ids if is_text else ()
        _check(token_ids, number, vocabulary=vocabulary)
        windows = _windows(token_ids, start_ids=start_ids, max_seq_len=config.max_seq_len)
        if len(windows) > 1 and not how.splits_long_texts:
            raise _too_long(len(start_ids) + len(token_ids), number, max_seq_len=config.max_seq_len)
        found.append(_question(windows, number, how, blocks=blocks, vocabulary=vocabulary))
    return found


def _windows(token_ids: Sequence[int], *, start_ids: tuple[int, ...], max_seq_len: int) -> list[tuple[int, ...]]:
    size = max_seq_len - len(start_ids)
    return [(*start_ids, *token_ids[first : first + size]) for first in range(0, len(token_ids), size)]


def _question(
    windows: Sequence[tuple[int, ...]],
    number: int,
    how: EmbeddingConfig,
    *,
    blocks: tuple[int, ...],
    vocabulary: Vocabulary,
) -> TextVector:
    rows, counts = [], []
    for token_ids in windows:
        positions = [place for place, token_id in enumerate(token_ids) if vocabulary.is_text(token_id)]
        if positions:
            rows.append(_row(token_ids, positions, how.pooling, blocks=blocks))
            counts.append(len(positions))
    if not rows:
        raise InputError(f"text {number} holds nothing but special tokens; there is nothing to take a vector of.")
    # Every token counts the same in a mean of all tokens, whichever window it fell into.
    shares = counts if how.pooling is Pooling.MEAN else [1] * len(rows)
    weights = tuple(share / sum(shares) for share in shares)
    return TextVector(tuple(rows), weights, how.normalises)


def _row(token_ids: tuple[int, ...], positions: Sequence[int], pooling: Pooling, *, blocks: tuple[int, ...]) -> Row:
    is_mean = pooling is Pooling.MEAN
    return Row(
        token_ids=token_ids,
        mask=MaskKind.CAUSAL,
        prefix_len=0,
        positions=tuple(positions) if is_mean else (positions[-1],),
        layers=blocks,
        averages=is_mean,
    )


def _check(token_ids: Sequence[int], number: int, *, vocabulary: Vocabulary) -> None:
    if not token_ids:
        raise InputError(f"text {number} is empty; there is nothing to take a vector of.")
    wrong = next((token_id for token_id in token_ids if not 0 <= token_id < vocabulary.text_size), None)
    if wrong is not None:
        raise InputError(f"text {number} holds {wrong}; its token ids must lie in 0..{vocabulary.text_size - 1}.")


def _too_long(num_tokens: int, number: int, *, max_seq_len: int) -> ContextLengthError:
    return ContextLengthError(
        f"text {number} has {num_tokens} tokens; the model can read {max_seq_len} at once.",
        num_prompt_tokens=num_tokens,
        max_seq_len=max_seq_len,
        hint="shorten it, or let long texts be read in windows",
    )
