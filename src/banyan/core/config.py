"""The one configuration route: YAML (or a mapping) → a strict, frozen config object.

A config class is written with `@config`. An unknown key is an error that names file, line and the nearest key; a
recipe may name a parent with `extends: other.yaml`; any key can be set as `path.to.key=value`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast, dataclass_transform, get_args, get_type_hints

import yaml
from pydantic import AliasChoices, ConfigDict, Field, TypeAdapter, ValidationError

from banyan.core.errors import BanyanError, ConfigError, UnknownNameError
from banyan.core.files import atomic_write_text, read_text
from banyan.core.registry import did_you_mean

C = TypeVar("C")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(dataclasses.field,))
def config(cls: type[C]) -> type[C]:
    """Make a class a frozen, keyword-only dataclass that refuses unknown keys when it is read from a recipe."""
    made = dataclass(frozen=True, kw_only=True)(cls)
    made.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    return made


def renamed(name: str, *, before: str) -> Any:
    """Annotate a field whose key had another name before: what earlier versions saved with a run is still read."""
    return Field(validation_alias=AliasChoices(name, before))


@cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def config_from_mapping(cls: type[C], mapping: Mapping[str, Any], *, source: str = "config") -> C:
    """Build a config object from plain values.

    Raises: UnknownNameError for a key the class does not have; ConfigError for a value it cannot take.
    """
    try:
        return cast(C, _adapter(cast(Hashable, cls)).validate_python(mapping))
    except ValidationError as error:
        raise _as_config_error(error, cls, source=source, lines={}) from error


def config_to_mapping(value: Any, *, with_defaults: bool = True) -> Any:
    """Return a config as plain values (dicts, lists, numbers, strings), ready for YAML or JSON.

    Without defaults only what differs from them is told: the same for versions of the program with more keys.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = [(f, getattr(value, f.name)) for f in dataclasses.fields(value) if f.init]
        told = [(f.name, item) for f, item in own if with_defaults or item != _default_of(f)]
        return {name: config_to_mapping(item, with_defaults=with_defaults) for name, item in told}
    if isinstance(value, Mapping):
        return {str(key): config_to_mapping(item, with_defaults=with_defaults) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [config_to_mapping(item, with_defaults=with_defaults) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    return value


def _default_of(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def read_config(cls: type[C], path: Path, *, overrides: Sequence[str] = ()) -> C:
    """Read a YAML recipe, apply its parents and the overrides (`key.path=value`), and check every key.

    Raises: FileError if a file is missing; ConfigError with file and line for a key or value that cannot be used.
    """
    mapping = read_mapping(path)
    for override in overrides:
        apply_override(mapping, override)
    try:
        return cast(C, _adapter(cast(Hashable, cls)).validate_python(mapping))
    except ValidationError as error:
        raise _as_config_error(error, cls, source=str(path), lines=_lines_of(path)) from error


def write_config(path: Path, value: Any) -> None:
    """Save a config so that `read_config` gives the same object again."""
    atomic_write_text(path, yaml.safe_dump(config_to_mapping(value), sort_keys=False, allow_unicode=True))


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML mapping and lay it over the parent it `extends`, if any.

    Raises: ConfigError if the file is not a YAML mapping, or its parents form a circle.
    """
    return _read_with_parents(path, seen=())


def _read_with_parents(path: Path, *, seen: tuple[Path, ...]) -> dict[str, Any]:
    real_path = Path(os.path.realpath(path))  # Path.resolve stumbles over a link that points to itself
    if real_path in seen:
        raise ConfigError(f"{path} extends itself through {' → '.join(p.name for p in seen)}; remove one `extends`.")
    try:
        mapping = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        line = error.problem_mark.line + 1 if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark else 1
        problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else error
        raise ConfigError(f"{path}:{line} is not valid YAML: {problem}.") from error
    if not isinstance(mapping, dict):
        kind = "nothing" if mapping is None else type(mapping).__name__
        raise ConfigError(f"{path} must be a YAML mapping (key: value), got {kind}.")
    parent = mapping.pop("extends", None)
    if parent is None:
        return mapping
    base = _read_with_parents(path.parent / str(parent), seen=(*seen, real_path))
    return merge(base, mapping)


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over` laid over it, mapping by mapping; lists are replaced whole."""
    result = dict(base)
    for key, value in over.items():
        both_are_mappings = isinstance(value, Mapping) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if both_are_mappings else value
    return result


def apply_override(mapping: dict[str, Any], override: str) -> None:
    """Set one value in place, written `path.to.key=value`; list items go by number or by their `name`.

    Raises: ConfigError if the text has no `=` or the path runs through a plain value.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"override {override!r} is not of the form key=value; for example train.steps=100.")
    keys = path.split(".")
    place: Any = mapping
    for key in keys[:-1]:
        place = _step_into(place, key, path=path)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: the value is not valid YAML.") from error
    if isinstance(place, list):
        place[_list_index(place, keys[-1], path=path)] = value
    elif isinstance(place, dict):
        place[keys[-1]] = value
    else:
        raise ConfigError(f"override {path}: {keys[-2]} holds a plain value and has no key {keys[-1]!r}.")


def _step_into(place: Any, key: str, *, path: str) -> Any:
    if isinstance(place, list):
        return place[_list_index(place, key, path=path)]
    if isinstance(place, dict):
        if place.get(key) is None:
            place[key] = {}
        return place[key]
    raise ConfigError(f"override {path}: {key!r} lies below a plain value.")


def _list_index(items: list[Any], key: str, *, path: str) -> int:
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if key in names:
        return names.index(key)
    if key.isdigit() and int(key) < len(items):
        return int(key)
    raise UnknownNameError(f"override {path}: no item {key!r}{did_you_mean(key, [n for n in names if n])}")


def _lines_of(path: Path) -> dict[tuple[Any, ...], int]:
    """Map every key path of a YAML file to its line."""
    lines: dict[tuple[Any, ...], int] = {}

    def walk(node: yaml.Node, at: tuple[Any, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[(*at, key.value)] = key.start_mark.line + 1
                walk(value, (*at, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                lines[(*at, index)] = item.start_mark.line + 1
                walk(item, (*at, index))

    root = yaml.compose(read_text(path), Loader=yaml.SafeLoader)
    if root is not None:
        walk(root, ())
    return lines


def _as_config_error(
    error: ValidationError, cls: type[Any], *, source: str, lines: Mapping[tuple[Any, ...], int]
) -> BanyanError:
    problems = error.errors()
    first = next((p for p in problems if p["type"] == "unexpected_keyword_argument"), problems[0])
    is_unknown = first["type"] == "unexpected_keyword_argument"
    # The last part of an unknown key is what somebody wrote, however much it looks like the name of a type.
    end = len(first["loc"]) - is_unknown
    location = (*(part for part in first["loc"][:end] if not _is_type_name(part)), *first["loc"][end:])
    name = ".".join(str(part) for part in location)
    where = f"{source}:{lines[location]}" if location in lines else source
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, BanyanError):
        return type(cause)(f"{where}: {cause.message}", hint=cause.hint)
    if is_unknown:
        guess = did_you_mean(str(location[-1]), _keys_at(cls, location[:-1]))
        return UnknownNameError(f"{where}: unknown key {name!r}{guess}")
    if first["type"] == "missing":
        return ConfigError(f"{where}: key {name!r} is required and has no value.")
    message = first["msg"].removeprefix("Value error, ")
    return ConfigError(f"{where}: {name}={first['input']!r} cannot be used: {message[0].lower()}{message[1:]}.")


def _is_type_name(part: Any) -> bool:
    return isinstance(part, str) and (part[:1].isupper() or "[" in part)


def _keys_at(cls: Any, location: tuple[Any, ...]) -> list[str]:
    """Return the keys of the config class that lies at a key path, as far as its annotations tell."""
    current = [cls]
    for part in location:
        current = [found for owner in current for found in _classes_below(owner, part)]
    return [field.name for owner in current for field in dataclasses.fields(owner) if field.init]


def _classes_below(owner: Any, part: Any) -> list[Any]:
    hint = get_type_hints(owner).get(part) if isinstance(part, str) else owner
    found, queue = [], [hint]
    while queue:
        item = queue.pop()
        if dataclasses.is_dataclass(item):
            found.append(item)
        queue.extend(get_args(item))
    return found
