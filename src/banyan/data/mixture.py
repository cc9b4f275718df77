"""How often each task is seen: its share of the rows of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from banyan.core.config import config
from banyan.core.errors import ConfigError, DataError, UnknownNameError
from banyan.core.registry import did_you_mean


@config
class MixturePoint:
    """Given rates at one moment of a run; between two of them the shares move in a straight line."""

    at: float  # part of the run, from 0 to 1
    rates: dict[str, float] = field(default_factory=dict)  # share of a task's rows, 0 < rate <= 1

    def __post_init__(self) -> None:
        if not 0 <= self.at <= 1:
            raise ConfigError(f"mixture.schedule: at={self.at} is no part of a run; it lies between 0 and 1.")
        _check_rates(self.rates, key="mixture.schedule.rates")


@config
class MixtureConfig:
    """Shares in proportion to min(examples, size_cap)^(1/temperature), unless a rate is given."""

    method: Literal["temperature", "proportional", "equal"] = "temperature"  # the others look at no other key
    temperature: float = 2.0  # 1: in proportion to size; larger: closer to equal shares
    size_cap: int = 100_000  # examples beyond this do not raise a task's share
    rates: dict[str, float] = field(default_factory=dict)  # share of a task's rows, 0 < rate <= 1
    schedule: tuple[MixturePoint, ...] = ()  # rates over the run, laid over the ones above; empty: always the same
    slow_after: int | None = None  # validations without a better score, after which a task is drawn less; None: never
    slow_factor: float = 0.1  # what that leaves of its share

    def __post_init__(self) -> None:
        if self.temperature < 1:
            raise ConfigError(f"mixture.temperature={self.temperature} cannot be used; it must be 1 or more.")
        if self.size_cap < 1:
            raise ConfigError(f"mixture.size_cap={self.size_cap} cannot be used; it must be 1 or more.")
        if self.slow_after is not None and self.slow_after < 1:
            raise ConfigError(f"mixture.slow_after={self.slow_after} must be 1 or more, or null for never.")
        if not 0 < self.slow_factor <= 1:
            raise ConfigError(f"mixture.slow_factor={self.slow_factor} must lie above 0 and at most at 1.")
        _check_rates(self.rates, key="mixture.rates")
        moments = [point.at for point in self.schedule]
        if any(later <= earlier for earlier, later in zip(moments[:-1], moments[1:], strict=True)):
            raise ConfigError(
                f"mixture.schedule goes through at={moments}; each point comes later than the one before."
            )

    def share_of(self, size: int) -> float:
        """Return what a task of so many examples weighs among those without a given rate."""
        if self.method == "equal":
            return 1.0
        if self.method == "proportional":
            return float(size)
        return float(min(size, self.size_cap) ** (1 / self.temperature))


def _check_rates(rates: Mapping[str, float], *, key: str) -> None:
    for name, rate in rates.items():
        if not 0 < rate <= 1:
            raise ConfigError(f"{key}.{name}={rate} cannot be used; a rate lies above 0 and at most at 1.")


def mixture_rates(sizes: Mapping[str, int], config: MixtureConfig) -> dict[str, float]:
    """Return each task's share of the rows; given rates are kept and the others share what is left.

    If every task has a given rate, the rates are taken as proportions. The shares sum to 1.
    Raises: DataError for a task without examples; UnknownNameError or ConfigError for rates that cannot be kept.
    Source: Raffel et al. 2020 (T5), section 3.5.2, examples-proportional mixing with temperature.
    """
    for name in config.rates:
        if name not in sizes:
            raise UnknownNameError(f"mixture.rates names no task of this run: {name!r}{did_you_mean(name, sizes)}")
    for name, size in sizes.items():
        if size < 1:
            raise DataError(f"task {name!r} has no training examples.", hint="check its data, or leave the task out")
    free = {name: config.share_of(size) for name, size in sizes.items() if name not in config.rates}
    given = sum(config.rates.values())
    if not free:
        return {name: config.rates[name] / given for name in sizes}
    if given >= 1:
        raise ConfigError(f"mixture.rates sum to {given:g}, which leaves nothing for {', '.join(free)}.")
    left = (1 - given) / sum(free.values())
    return {name: config.rates.get(name) or free[name] * left for name in sizes}


class RatePlan:
    """The shares of a run's tasks from its beginning to its end."""

    def __init__(self, moments: Sequence[float], rates: Sequence[Mapping[str, float]]) -> None:
        self.names = tuple(rates[0])
        self._moments = np.array(moments)
        self._rates_PT = np.array([[at_moment[name] for name in self.names] for at_moment in rates])
        self._rates_PT /= self._rates_PT.sum(axis=1, keepdims=True)
        spans_P1 = np.diff(self._moments)[:, None]
        pieces_PT = (self._rates_PT[1:] + self._rates_PT[:-1]) / 2 * spans_P1
        first_1T = self._rates_PT[:1] * self._moments[0]
        self._sums_PT = np.cumsum(np.concatenate((first_1T, pieces_PT)), axis=0)

    @property
    def rates_at_start(self) -> dict[str, float]:
        """The shares with which the run begins."""
        return dict(zip(self.names, self._rates_PT[0].tolist(), strict=True))

    def due(self, part: float) -> NDArray[np.float64]:
        """Return how much of the run has gone to each task after a part of it; they add up to the part.

        It is the integral of the shares, which are constant before the first moment and after the last.
        Shapes: returns (num_tasks,), in the order of `names`.
        """
        last = int(np.searchsorted(self._moments, part, side="right")) - 1
        if last < 0:
            return np.asarray(self._rates_PT[0] * part)
        since, now_T = part - self._moments[last], self._rates_PT[last]
        if last + 1 < len(self._moments):
            slope_T = (self._rates_PT[last + 1] - now_T) / (self._moments[last + 1] - self._moments[last])
            return np.asarray(self._sums_PT[last] + (now_T + slope_T * since / 2) * since)
        return np.asarray(self._sums_PT[last] + now_T * since)


def rate_plan(sizes: Mapping[str, int], config: MixtureConfig) -> RatePlan | None:
    """Return the shares over the run; None where they stay as `mixture_rates` says.

    Raises: as `mixture_rates`.
    """
    if not config.schedule:
        return None
    rates = [mixture_rates(sizes, replace(config, rates={**config.rates, **p.rates})) for p in config.schedule]
    return RatePlan([point.at for point in config.schedule], rates)
