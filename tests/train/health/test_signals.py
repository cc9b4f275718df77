import re
from pathlib import Path

import pytest

import banyan.train.health as health
from banyan.core.errors import ConfigError
from banyan.train.health.config import HealthConfig
from banyan.train.health.signals import SIGNALS

SOURCE = Path(next(iter(health.__path__)))


def test_every_signal_that_is_found_is_explained_and_every_explained_one_is_found() -> None:
    text = "".join(path.read_text("utf-8") for path in SOURCE.glob("*.py") if path.name != "signals.py")
    named = set(re.findall(r'"([a-z]+(?:_[a-z]+)*)"', text)) & set(SIGNALS)
    found = set(re.findall(r'signal="([a-z_]+)"', text))
    assert found <= set(SIGNALS)
    assert named == set(SIGNALS)


@pytest.mark.parametrize(
    "name", ["probe_every", "activation_probe_every", "noise_probe_every", "max_checkpoint_interval"]
)
def test_intervals_must_be_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=f"train.health.{name}=0"):
        HealthConfig(**{name: 0})
