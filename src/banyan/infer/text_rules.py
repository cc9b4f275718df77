"""What an answer may not say next: the end of a run of tokens that it has said before, or its own end too soon."""

from __future__ import annotations

from collections.abc import Sequence, Set

from banyan.infer.sampling import SamplingConfig


def blocked_tokens(said: Sequence[int], config: SamplingConfig, *, stop_ids: Set[int]) -> set[int]:
    """Return the tokens that may not follow what an answer has said so far; its prompt does not count."""
    blocked = repeated_ends(said, num_tokens=config.no_repeat_ngram) if config.no_repeat_ngram else set()
    return blocked | stop_ids if len(said) < config.min_tokens else blocked


def repeated_ends(said: Sequence[int], *, num_tokens: int) -> set[int]:
    """Return the tokens that would end a run of `num_tokens` which stands in `said` already.

    Source: Paulus et al. 2018 (section 2.5), with runs of three tokens.
    """
    begun = tuple(said[len(said) - num_tokens + 1 :])
    if len(begun) < num_tokens - 1:
        return set()
    starts = range(len(said) - num_tokens + 1)
    return {said[start + num_tokens - 1] for start in starts if tuple(said[start : start + num_tokens - 1]) == begun}
