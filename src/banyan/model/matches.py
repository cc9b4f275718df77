"""Where the tokens of a question come again in its context, as numbers at every position of the context."""

from __future__ import annotations

import torch
from torch import Tensor

from banyan.model.ngrams import ReadTokens

_WINDOWS = (1, 2, 4, 8, 16, 32)  # tokens before a position, and behind it
_NEIGHBOURHOODS = (8, 16, 32)  # tokens on either side, compared with the best place of the context
_SERIES = 3  # tokens that come again: by rarity, counted, and as pairs
_NUM_PLAIN = _SERIES * (1 + 2 * len(_WINDOWS) + len(_NEIGHBOURHOODS)) + 1
NUM_MATCH_FEATURES = 2 * _NUM_PLAIN  # all of them once more for tokens that the question does not have


def match_features(tokens: ReadTokens) -> Tensor:
    """Say at every position how much of the question stands there, shortly before, shortly behind, and around it.

    A token that comes again counts in proportion to its rarity in the context, and once plainly; a pair of neighbours
    counts, too. Positions of the question have zeros: `tokens.is_context` tells them apart.
    Shapes: returns (P, NUM_MATCH_FEATURES), float32.
    Source: Rajpurkar et al. 2016 (sliding windows and overlap); Chen et al. 2017 (exact match as a feature).
    """
    assert tokens.is_context is not None, "the context is not told from the question"
    first_P, behind_P = _bounds(tokens)
    series_SP = _series(tokens, tokens.is_context)
    sums = torch.cat((series_SP.new_zeros(_SERIES, 1), series_SP.cumsum(dim=1)), dim=1)
    here_P = torch.arange(len(tokens.token_ids), device=tokens.token_ids.device)

    def summed(low_P: Tensor, high_P: Tensor) -> Tensor:
        return sums[:, torch.minimum(high_P, behind_P)] - sums[:, torch.maximum(low_P, first_P)]

    features = [series_SP]
    for width in _WINDOWS:
        features += [summed(here_P - width, here_P) / width**0.5, summed(here_P + 1, here_P + 1 + width) / width**0.5]
    for width in _NEIGHBOURHOODS:
        around_SP = summed(here_P - width, here_P + 1 + width)
        features.append(around_SP / _highest(around_SP * tokens.is_context, tokens).clamp(min=1e-6))
    place_1P = 1 / (1 + here_P - first_P).to(series_SP.dtype)[None]
    plain_PF = torch.cat((*features, place_1P)).T * tokens.is_context[:, None]
    is_new_P1 = (series_SP[1] == 0)[:, None]
    return torch.cat((plain_PF, plain_PF * is_new_P1), dim=1).float()


def _bounds(tokens: ReadTokens) -> tuple[Tensor, Tensor]:
    """Return, at every position, the first one of its example and the one behind its last."""
    lengths = torch.bincount(tokens.examples, minlength=tokens.num_examples)
    behind = lengths.cumsum(dim=0)
    return (behind - lengths)[tokens.examples], behind[tokens.examples]


def _series(tokens: ReadTokens, is_context_P: Tensor) -> Tensor:
    """Return what comes again at each position: by rarity, as 1, and as part of a pair, (3, P), float64.

    Sums of float64 do not depend on what stands before an example, to any digit that float32 keeps.
    """
    ids_P, examples_P = tokens.token_ids, tokens.examples
    num_ids = int(ids_P.max()) + 1 if len(ids_P) else 1
    keys_P = examples_P * num_ids + ids_P
    is_question_P = _before_context(tokens, is_context_P)
    comes_again_P = is_context_P & torch.isin(keys_P, keys_P[is_question_P])
    _, numbers_P, counts = torch.unique(torch.where(is_context_P, keys_P, -1), return_inverse=True, return_counts=True)
    pairs_P = torch.cat((keys_P[:-1] * num_ids + ids_P[1:], keys_P[:0].new_full((min(1, len(ids_P)),), -1)))
    is_neighbour_P = torch.cat((examples_P[1:] == examples_P[:-1], examples_P[:1] < 0))
    in_question_P = is_neighbour_P & is_question_P & is_question_P.roll(-1)
    in_context_P = is_neighbour_P & is_context_P & is_context_P.roll(-1)
    begins_pair_P = in_context_P & torch.isin(pairs_P, pairs_P[in_question_P])
    is_paired_P = begins_pair_P | begins_pair_P.roll(1)
    again = comes_again_P.double()
    return torch.stack((again / counts[numbers_P], again, is_paired_P.double()))


def _before_context(tokens: ReadTokens, is_context_P: Tensor) -> Tensor:
    """Return which tokens are the question's: those before the context of their example, not those that close it."""
    here_P = torch.arange(len(is_context_P), device=is_context_P.device)
    first_E = here_P.new_full((tokens.num_examples,), len(here_P))
    first_E = first_E.scatter_reduce(0, tokens.examples[is_context_P], here_P[is_context_P], "amin")
    return here_P < first_E[tokens.examples]


def _highest(values_SP: Tensor, tokens: ReadTokens) -> Tensor:
    """Return, at every position, the highest value in its example; none lies below 0."""
    highest_SE = values_SP.new_zeros(len(values_SP), tokens.num_examples)
    highest_SE = highest_SE.scatter_reduce(1, tokens.examples.expand(len(values_SP), -1), values_SP, "amax")
    return highest_SE[:, tokens.examples]
