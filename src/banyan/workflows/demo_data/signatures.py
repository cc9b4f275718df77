"""Signatures as text, with the place of every parameter in them."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from banyan.workflows.demo_data.library import Definition, DefinitionNode, FunctionNode


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter of a function, or a bare `*` or `/` between them, which has no name."""

    name: str = ""
    marker: str = ""  # "", "*", "**" or "/"
    annotation: str = ""
    default: str = ""

    @property
    def text(self) -> str:
        """The parameter as it stands in a signature."""
        typed = f"{self.marker}{self.name}" + (f": {self.annotation}" if self.annotation else "")
        if not self.default:
            return typed
        return f"{typed} = {self.default}" if self.annotation else f"{typed}={self.default}"


def function_of(node: DefinitionNode) -> FunctionNode | None:
    """Return the function that is called: the function itself, or a class's `__init__` if it has one."""
    if not isinstance(node, ast.ClassDef):
        return node
    return next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)


def parameters_of(definition: Definition) -> list[Parameter]:
    """Return the parameters in order, without the `self` or `cls` of a method."""
    return [part for part in signature_parts(definition) if part.name]


def signature_parts(definition: Definition) -> list[Parameter]:
    """Return what stands between the parentheses: the parameters, and bare `*` and `/`."""
    function = function_of(definition.node)
    if function is None:
        return []
    parts = _parts(function.args)
    is_bound = definition.owner is not None or isinstance(definition.node, ast.ClassDef)
    if is_bound and parts and parts[0].name in ("self", "cls"):
        parts = parts[1:]
    return parts[1:] if parts and parts[0].marker == "/" else parts


def _parts(arguments: ast.arguments) -> list[Parameter]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    found = [_parameter(argument, default) for argument, default in zip(positional, defaults, strict=True)]
    if arguments.posonlyargs:
        found.insert(len(arguments.posonlyargs), Parameter(marker="/"))
    if arguments.vararg:
        found.append(_parameter(arguments.vararg, None, marker="*"))
    elif arguments.kwonlyargs:
        found.append(Parameter(marker="*"))
    found += [
        _parameter(argument, default)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        found.append(_parameter(arguments.kwarg, None, marker="**"))
    return found


def _parameter(argument: ast.arg, default: ast.expr | None, *, marker: str = "") -> Parameter:
    return Parameter(
        name=argument.arg,
        marker=marker,
        annotation=ast.unparse(argument.annotation) if argument.annotation else "",
        default=ast.unparse(default) if default is not None else "",
    )


def signature_text(definition: Definition) -> str:
    """Return the name with its parameters, such as TextWrapper.wrap(text)."""
    inside = ", ".join(part.text for part in signature_parts(definition))
    return f"{definition.local_name}({inside})"
