"""How often each task is seen: its share of the rows of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from banyan.core.config import config
from banyan.core.errors import ConfigError, DataError, UnknownNameError
from banyan.core.registry import did_you_mean


@config
class MixtureConfig:
    """Shares in proportion to min(examples, size_cap)^(1/temperature), unless a rate is given."""

    temperature: float = 2.0  # 1: in proportion to size; larger: closer to equal shares
    size_cap: int = 100_000  # examples beyond this do not raise a task's share
    rates: dict[str, float] = field(default_factory=dict)  # share of a task's rows, 0 < rate <= 1

    def __post_init__(self) -> None:
        if self.temperature < 1:
            raise ConfigError(f"mixture.temperature={self.temperature} cannot be used; it must be 1 or more.")
        if self.size_cap < 1:
            raise ConfigError(f"mixture.size_cap={self.size_cap} cannot be used; it must be 1 or more.")
        for name, rate in self.rates.items():
            if not 0 < rate <= 1:
                raise ConfigError(f"mixture.rates.{name}={rate} cannot be used; a rate lies above 0 and at most at 1.")


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
    free = {
        n: min(size, config.size_cap) ** (1 / config.temperature) for n, size in sizes.items() if n not in config.rates
    }
    given = sum(config.rates.values())
    if not free:
        return {name: config.rates[name] / given for name in sizes}
    if given >= 1:
        raise ConfigError(f"mixture.rates sum to {given:g}, which leaves nothing for {', '.join(free)}.")
    left = (1 - given) / sum(free.values())
    return {name: config.rates.get(name) or free[name] * left for name in sizes}
