"""Which tokens and pairs of neighbours occur in a text, as rows of a table of a fixed size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

_FIRST, _SECOND = 1_000_003, 998_244_353  # primes; products with ids stay far below 2^63


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadTokens:
    """The tokens of some examples, one example behind the other."""

    token_ids: Tensor  # (P,)
    examples: Tensor  # (P,) which example each belongs to, counted from 0, in order
    num_examples: int
    is_context: Tensor | None = None  # (P,) whether a span may lie there; heads that look for matches only

    @classmethod
    def of_rows(cls, token_ids_BT: Tensor, *, context: tuple[int, int] | None = None) -> ReadTokens:
        """Return the tokens of examples that are equally long; `context` are the first and last places of theirs."""
        num_examples, length = token_ids_BT.shape
        device = token_ids_BT.device
        examples = torch.arange(num_examples, device=device).repeat_interleave(length)
        tokens = cls(token_ids=token_ids_BT.flatten(), examples=examples, num_examples=num_examples)
        if context is None:
            return tokens
        places_T = torch.arange(length, device=device)
        is_context_T = (places_T >= context[0]) & (places_T <= context[1])
        return replace(tokens, is_context=is_context_T.repeat(num_examples))


def ngram_sums(table_BC: Tensor, tokens: ReadTokens) -> Tensor:
    """Add up the rows of the tokens and pairs that occur in each example, over the square root of their number.

    What occurs twice counts once. Several may share a row: which one it is follows from their ids alone.
    Shapes: table (buckets, C); returns (num_examples, C), float32 at least.
    Source: Wang and Manning 2012 (binarised n-grams); Weinberger et al. 2009 (hashed features).
    """
    examples_K, buckets_K = _occurring(tokens, num_buckets=len(table_BC))
    counts_M = torch.bincount(examples_K, minlength=tokens.num_examples).clamp(min=1)
    dtype = torch.promote_types(table_BC.dtype, torch.float32)
    examples_K, buckets_K = examples_K.to(table_BC.device), buckets_K.to(table_BC.device)
    sums_MC = torch.zeros(tokens.num_examples, table_BC.shape[1], device=table_BC.device, dtype=dtype)
    sums_MC = sums_MC.index_add(0, examples_K, table_BC[buckets_K].to(dtype))
    return sums_MC * counts_M.to(table_BC.device).rsqrt().to(dtype)[:, None]


def _occurring(tokens: ReadTokens, *, num_buckets: int) -> tuple[Tensor, Tensor]:
    """Return every row that occurs in an example once, and the example, (K,) each."""
    ids_P, examples_P = tokens.token_ids, tokens.examples
    has_earlier = examples_P[1:] == examples_P[:-1]
    pairs = (ids_P[:-1] + 1) * _SECOND + ids_P[1:] * _FIRST
    hashes = torch.cat((ids_P * _FIRST, pairs[has_earlier]))
    owners = torch.cat((examples_P, examples_P[1:][has_earlier]))
    occurring = torch.unique(owners * num_buckets + hashes % num_buckets)
    return occurring // num_buckets, occurring % num_buckets
