import json

import pytest

from banyan.train.health.config import HealthConfig
from banyan.train.health.cures import Cures
from banyan.train.health.signals import Finding
from banyan.train.remedies import LowerRate, Rewind, ShrinkScores, Stop

HIGH = Finding(signal="diverged", value=1.0, threshold=0.3)


def test_three_rewinds_with_deeper_and_deeper_cuts_and_then_an_end() -> None:
    cures = Cures(HealthConfig())
    remedies = [cures.diverged(HIGH, step=300 + n, sound_until=290)[0] for n in range(4)]
    assert [r.rate_factor for r in remedies if isinstance(r, Rewind)] == [0.7, 0.3, 0.1]
    assert isinstance(remedies[3], Stop) and "went back 3 times" in remedies[3].reason


def test_a_rewind_long_after_the_last_one_begins_with_a_light_cut() -> None:
    cures = Cures(HealthConfig())
    factors = [cures.diverged(HIGH, step=step, sound_until=step - 20)[0].rate_factor for step in (300, 5000)]  # type: ignore[union-attr]
    assert factors == [0.7, 0.7]


def test_three_updates_without_a_number_within_fifty_steps_go_back_before_the_first() -> None:
    cures = Cures(HealthConfig())
    assert cures.not_finite(step=10) == cures.not_finite(step=30) == []
    (remedy,) = cures.not_finite(step=40)
    assert isinstance(remedy, Rewind) and remedy.sound_until == 9
    assert [cures.not_finite(step=step) for step in (100, 160, 220)] == [[], [], []]


def test_spikes_that_keep_coming_lower_the_rate_and_one_long_spike_does_not() -> None:
    cures = Cures(HealthConfig())
    assert all(cures.spiked(step=step) == ([], None) for step in range(100, 130))
    found = [cures.spiked(step=step) for step in range(200, 800, 100)]
    assert [(LowerRate(rate_factor=0.7, reason="chronic_spikes"),)] == [tuple(r) for r, _ in found if r]


@pytest.mark.parametrize("switched_off", ["rewind", "lower_rate"])
def test_every_remedy_can_be_switched_off(switched_off: str) -> None:
    cures = Cures(HealthConfig(**{switched_off: False}))
    remedies = cures.diverged(HIGH, step=300, sound_until=250)
    assert remedies == [] if switched_off == "rewind" else remedies[0].rate_factor == 1.0  # type: ignore[union-attr]
    assert cures.lower_rate(HIGH, step=300) == [] or switched_off == "rewind"


def test_what_was_saved_decides_alike() -> None:
    cures, again = Cures(HealthConfig()), Cures(HealthConfig())
    cures.diverged(HIGH, step=300, sound_until=290)
    cures.spiked(step=310)
    again.restore(json.loads(json.dumps(cures.state())))
    assert again.diverged(HIGH, step=320, sound_until=290) == cures.diverged(HIGH, step=320, sound_until=290)
    assert again.state() == cures.state()


SCORES = Finding(signal="attention_logits", value=400.0, threshold=100.0, where="blocks.0.attention")


def test_large_scores_are_brought_back_to_their_bound_where_that_can_be_done() -> None:
    assert Cures(HealthConfig()).large_scores(SCORES, step=50, can_shrink=True) == [
        ShrinkScores(layer="blocks.0.attention", factor=0.25)
    ]
    slower = [LowerRate(rate_factor=0.7, reason="attention_logits")]
    assert Cures(HealthConfig()).large_scores(SCORES, step=50, can_shrink=False) == slower
    assert Cures(HealthConfig(shrink_scores=False)).large_scores(SCORES, step=50, can_shrink=True) == slower


def test_a_plateau_halves_the_rate() -> None:
    plateau = Finding(signal="plateau", value=0.0, threshold=-1e-4)
    assert Cures(HealthConfig()).lower_rate(plateau, step=2000) == [LowerRate(rate_factor=0.5, reason="plateau")]
    assert Cures(HealthConfig(lower_rate=False)).lower_rate(plateau, step=2000) == []
