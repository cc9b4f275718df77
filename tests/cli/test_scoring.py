"""What `banyan evaluate` prints of the scores."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from banyan import __version__

Run = Callable[..., Any]


def test_scores_are_signed_by_their_scorers(banyan: Run, model: Path) -> None:
    answer = banyan("evaluate", model, "--task", "tagging", "--max-examples", 3, "--json").answer
    assert answer["banyan"] == __version__
    assert "version:" in answer["tasks"]["tagging"]["signatures"]["f1"]
