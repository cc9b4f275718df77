"""`python -m proofs.training`: try the faults that have not been tried yet, and write down what was seen."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from proofs.evidence import Cell
from proofs.matrix_command import Matrix, run_matrix
from proofs.runner import OpenBench
from proofs.source_copy import ROOT


def _load() -> tuple[Sequence[Cell], OpenBench]:
    from proofs.training.bench import open_bench  # from the copy, as everything that is tried
    from proofs.training.matrix import CELLS

    return CELLS, open_bench


MATRIX = Matrix(
    module="proofs.training",
    results=ROOT / "runs/proofs/training",
    page=ROOT / "docs/proofs/training.md",
    record=ROOT / "docs/proofs/training.json",
    begin="<!-- written by make proof-training -->",
    end="<!-- end -->",
    load=_load,
)

if __name__ == "__main__":
    sys.exit(run_matrix(MATRIX))
