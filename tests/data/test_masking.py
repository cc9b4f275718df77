from __future__ import annotations

import numpy as np
import pytest

from banyan.core.errors import ConfigError
from banyan.core.types import NO_TARGET, MaskKind, TokenSequence
from banyan.data.masking import MaskShares, mix_masks

HIDDEN = 99


def running_text(length: int = 40) -> TokenSequence:
    ids = tuple(range(1, length + 2))
    return TokenSequence(
        task="text", token_ids=ids[:-1], targets=ids[1:], loss_weights=(1.0,) * length, mask=MaskKind.CAUSAL
    )


def mixed(shares: MaskShares, *, seed: int, length: int = 40) -> TokenSequence:
    return mix_masks(running_text(length), shares, hidden_id=HIDDEN, generator=np.random.default_rng(seed))


def test_the_shares_hold_over_many_draws() -> None:
    kinds = [mixed(MaskShares(prefix=0.3, full=0.2), seed=seed).mask for seed in range(2000)]
    assert kinds.count(MaskKind.PREFIX) / 2000 == pytest.approx(0.3, abs=0.04)
    assert kinds.count(MaskKind.FULL) / 2000 == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize("seed", range(8))
def test_only_what_follows_the_prefix_is_predicted(seed: int) -> None:
    text, found = running_text(), mixed(MaskShares(prefix=1.0), seed=seed)
    assert found.token_ids == text.token_ids
    assert 1 <= found.prefix_len < len(text)
    given = found.prefix_len - 1
    assert found.targets == (NO_TARGET,) * given + text.targets[given:]
    assert found.loss_weights == (0.0,) * given + (1.0,) * (len(text) - given)


@pytest.mark.parametrize("seed", range(8))
def test_each_hidden_token_is_predicted_at_the_position_before_it_and_no_other(seed: int) -> None:
    text, found = running_text(), mixed(MaskShares(full=1.0, hidden=0.3), seed=seed)
    hidden = {place for place, token_id in enumerate(found.token_ids) if token_id == HIDDEN}
    asked = {place: target for place, target in enumerate(found.targets) if target != NO_TARGET}
    assert hidden
    assert asked == {place - 1: text.token_ids[place] for place in hidden}
    assert [weight > 0 for weight in found.loss_weights] == [place in asked for place in range(len(text))]


def test_a_stretch_read_in_both_directions_always_has_something_to_predict() -> None:
    rare = MaskShares(full=1.0, hidden=1e-9)
    assert all(any(mixed(rare, seed=seed).loss_weights) for seed in range(20))


def test_a_very_short_stretch_stays_causal() -> None:
    assert mixed(MaskShares(full=1.0), seed=0, length=4) == running_text(4)


@pytest.mark.parametrize("shares", [{"prefix": 0.7, "full": 0.7}, {"prefix": -0.1}, {"hidden": 0.0}])
def test_shares_that_cannot_be_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"masks\."):
        MaskShares(**shares)
