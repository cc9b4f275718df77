"""Who learns and who is tested: modules by area, locale entries and pictures by a hash of their name.

The split does not depend on the seed, so that two runs of the demo are tested on the same modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from banyan.workflows.demo_data.hashing import stable_hash
from banyan.workflows.demo_data.library import LibraryModule

_HELD_OUT = 0.1  # of all, for validation and again for test


class Split(StrEnum):
    """The three parts of a data set."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def split_of_entry(key: str) -> Split:
    """Return the split of one entry by its key alone: 80 % train, 10 % validation, 10 % test."""
    share = stable_hash(key) / 2**64
    if share < _HELD_OUT:
        return Split.TEST
    return Split.VALIDATION if share < 2 * _HELD_OUT else Split.TRAIN


def split_modules(modules: Iterable[LibraryModule], sizes: Mapping[str, int]) -> dict[str, Split]:
    """Give every module its split, so that each area has about 10 % of its definitions in validation and in test.

    `sizes` is the number of documented definitions of each module. Within an area modules come in the order of their
    hash; one that would overfill a held-out part goes to the next.
    """
    by_area: dict[str, list[str]] = {}
    for module in modules:
        by_area.setdefault(module.area or "", []).append(module.name)
    splits: dict[str, Split] = {}
    for names in by_area.values():
        splits |= _split_area(names, sizes)
    return splits


def _split_area(names: list[str], sizes: Mapping[str, int]) -> dict[str, Split]:
    weights = {name: sizes[name] + 1 for name in names}  # a module without docstrings still holds code
    target = _HELD_OUT * sum(weights.values())
    filled = {Split.TEST: 0.0, Split.VALIDATION: 0.0}
    splits: dict[str, Split] = {}
    for name in sorted(names, key=stable_hash):
        weight = weights[name]
        splits[name] = next((part for part in filled if filled[part] + weight / 2 <= target), Split.TRAIN)
        if splits[name] in filled:
            filled[splits[name]] += weight
    return splits
