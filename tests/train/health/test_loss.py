import json
import math

import numpy as np
import pytest

from banyan.train.health.loss import ACTIVE_AFTER, LossRise, LossSpikes


def many() -> tuple[float, float]:
    return (1000.0, 1000.0)


def few() -> tuple[float, float]:
    return (1000.0, 4.0)


def trained(*, seed: int = 0, num: int = 200) -> tuple[LossSpikes, np.random.Generator]:
    spikes, rng = LossSpikes(2), np.random.default_rng(seed)
    for _ in range(num):
        spikes.add([rng.normal(3, 0.1), rng.normal(1, 0.2)])
    return spikes, rng


@pytest.mark.parametrize(("losses", "task"), [((4.5, 1.0), 0), ((3.0, 3.5), 1), ((3.0, math.nan), None)])
def test_the_task_whose_loss_leaps_is_found(losses: tuple[float, float], task: int | None) -> None:
    found = trained()[0].spike(losses, many)
    assert (found and found[0]) == task


def test_nothing_is_judged_before_enough_was_seen() -> None:
    assert trained(num=ACTIVE_AFTER - 1)[0].spike((99.0, 99.0), many) is None


def test_a_mean_over_few_targets_may_stray() -> None:
    spikes = trained()[0]
    assert spikes.spike((3.0, 4.0), few) is None
    assert spikes.spike((3.0, 4.0), many) is not None


def test_thousands_of_healthy_losses_raise_no_alarm() -> None:
    spikes, rng = trained()
    for _ in range(3000):
        losses = (rng.normal(3, 0.1), rng.gamma(1.0, 0.1))
        assert spikes.spike(losses, few) is None
        spikes.add(losses)


def test_a_new_level_can_be_accepted() -> None:
    spikes = trained()[0]
    spikes.accept((9.0, 9.0))
    assert spikes.spike((9.1, 9.1), many) is None


def fall(rise: LossRise, *, num: int, start: int = 1, level: float = 0.5, noise: float = 0.01) -> list[int]:
    """Give losses around a level and return the steps at which a rise was found."""
    rng = np.random.default_rng(start)
    return [step for step in range(start, start + num) if rise.add(rng.normal(level, noise), step=step)]


def test_a_leap_of_the_level_is_found_within_a_dozen_steps() -> None:
    rise = LossRise(nats_per_unit=7.0)
    assert not fall(rise, num=200)
    found = fall(rise, num=20, start=201, level=0.62)
    assert found and found[0] <= 212


def test_a_slow_rise_is_found_once_it_has_lasted() -> None:
    rise = LossRise(nats_per_unit=7.0)
    assert not fall(rise, num=200)
    found: list[int] = []
    for block in range(20):
        found += fall(rise, num=20, start=201 + 20 * block, level=0.5 + 0.006 * (block + 1))
    assert found


def test_a_falling_and_noisy_loss_is_no_rise() -> None:
    rise, rng = LossRise(nats_per_unit=7.0), np.random.default_rng(0)
    for step in range(1, 4000):
        level = 0.3 + 0.7 * math.exp(-step / 300)
        assert rise.add(rng.normal(level, 0.04), step=step) is None


def test_a_resumed_watch_finds_the_rise_at_the_same_step() -> None:
    whole, first = LossRise(nats_per_unit=7.0), LossRise(nats_per_unit=7.0)
    for rise in (whole, first):
        fall(rise, num=150)
    resumed = LossRise(nats_per_unit=7.0)
    resumed.restore(json.loads(json.dumps(first.state())))
    assert fall(resumed, num=20, start=151, level=0.7) == fall(whole, num=20, start=151, level=0.7) != []
