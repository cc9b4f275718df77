"""What the proof of several processes says of what it found."""

from __future__ import annotations

from typing import Any

from proofs.distributed.learning import LIMITS, OPTIMIZERS
from proofs.distributed.page import FAILS, page
from proofs.distributed.trials import LAYOUTS, READ_BY


def _result(layouts: list[tuple[int, int, int]], *, difference: float) -> dict[str, Any]:
    rows = [
        {"sizes": list(sizes), "precision": precision, "optimizer": optimizer, "difference": difference}
        for sizes in layouts
        for precision in LIMITS
        for optimizer in OPTIMIZERS
    ]
    return {"date": "2026-01-01", "rows": rows}


def test_a_difference_beyond_the_limit_of_its_precision_fails() -> None:
    compared = {n: _result(layouts, difference=1e-15) for n, layouts in LAYOUTS.items()}
    resumed = {n: _result(layouts, difference=1e-8 if n == 4 else 1e-15) for n, layouts in READ_BY.items()}
    before, after = page(compared, resumed).split("## Saved by two")
    assert FAILS not in before
    failed = [line for line in after.splitlines() if FAILS in line]
    assert [line.split(" | ")[1] for line in failed] == ["1 × 4 × 1", "1 × 4 × 1", "2 × 2 × 1", "2 × 2 × 1"]
    assert all("1.0e-08" in line for line in failed)
