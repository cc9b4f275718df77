"""All rows of the matrix, in order."""

from __future__ import annotations

from proofs.serving.goals import (
    canaries,
    conformance,
    disconnects,
    drain,
    frames,
    fuzz,
    hostile,
    isolation,
    kills,
    order,
    outages,
    poison,
    scripts,
    special_tokens,
)

_MODULES = (
    canaries,
    conformance,
    disconnects,
    drain,
    frames,
    fuzz,
    hostile,
    isolation,
    kills,
    order,
    outages,
    poison,
    scripts,
    special_tokens,
)
CELLS = sorted((cell for module in _MODULES for cell in module.CELLS), key=lambda cell: int(cell.number[1:]))
