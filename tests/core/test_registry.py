import pytest

from banyan.core.errors import UnknownNameError
from banyan.core.registry import Registry


def test_an_unknown_name_suggests_the_nearest_one() -> None:
    registry: Registry[int] = Registry("task")
    registry.add("entailment", 1)
    registry.add("similarity", 2)
    with pytest.raises(UnknownNameError, match="no task 'entailmnt'; did you mean entailment?"):
        registry["entailmnt"]
    assert list(registry) == ["entailment", "similarity"] and registry["similarity"] == 2


def test_a_name_is_given_once() -> None:
    registry: Registry[int] = Registry("task")
    registry.add("a", 1)
    with pytest.raises(ValueError, match="twice"):
        registry.add("a", 2)
