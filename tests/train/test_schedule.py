import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banyan.core.errors import ConfigError
from banyan.train.schedule import ScheduleConfig, learning_rate_factor

NAMES = ("wsd", "cosine", "linear", "constant", "one_cycle")


def factors(num_steps: int, schedule: ScheduleConfig) -> list[float]:
    return [learning_rate_factor(step, num_steps=num_steps, schedule=schedule) for step in range(1, num_steps + 1)]


@given(name=st.sampled_from(NAMES), num_steps=st.integers(1, 300), warmup=st.floats(0, 0.4), final=st.floats(0, 1))
def test_every_schedule_rises_once_then_falls_and_stays_between_zero_and_the_peak(
    name: str, num_steps: int, warmup: float, final: float
) -> None:
    schedule = ScheduleConfig(name=name, warmup_fraction=warmup, final_fraction=final)  # type: ignore[arg-type]
    curve = factors(num_steps, schedule)
    assert all(0 <= value <= 1 + 1e-9 for value in curve)
    top = curve.index(max(curve))
    assert curve[: top + 1] == sorted(curve[: top + 1])
    assert all(later <= earlier + 1e-9 for earlier, later in zip(curve[top:], curve[top + 1 :], strict=False))


@pytest.mark.parametrize("name", ["wsd", "cosine", "linear", "one_cycle"])
def test_a_run_ends_at_the_final_fraction(name: str) -> None:
    schedule = ScheduleConfig(name=name, final_fraction=0.1)  # type: ignore[arg-type]
    assert factors(200, schedule)[-1] == pytest.approx(0.1)


def test_wsd_is_flat_between_warm_up_and_decay() -> None:
    curve = factors(100, ScheduleConfig(name="wsd", warmup_fraction=0.1, decay_fraction=0.4))
    assert curve[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert set(curve[10:60]) == {1.0}
    assert curve[60] < 1.0


def test_cosine_is_half_way_down_in_the_middle() -> None:
    curve = factors(100, ScheduleConfig(name="cosine", warmup_fraction=0, final_fraction=0))
    assert curve[49] == pytest.approx(0.5)


def closed_form(name: str, step: int, *, num_steps: int, final: float) -> float:
    """Each curve as its authors write it, after 10 warm-up steps; wsd decays over the last half."""
    up, x = step / 10, (step - 10) / (num_steps - 10)
    if name == "one_cycle":  # Smith 2018, as in torch's OneCycleLR with cosines
        rise = 1 + (0.04 - 1) / 2 * (1 + math.cos(math.pi * up))
        return rise if step <= 10 else final + (1 - final) / 2 * (1 + math.cos(math.pi * x))
    if step <= 10:
        return up
    if name == "cosine":  # Loshchilov and Hutter 2016, eq. 5
        return final + (1 - final) / 2 * (1 + math.cos(math.pi * x))
    if name == "linear":
        return (1 - x) + final * x
    half = num_steps / 2
    return 1.0 if step <= half else 1 - (1 - final) * (step - half) / half


@pytest.mark.parametrize("name", ["wsd", "cosine", "linear", "one_cycle"])
def test_every_curve_is_its_closed_form(name: Any) -> None:
    schedule = ScheduleConfig(name=name, warmup_fraction=0.1, decay_fraction=0.5, final_fraction=0.2)
    expected = [closed_form(name, step, num_steps=100, final=0.2) for step in range(1, 101)]
    assert factors(100, schedule) == pytest.approx(expected)


def test_constant_stays_at_the_peak() -> None:
    assert set(factors(50, ScheduleConfig(name="constant", warmup_fraction=0))) == {1.0}


@pytest.mark.parametrize("bad", [{"warmup_fraction": -0.1}, {"final_fraction": 2.0}, {"warmup_fraction": 0.5}])
def test_fractions_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="schedule.warmup_fraction|schedule.final_fraction"):
        ScheduleConfig(**bad)
