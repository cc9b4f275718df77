"""All rows of the matrix, in order."""

from __future__ import annotations

from proofs.training import damage, data, disks, kills, numbers, ranks, times

CELLS = sorted(
    (*kills.CELLS, *damage.CELLS, *disks.CELLS, *numbers.CELLS, *data.CELLS, *ranks.CELLS, *times.CELLS),
    key=lambda cell: cell.number,
)
