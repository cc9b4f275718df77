"""Which runs make up the proof: data sets × numbers of examples × ways to learn × seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SEEDS = (0, 1, 2)
SIZES: tuple[int | None, ...] = (500, 100, None)  # training examples; None: all. The goal's size comes first.
SEARCHED_RATES = (0.3, 1.0, 3.0)  # times the default learning rates: what the run from scratch may choose from


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """A supervised data set of the catalog and how long a run on it is."""

    name: str
    kind: str
    labels: tuple[str, ...] = ()  # a hundred examples need not show all of them
    raw_text: tuple[str, ...] = ()  # catalog names of the domain's text, read without its labels
    rows_per_step: int  # of 256 tokens
    steps: dict[int | None, int] = field(default_factory=dict)  # by number of examples


DATA_SETS = (
    DataSet(
        name="trec",
        kind="classification",
        labels=("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"),
        raw_text=("trec",),
        rows_per_step=4,
        steps={100: 60, 500: 120, None: 240},
    ),
    DataSet(
        name="chnsenticorp_hotel",
        kind="classification",
        labels=("negative", "positive"),
        raw_text=("chnsenticorp_hotel", "zh_shopping_reviews"),
        rows_per_step=8,
        steps={100: 50, 500: 100, None: 160},
    ),
    DataSet(
        name="wnut17",
        kind="tagging",
        raw_text=("wnut17",),
        rows_per_step=4,
        steps={100: 60, 500: 120, None: 240},
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One run: what is learned, from how much, in which way."""

    data: DataSet
    size: int | None
    method: str
    seed: int

    @property
    def name(self) -> str:
        """The file its result is kept under."""
        return f"{self.data.name}-{self.size or 'all'}-{self.method}-{self.seed}"

    @property
    def steps(self) -> int:
        """Updates; the same for every way to learn."""
        return self.data.steps[self.size]


def cells(methods: tuple[str, ...]) -> Iterator[Cell]:
    """Return every run, those of the goal's size first, all ways to learn of one seed side by side."""
    for size in SIZES:
        for seed in SEEDS:
            for data in DATA_SETS:
                yield from (Cell(data=data, size=size, method=method, seed=seed) for method in methods)


def as_row(cell: Cell, **found: Any) -> dict[str, Any]:
    """Return a result as it is kept."""
    return {"data": cell.data.name, "size": cell.size, "method": cell.method, "seed": cell.seed, **found}
