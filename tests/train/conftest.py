"""What the tests of whole runs share."""

import pytest


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out loss.png, which takes longer to draw than a tiny run to train."""
    monkeypatch.setattr("banyan.train.loss_plot.draw_losses", lambda run_directory, task_names: None)
