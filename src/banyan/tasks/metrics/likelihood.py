"""How well a model expects what was written: bits per byte of text, perplexity per token, bits per image code."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from banyan.tasks.metrics.measurement import FloatArray, Measurement, Scores, ratio

BITS_PER_CODE = "bits_per_code"
_BITS_PER_BYTE = "-log2 likelihood / UTF-8 bytes, of any tokenizer"


def measure_bits(bits: Sequence[float], num_bytes: Sequence[int]) -> Measurement:
    """Add up the bits that texts cost and the bytes they have; independent of any tokenizer."""
    statistics = np.stack([np.asarray(bits, dtype=np.float64), np.asarray(num_bytes, dtype=np.float64)], axis=1)
    return Measurement(
        statistics=statistics,
        summarize=lambda totals: {"bits_per_byte": ratio(totals[0], totals[1])},
        signatures={"bits_per_byte": _BITS_PER_BYTE},
        lower_is_better=frozenset({"bits_per_byte"}),
    )


def measure_perplexity(
    log_likelihoods: Sequence[float], num_tokens: Sequence[int], num_bytes: Sequence[int]
) -> Measurement:
    """Add up natural log-likelihoods, predicted tokens and the bytes they stand for."""
    statistics = np.stack([np.asarray(column, dtype=np.float64) for column in (log_likelihoods, num_tokens, num_bytes)])
    return Measurement(
        statistics=statistics.T,
        summarize=_perplexity_scores,
        signatures={"bits_per_byte": _BITS_PER_BYTE, "perplexity": "per token of the model's own tokenizer"},
        lower_is_better=frozenset({"perplexity", "bits_per_byte"}),
    )


def measure_code_bits(log_likelihoods: Sequence[float], num_codes: Sequence[int]) -> Measurement:
    """Add up the natural log-likelihoods of pictures and the codes they have."""
    statistics = np.stack([np.asarray(column, dtype=np.float64) for column in (log_likelihoods, num_codes)], axis=1)
    return Measurement(
        statistics=statistics,
        summarize=lambda totals: {BITS_PER_CODE: ratio(-totals[0] / math.log(2), totals[1])},
        signatures={BITS_PER_CODE: "-log2 likelihood / codes of the model's own picture tokenizer"},
        lower_is_better=frozenset({BITS_PER_CODE}),
    )


def _perplexity_scores(totals: FloatArray) -> Scores:
    log_likelihood, num_tokens, num_bytes = totals
    mean_nats = ratio(-log_likelihood, num_tokens)
    return {
        "perplexity": math.exp(min(mean_nats, 700.0)),
        "bits_per_byte": ratio(-log_likelihood / math.log(2), num_bytes),
    }
