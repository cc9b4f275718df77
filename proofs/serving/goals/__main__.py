"""`python -m proofs.serving.goals`: try what has not been tried yet of the goals of docs/proofs/serving-goals.md."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from proofs.evidence import Cell
from proofs.matrix_command import Matrix, run_matrix
from proofs.runner import OpenBench
from proofs.source_copy import ROOT


def _load() -> tuple[Sequence[Cell], OpenBench]:
    from proofs.serving.goals.bench import open_bench  # from the copy, as everything that is tried
    from proofs.serving.goals.matrix import CELLS

    return CELLS, open_bench


MATRIX = Matrix(
    module="proofs.serving.goals",
    results=ROOT / "runs/proofs/serving",
    page=ROOT / "docs/proofs/serving-goals.md",
    record=ROOT / "docs/proofs/serving-goals.json",
    begin="<!-- written by make proof-goals -->",
    end="<!-- end -->",
    load=_load,
)

if __name__ == "__main__":
    sys.exit(run_matrix(MATRIX))
