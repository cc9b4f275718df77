"""What the tests of whole runs share."""

import pytest


@pytest.fixture
def light_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out loss.png and waiting for the disk, which take longer than a tiny run takes to train."""
    monkeypatch.setattr("banyan.train.loss_plot.draw_losses", lambda run_directory, **_: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
