import inspect

import pytest

from banyan.workflows.demo_data.library import LibraryModule, definitions_of, parse_quietly
from banyan.workflows.demo_data.signatures import parameters_of, signature_text


# The same functions twice: as Python knows them, and as the text of this file.
# fmt: off
def nothing(): "x"
def positional(first, second=2, /, third=(1, 2)): "x"
def keyword(first, *, second, third="a, b"): "x"
def variable(*args: int, key=None, **kwargs: str): "x"
def annotated(first: dict[str, int], second: int | None = None): "x"
# fmt: on


@pytest.mark.parametrize("function", [nothing, positional, keyword, variable, annotated], ids=lambda f: f.__name__)
def test_a_signature_is_written_as_python_writes_it(function) -> None:
    text = inspect.getsource(function)
    (definition,) = definitions_of(LibraryModule(name="m", text=text, tree=parse_quietly(text)))
    expected = str(inspect.signature(function))
    assert signature_text(definition) == f"{function.__name__}{expected}"
    assert [parameter.name for parameter in parameters_of(definition)] == list(inspect.signature(function).parameters)


def test_a_method_hides_its_self_and_a_class_shows_what_it_is_made_with() -> None:
    text = (
        "class A:\n  'x'\n  def __init__(self, a=1): 'x'\n  def m(self, /, b): 'x'\n  @staticmethod\n  def s(c): 'x'\n"
    )
    found = definitions_of(LibraryModule(name="m", text=text, tree=parse_quietly(text)))
    assert [signature_text(d) for d in found] == ["A(a=1)", "A.__init__(a=1)", "A.m(b)", "A.s(c)"]
