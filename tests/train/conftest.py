"""What the tests of whole runs share."""

import os

import pytest

from banyan.testing.own_modules import module_with


@pytest.fixture
def light_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out loss.png and waiting for the disk, which take longer than a tiny run takes to train."""
    monkeypatch.setattr("banyan.train.loss_plot.draw_losses", lambda run_directory, **_: None)
    monkeypatch.setattr("banyan.core.files.os", module_with(os, fsync=lambda descriptor: None))
