"""How like real pictures drawn ones are, measured on the features that some frozen net makes of both.

A figure means something only beside others of the same net: print its hash with it, and the floor that two halves of
the real pictures reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from banyan.core.errors import DataError

Features = NDArray[np.float64]

_CHUNK = 256  # rows compared with all others at a time: 100 MB against 50 000


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """How much of the drawn lies among the real, and how much of the real among the drawn; 0 to 1."""

    precision: float
    recall: float


def frechet_distance(first_ND: Features, second_MD: Features) -> float:
    """Return the Fréchet distance of two sets of features, each taken as one normal distribution; 0 is the same.

    Shapes: (N, D) and (M, D); computed in float64.
    Raises: DataError for fewer than two pictures in a set, or features that are not finite.
    Source: Heusel et al. 2017 (FID). The root of the product of both covariances is never formed: its trace is the sum
    of the roots of the eigenvalues of √A·B·√A, which is symmetric.
    """
    first, second = _checked(first_ND), _checked(second_MD)
    shift = first.mean(axis=0) - second.mean(axis=0)
    covariances = np.cov(first, rowvar=False, ddof=1), np.cov(second, rowvar=False, ddof=1)
    a, b = (np.atleast_2d(covariance) for covariance in covariances)
    root = _root(a)
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ b @ root), 0, None)).sum()
    return max(0.0, float(shift @ shift + np.trace(a) + np.trace(b) - 2 * shared))


def _root(covariance: Features) -> Features:
    """Return the symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)


def precision_and_recall(real_ND: Features, drawn_MD: Features, *, num_neighbours: int = 3) -> Coverage:
    """Return which share of each set lies within the reach of the other one.

    A picture reaches as far as its k-th nearest neighbour in its own set.
    Raises: DataError if a set has no more than k pictures.
    Source: Kynkäänniemi et al. 2019.
    """
    real, drawn = _checked(real_ND), _checked(drawn_MD)
    if min(len(real), len(drawn)) <= num_neighbours:
        raise DataError(
            f"precision and recall need more than {num_neighbours} pictures, got {len(real)}, {len(drawn)}."
        )
    return Coverage(
        precision=_share_within(drawn, real, num_neighbours), recall=_share_within(real, drawn, num_neighbours)
    )


def _share_within(asked: Features, manifold: Features, num_neighbours: int) -> float:
    reach = np.concatenate(
        [np.partition(part, num_neighbours, axis=1)[:, num_neighbours] for part in _distances(manifold, manifold)]
    )
    is_within = np.concatenate([(part <= reach).any(axis=1) for part in _distances(asked, manifold)])
    return float(is_within.mean())


def nearest(asked_ND: Features, known_MD: Features) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return how far the nearest known picture is from each that is asked about, and which one it is.

    Shapes: (N,) each.
    """
    asked, known = _checked(asked_ND), _checked(known_MD)
    places = np.concatenate([part.argmin(axis=1) for part in _distances(asked, known)])
    # Once more, from the difference: in the squares' expansion the same picture twice would not be at 0.
    return np.linalg.norm(asked - known[places], axis=1), places


def copied_share(drawn_to_train_N: Features, real_to_train_M: Features, *, quantile: float = 0.01) -> float:
    """Return the share of drawn pictures that lie as near to a training picture as hardly any fresh real one does.

    A model that copies nothing scores about the quantile itself. Where real pictures occur twice, the nearest fresh
    ones lie at no distance at all; a drawn copy counts there, too.
    """
    return float((drawn_to_train_N <= np.quantile(real_to_train_M, quantile)).mean())


def _distances(first: Features, second: Features) -> Iterator[Features]:
    """Yield the squared distances of all pairs, some rows at a time."""
    norms = (second**2).sum(axis=1)
    chunks = (first[start : start + _CHUNK] for start in range(0, len(first), _CHUNK))
    return (np.clip((chunk**2).sum(axis=1)[:, None] + norms - 2 * chunk @ second.T, 0, None) for chunk in chunks)


def _checked(features_ND: Features) -> Features:
    features = np.asarray(features_ND, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise DataError(
            f"features of shape {features.shape} cannot be compared; they must be (pictures > 1, features)."
        )
    if not np.isfinite(features).all():
        raise DataError("features hold numbers that are not finite; the net that made them is broken.")
    return features
