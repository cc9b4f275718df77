"""What the ranks of one job find out: equal losses however the work is divided, and after it was divided anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import torch.distributed as dist

from banyan.core.process import ProcessPlace
from banyan.train.ranks import ALONE
from proofs.distributed.learning import LIMITS, OPTIMIZERS, STEPS, Learning, Sizes, largest_difference, ranks_of

LAYOUTS: dict[int, list[Sizes]] = {
    2: [(2, 1, 1), (1, 2, 1), (1, 1, 2)],
    4: [(4, 1, 1), (1, 4, 1), (1, 1, 4), (2, 2, 1), (2, 1, 2), (1, 2, 2)],
}
SAVED_AFTER = 25  # steps
SAVED_BY: Sizes = (1, 2, 1)
READ_BY: dict[int, list[Sizes]] = {1: [(1, 1, 1)], 4: [(1, 4, 1), (2, 2, 1)]}
Row: TypeAlias = dict[str, Any]


def compare(place: ProcessPlace) -> list[Row]:
    """Train in every layout of this many ranks, and compare with one process."""
    rows = []
    for kind in _kinds():
        expected = Learning(ALONE, **kind).run(STEPS)
        for sizes in LAYOUTS[place.world_size]:
            found = Learning(ranks_of(place, sizes), **kind).run(STEPS)
            rows.append({"sizes": sizes, **kind, "difference": largest_difference(expected, found)})
    return rows


def save(place: ProcessPlace, folder: Path) -> None:
    """Train for a while, each rank with its part of the weights, and let each write its pieces."""
    for kind in _kinds():
        learning = Learning(ranks_of(place, SAVED_BY, sharded_checkpoints=True), **kind)
        learning.run(SAVED_AFTER)
        writing = learning.division.begin_shards(_shards(folder, kind))
        assert writing is not None, "every rank writes its pieces"
        writing.result()
        if place.is_main:
            _loader_state(folder, kind).write_text(json.dumps(learning.loader.state()), "utf-8")
        dist.barrier()


def go_on(place: ProcessPlace, folder: Path) -> list[Row]:
    """Read the pieces in every layout of this many ranks, and compare with one process that was never interrupted."""
    rows = []
    for kind in _kinds():
        expected = Learning(ALONE, **kind).run(STEPS)[SAVED_AFTER:]
        for sizes in READ_BY[place.world_size]:
            learning = Learning(ranks_of(place, sizes), **kind)
            learning.loader.restore(json.loads(_loader_state(folder, kind).read_text("utf-8")))
            learning.num_steps = SAVED_AFTER
            learning.division.read_shards(_shards(folder, kind))
            found = learning.run(STEPS - SAVED_AFTER)
            rows.append({"sizes": sizes, **kind, "difference": largest_difference(expected, found)})
    return rows


def _kinds() -> Iterator[dict[str, str]]:
    return ({"precision": precision, "optimizer": optimizer} for precision, optimizer in product(LIMITS, OPTIMIZERS))


def _shards(folder: Path, kind: dict[str, str]) -> Path:
    return folder / f"{kind['optimizer']}-{kind['precision']}"


def _loader_state(folder: Path, kind: dict[str, str]) -> Path:
    return _shards(folder, kind).with_suffix(".json")
