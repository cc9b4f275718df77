import inspect

import pytest

from banyan.core import errors
from banyan.core.errors import BanyanError

ALL = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, BanyanError)]


def test_the_tree_at_the_top_of_the_module_names_every_error_and_its_exit_code() -> None:
    tree = errors.__doc__ or ""
    for error in ALL:
        line = next(
            line for line in tree.splitlines() if error.__name__ in line.split() or f" {error.__name__} " in line
        )
        assert f" {error.exit_code} " in line, error.__name__


@pytest.mark.parametrize("error", [e for e in ALL if e is not BanyanError], ids=lambda e: e.__name__)
def test_every_error_refines_a_built_in_one(error: type[BanyanError]) -> None:
    assert any(
        base.__module__ == "builtins" and base not in (Exception, BaseException, object) for base in error.__mro__
    )
