"""What the tests of whole runs share."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from banyan.testing.own_modules import module_with


@pytest.fixture
def light_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out loss.png and waiting for the disk, which take longer than a tiny run takes to train."""
    monkeypatch.setattr("banyan.train.loss_plot.draw_losses", lambda run_directory, **_: None)
    monkeypatch.setattr("banyan.core.files.os", module_with(os, fsync=lambda descriptor: None))


@pytest.fixture
def eager_backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Trace as the compiler does, but generate no code; counts the graphs."""
    graphs: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        graphs.append(1)
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: real(function, backend=backend, **options))
    yield graphs
    torch._dynamo.reset()
