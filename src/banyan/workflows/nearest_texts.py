"""Texts that a model finds alike: the nearest ones by its own vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from banyan.infer.embedding import EmbeddingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.workflows.embedding import embed_texts
from banyan.workflows.reporter import Reporter


def nearest_texts(
    model: LoadedModel, texts: Sequence[str], among: Sequence[str], *, num: int, reporter: Reporter
) -> list[list[tuple[int, float]]]:
    """Return for each text the numbers of the nearest others and how near they are, the nearest first."""
    how = EmbeddingConfig(normalises=False)
    vectors = embed_texts(model, [*texts, *among], how, reporter=reporter).vectors
    similarities = centred_cosines(vectors[: len(texts)], vectors[len(texts) :])
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :num]
    return [[(int(place), float(row[place])) for place in own] for own, row in zip(order, similarities, strict=True)]


def centred_cosines(vectors: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of every vector with every other one, seen from the mean of the others.

    Hidden states of all texts share a large common part; seen from zero every two of them look alike.
    Shapes: vectors (N, D), others (M, D); returns (N, M).
    Source: Mu and Viswanath 2018 (the mean; no further directions are taken out).
    """
    centre = others.mean(axis=0, dtype=np.float64)
    first, second = (_unit(side.astype(np.float64) - centre) for side in (vectors, others))
    cosines: NDArray[np.float64] = first @ second.T
    return cosines


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    unit: NDArray[np.float64] = vectors / np.maximum(lengths, np.finfo(np.float64).tiny)
    return unit
