"""A safe part of JSON Schema as a grammar: every text of the grammar fits the schema.

Objects are written with their listed keys, in their order. What a grammar of this size cannot promise (patterns, ranges
without end, `not`) is refused by name, never ignored; a schema is bounded before anything is built from it.
Source: JSON Schema 2020-12; the caps are those that other servers came to after schemas had stopped them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from banyan.core.errors import InputError
from banyan.infer.forms.grammar import Grammar, GrammarBuilder, Sequence_
from banyan.infer.forms.json_text import MAX_DEPTH, JsonTexts

MAX_SCHEMA_BYTES = 16_384
MAX_NODES = 1_000  # subschemas, each counted as often as it is referred to
MAX_COUNT = 1_024  # characters of a string, items of an array, values of an enumeration

_SAID_ASIDE = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "format"}
_SAID_ASIDE |= {"readOnly", "writeOnly", "strict", "$defs", "definitions"}
_KEYWORDS: dict[str, set[str]] = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength"},
    "integer": {"minimum", "maximum"},
    "number": set(),
    "boolean": set(),
    "null": set(),
}
_INSTEAD = ("$ref", "const", "enum", "anyOf", "allOf")  # say all about a value, so little may stand beside them
_EVERYWHERE = {"type", *_INSTEAD}
_HAS_TYPE: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: type(value) is int or (isinstance(value, float) and value.is_integer()),
    "number": lambda value: type(value) in (int, float),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def schema_grammar(text: str) -> Grammar:
    """Return the grammar of the texts that fit a schema.

    Raises: InputError in one line for what is no schema, too large, or says something that cannot be promised.
    """
    if len(text.encode("utf-8")) > MAX_SCHEMA_BYTES:
        raise InputError(f"the schema has more than {MAX_SCHEMA_BYTES} bytes.")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("the schema is not JSON.") from error
    try:
        return _Compiler(schema).grammar()
    except InputError:
        raise
    except ValueError as error:
        raise InputError("the schema holds a value that JSON cannot write.") from error


class _Compiler:
    """Turns the nodes of one schema into rules."""

    def __init__(self, schema: Any) -> None:
        self._root = schema
        self._build = GrammarBuilder()
        self._texts = JsonTexts(self._build)
        self._num_nodes = 0
        self._defined: dict[tuple[str, int], tuple[Sequence_, int]] = {}  # by name and depth: rule, number of nodes

    def grammar(self) -> Grammar:
        return self._build.build(self._value(self._root, depth=0, inside=()))

    def _value(self, node: Any, *, depth: int, inside: tuple[str, ...]) -> Sequence_:
        """Return what fits a node; `inside` are the references that led here."""
        self._num_nodes += 1
        if self._num_nodes > MAX_NODES:
            raise InputError(f"the schema has more than {MAX_NODES} nodes.")
        if depth > MAX_DEPTH or len(inside) > 2 * MAX_DEPTH:
            raise InputError(f"the schema is nested more than {MAX_DEPTH} deep.")
        if node is True or node == {}:
            return (self._texts.anything(depth=MAX_DEPTH - depth),)
        if not isinstance(node, dict):
            raise InputError("a schema is an object or true.")
        self._check_keywords(node)
        _check_alone(node)
        if "$ref" in node:
            return self._definition(node["$ref"], depth=depth, inside=inside)
        return self._by_keyword(node, depth=depth, inside=inside)

    def _definition(self, name: Any, *, depth: int, inside: tuple[str, ...]) -> Sequence_:
        """Return what fits a definition; it is worked out once for each depth, and counts as often as it is named."""
        if name in inside:
            raise InputError("the schema refers to itself; only schemas with an end are supported here.")
        definition = self._referred(name)
        if (name, depth) in self._defined:
            known, num_nodes = self._defined[name, depth]
            self._num_nodes += num_nodes
            return known
        before = self._num_nodes
        # One symbol, however long it is, so that naming it again costs as much as a word.
        found = (self._build.either(self._value(definition, depth=depth, inside=(*inside, name))),)
        self._defined[name, depth] = (found, self._num_nodes - before)
        return found

    def _by_keyword(self, node: Mapping[str, Any], *, depth: int, inside: tuple[str, ...]) -> Sequence_:
        if "const" in node or "enum" in node:
            values = _listed([node["const"]] if "const" in node else node["enum"], "enum")
            return self._constants([value for value in values if _is_of(value, node)])
        for name in ("anyOf", "allOf"):
            if name in node:
                ways = _listed(node[name], name)
                if name == "allOf" and len(ways) > 1:
                    raise InputError("allOf of more than one schema is not supported here.")
                return self._either([self._value(way, depth=depth + 1, inside=inside) for way in ways])
        kinds = _kinds(node)
        if not kinds:
            return (self._texts.anything(depth=MAX_DEPTH - depth),)
        return self._either([self._of_type(kind, node, depth=depth, inside=inside) for kind in kinds])

    def _of_type(self, kind: Any, node: Mapping[str, Any], *, depth: int, inside: tuple[str, ...]) -> Sequence_:
        texts = self._texts
        match kind:
            case "object":
                return self._object(node, depth=depth, inside=inside)
            case "array":
                low, high = _bounds(node, "minItems", "maxItems")
                return texts.array(
                    self._value(node.get("items", {}), depth=depth + 1, inside=inside), low=low, high=high
                )
            case "string":
                low, high = _bounds(node, "minLength", "maxLength")
                return texts.string(low=low, high=high)
            case "integer":
                return self._integer(node)
            case "number":
                return (texts.number,)
            case "boolean":
                return self._either([texts.constant(True), texts.constant(False)])
            case "null":
                return texts.constant(None)
        raise AssertionError(kind)

    def _object(self, node: Mapping[str, Any], *, depth: int, inside: tuple[str, ...]) -> Sequence_:
        listed, required = node.get("properties"), node.get("required", [])
        if not isinstance(listed, dict | None) or not _are_texts(required):
            raise InputError("properties must be an object, and required an array of texts.")
        if not listed and not required:
            others = node.get("additionalProperties", True)
            if others is False:
                return self._build.text("{}")
            return self._texts.mapping(self._value(others, depth=depth + 1, inside=inside))
        missing = [name for name in required if name not in (listed or {})]
        if missing or listed is None:
            raise InputError(f"required names {json.dumps(missing[0])[:60]}, which properties does not have.")
        values = {name: self._value(own, depth=depth + 1, inside=inside) for name, own in listed.items()}
        return self._texts.record([(name, value, name in required) for name, value in values.items()])

    def _integer(self, node: Mapping[str, Any]) -> Sequence_:
        if "minimum" not in node and "maximum" not in node:
            return (self._texts.integer,)
        low, high = node.get("minimum"), node.get("maximum")
        if type(low) is not int or type(high) is not int or not 0 <= high - low < MAX_COUNT:
            raise InputError(f"integers need both minimum and maximum, with at most {MAX_COUNT} values, or neither.")
        return self._constants(list(range(low, high + 1)))

    def _constants(self, values: Sequence[Any]) -> Sequence_:
        ways = [self._texts.constant(value) for value in values]
        if not ways:
            raise InputError("no value of an enumeration has the type that stands beside it.")
        return self._either(ways)

    def _either(self, ways: Sequence[Sequence_]) -> Sequence_:
        return ways[0] if len(ways) == 1 else (self._build.either(*ways),)

    def _referred(self, name: Any) -> Any:
        place, _, own = name.rpartition("/") if isinstance(name, str) else ("", "", "")
        found = self._root.get(place[2:]) if place in ("#/$defs", "#/definitions") else None
        if not isinstance(found, dict) or own not in found:
            raise InputError(f"$ref {json.dumps(name)[:60]} names nothing in $defs.")
        return found[own]

    def _check_keywords(self, node: Mapping[str, Any]) -> None:
        known = _SAID_ASIDE | _EVERYWHERE
        for kind in _kinds(node):
            known |= _KEYWORDS.get(kind, set())
        if unknown := sorted(set(node) - known):
            raise InputError(f"the keyword {json.dumps(unknown[0])[:60]} is not supported here.")


def _kinds(node: Mapping[str, Any]) -> list[str]:
    """Return the types that a node names, or that its keywords speak of; none: any."""
    given = node.get("type")
    if given is None:
        return [kind for kind, own in _KEYWORDS.items() if own & set(node)][:1]
    kinds = _listed([given] if isinstance(given, str) else given, "type")
    if unknown := [kind for kind in kinds if not isinstance(kind, str) or kind not in _KEYWORDS]:
        raise InputError(f"type {json.dumps(unknown[0])[:40]} is none of {', '.join(_KEYWORDS)}.")
    return kinds


def _check_alone(node: Mapping[str, Any]) -> None:
    """Refuse what would have to hold besides; of constants, the type may be named again."""
    chosen = next((name for name in _INSTEAD if name in node), None)
    allowed = _SAID_ASIDE | {chosen} | ({"type"} if chosen in ("const", "enum") else set())
    if chosen and (others := sorted(set(node) - allowed)):
        raise InputError(f"{others[0]} beside {chosen} is not supported here.")


def _is_of(value: Any, node: Mapping[str, Any]) -> bool:
    """Whether a constant has a type that its node names, if it names any."""
    return "type" not in node or any(_HAS_TYPE[kind](value) for kind in _kinds(node))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _listed(values: Any, name: str) -> list[Any]:
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_COUNT:
        raise InputError(f"{name} must be an array of 1 to {MAX_COUNT} values.")
    return values


def _bounds(node: Mapping[str, Any], low_name: str, high_name: str) -> tuple[int, int | None]:
    low, high = node.get(low_name, 0), node.get(high_name)
    for name, value in ((low_name, low), (high_name, high)):
        if value is not None and (type(value) is not int or not 0 <= value <= MAX_COUNT):
            raise InputError(f"{name} must be an integer between 0 and {MAX_COUNT}.")
    if high is not None and high < low:
        raise InputError(f"{low_name}={low} is above {high_name}={high}.")
    return low, high
