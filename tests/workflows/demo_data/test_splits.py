from __future__ import annotations

from collections import Counter
from pathlib import Path

from banyan.workflows.demo_data.library import read_library
from banyan.workflows.demo_data.splits import Split, split_modules, split_of_entry


def test_about_a_tenth_of_many_entries_is_held_out_twice() -> None:
    counts = Counter(split_of_entry(f"entry {index}") for index in range(5_000))
    assert 420 < counts[Split.TEST] < 580
    assert 420 < counts[Split.VALIDATION] < 580


def test_the_split_does_not_depend_on_the_order_of_the_modules(library: Path) -> None:
    modules = read_library(library)
    sizes = {module.name: len(module.name) for module in modules}
    assert split_modules(modules, sizes) == split_modules(modules[::-1], sizes)


def test_held_out_parts_of_an_area_hold_about_a_tenth_of_its_definitions(library: Path) -> None:
    modules = read_library(library)
    sizes = dict.fromkeys((module.name for module in modules), 9)
    splits = split_modules(modules, sizes)
    for area, count in Counter(module.area for module in modules).items():
        held_out = Counter(splits[module.name] for module in modules if module.area == area)
        for split in (Split.TEST, Split.VALIDATION):
            assert abs(held_out[split] - count / 10) <= 0.5


def test_a_module_that_is_most_of_its_area_is_learned_from(library: Path) -> None:
    modules = read_library(library)
    giants = {"shutil", "csv", "socket", "heapq"}
    sizes = {module.name: 1_000 if module.name in giants else 1 for module in modules}
    splits = split_modules(modules, sizes)
    assert all(splits[name] is Split.TRAIN for name in giants)
