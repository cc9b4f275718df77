"""Pieces of several sequences in one forward pass, each behind what its own slot of the cache holds.

All tokens lie behind each other in one row, so that the weights are read once for all of them, whatever their lengths;
only attention knows where a piece ends. Each piece attends in a call of its own, so its bits depend on no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from banyan.core.errors import ShapeError
from banyan.model.kv_cache import CachePass, KVCache, whole_stretches


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Neighbouring tokens of one sequence, to be read behind what a slot holds."""

    slot: int
    seq_len: int
    is_causal: bool = True  # False: every position reads the whole span, which the slot then begins with


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanReading:
    """What the positions of one span may read."""

    slot: int
    seq_len: int
    num_keys: int  # of the slot, from its beginning
    mask: Tensor | None  # (1, 1, T, S), True where a key may be read
    is_causal: bool  # without a mask: a position reads itself and all before it; False: all keys


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheSpans:
    """Spans of some slots of a cache, for one forward pass whose one row holds them one behind the other.

    Several spans of one slot follow each other in their order. Tokens behind all spans are read for nobody.
    """

    cache: KVCache
    spans: tuple[Span, ...]

    def begin(self, *, num_rows: int, seq_len: int) -> SpanPass:
        """Find room for the tokens; nothing is stored yet.

        Raises: ShapeError if the row does not hold the spans, or a span that is read in both directions would stand
        behind other tokens; ContextLengthError if a slot would overflow.
        """
        num_tokens = sum(span.seq_len for span in self.spans)
        if num_rows != 1 or seq_len < num_tokens or not self.spans:
            raise ShapeError(
                f"{len(self.spans)} spans of {num_tokens} tokens do not fit {num_rows} rows of {seq_len}; "
                "they lie in one row."
            )
        return SpanPass(self.cache, self.spans, num_idle=seq_len - num_tokens)


class SpanPass:
    """One forward pass over spans: where their tokens go, what they may read."""

    def __init__(self, cache: KVCache, spans: Sequence[Span], *, num_idle: int) -> None:
        self.cache = cache
        self._lengths_after: dict[int, int] = {}
        slots, places, readings = list[int](), list[int](), list[SpanReading]()
        for span in spans:
            start = self._lengths_after.get(span.slot, cache.slot_lengths[span.slot])
            end = start + span.seq_len
            if start and not span.is_causal:
                raise ShapeError(f"a span read in both directions stands behind {start} tokens of slot {span.slot}.")
            cache.check_room(end)
            self._lengths_after[span.slot] = end
            slots += [span.slot] * span.seq_len
            places += range(start, end)
            readings.append(_reading(span, start=start, cache=cache))
        self.spans = tuple(readings)
        self._slots_N = torch.tensor([*slots, *[0] * num_idle], device=cache.device)
        self._places_N = torch.tensor([*places, *[cache.waste_place] * num_idle], device=cache.device)
        self.position_ids_BT = torch.tensor([[*places, *[0] * num_idle]], device=cache.device)

    def mask(self, attend_until_BT: Tensor | None) -> None:
        """Say nothing of all tokens at once: each span has its own.

        Raises: ShapeError if something is to be said beyond the spans.
        """
        if attend_until_BT is not None:
            raise ShapeError("attend_until cannot be given with spans: each of them says who reads whom.")

    def earlier_tokens(self, token_ids_BT: Tensor) -> Tensor:
        """Store the pass's tokens and return the `lookback` tokens before each, the nearest first.

        Shapes: token_ids (1, T); returns (1, T, lookback).
        """
        self.cache.token_ids[self._slots_N, self._places_N] = token_ids_BT[0]
        return self.cache.tokens_before(self._slots_N[None], self._places_N[None])

    def append(self, layer: int, k_BTGK: Tensor, v_BTGK: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values and return all that the layer holds.

        Shapes: k, v (1, T, G, K); returns two of (slots, G, places, K).
        """
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        keys[self._slots_N, :, self._places_N] = k_BTGK[0].to(keys.dtype)
        values[self._slots_N, :, self._places_N] = v_BTGK[0].to(values.dtype)
        return keys, values

    def finish(self) -> None:
        """Count the tokens of this pass as held."""
        for slot, length in self._lengths_after.items():
            self.cache.slot_lengths[slot] = length


AnyPass: TypeAlias = CachePass | SpanPass


def attend_by_span(q_1HNK: Tensor, keys: Tensor, values: Tensor, spans: Sequence[SpanReading]) -> Tensor:
    """Let the positions of each span gather what they need from their slot; those behind all spans get nothing.

    Shapes: q (1, H, N, K), N the positions of all spans or more; keys, values (slots, G, places, K); returns
    (1, H, N, K).
    """
    _, num_heads, num_tokens, head_dim = q_1HNK.shape
    is_grouped = num_heads != keys.shape[1]
    found, start = [], 0
    for span in spans:
        slot = slice(span.slot, span.slot + 1)
        mixed_1HTK = F.scaled_dot_product_attention(
            q_1HNK[:, :, start : start + span.seq_len],
            keys[slot, :, : span.num_keys],
            values[slot, :, : span.num_keys],
            attn_mask=span.mask,
            is_causal=span.is_causal,
            enable_gqa=is_grouped,
        )
        found.append(mixed_1HTK[0].transpose(0, 1))
        start += span.seq_len
    return torch.cat([*found, q_1HNK.new_zeros(num_tokens - start, num_heads, head_dim)])[None].transpose(1, 2)


def _reading(span: Span, *, start: int, cache: KVCache) -> SpanReading:
    window, end = cache.sliding_window, start + span.seq_len
    is_windowed = window is not None and window < end
    if not is_windowed and (not start or not span.is_causal):
        return SpanReading(slot=span.slot, seq_len=span.seq_len, num_keys=end, mask=None, is_causal=span.is_causal)
    num_keys = whole_stretches(end)
    own_T1 = torch.arange(start, end, device=cache.device)[:, None]
    place_S = torch.arange(num_keys, device=cache.device)
    mask_TS = (place_S <= own_T1) if span.is_causal else (place_S < end).expand(span.seq_len, -1)
    if window is not None and is_windowed:
        mask_TS = mask_TS & (place_S > own_T1 - window)
    return SpanReading(
        slot=span.slot, seq_len=span.seq_len, num_keys=num_keys, mask=mask_TS[None, None], is_causal=False
    )
