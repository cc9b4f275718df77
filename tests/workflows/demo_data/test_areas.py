from __future__ import annotations

import sys

from banyan.workflows.demo_data import areas
from banyan.workflows.demo_data.areas import AREAS, area_of


def test_no_module_belongs_to_two_areas() -> None:
    listed = [module for modules in areas._MODULES_OF_AREA.values() for module in modules.split()]
    assert len(set(listed)) == len(listed)


def test_a_module_inside_a_package_belongs_to_the_packages_area() -> None:
    assert area_of("json.decoder") == area_of("json") == "formats"


def test_a_module_that_the_table_does_not_know_has_no_area() -> None:
    assert area_of("somebodys_package.module") is None


def test_nearly_every_public_module_of_this_python_has_an_area() -> None:
    written_in_python = {name for name in sys.stdlib_module_names if not name.startswith("_")} - set(
        sys.builtin_module_names
    )
    known = {name for name in written_in_python if area_of(name)}
    assert len(known) > 0.75 * len(written_in_python)
    assert {area_of(name) for name in known} == set(AREAS)
