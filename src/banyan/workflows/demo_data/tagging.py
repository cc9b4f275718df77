"""tagging: a line of code → BIO tags of its names, parameters, strings, types …, {"text", "tokens", "tags"}.

The truth comes from `ast` (what a name is) and `tokenize` (strings and numbers); the line is cut into the same units
that a tagging task cuts a user's text into, so that a line typed later looks like the lines that were learned.
"""

from __future__ import annotations

import ast
import builtins
import io
import random
import re
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from banyan.core.types import Row
from banyan.tasks.units import split_units
from banyan.workflows.demo_data.library import FunctionNode, LibraryModule

_SHORTEST, _LONGEST = 8, 100  # characters of a line
_MIN_UNITS, _MAX_UNITS = 3, 40
_LINES_PER_MODULE = 40

_HEAD = re.compile(r"\s*(def|async|class|@|import|from|\w+:) ?")  # up to half of the lines: rich in names and types
_BUILTIN_CLASSES = frozenset(name for name, value in vars(builtins).items() if isinstance(value, type))


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A stretch of one line that is something, in characters of the file's line, end exclusive."""

    line: int
    start: int
    end: int
    label: str


def tagging_rows(modules: Sequence[LibraryModule], *, generator: random.Random) -> list[Row]:
    """Return different lines of the modules with their tags, up to forty a module, mixed."""
    rows: dict[str, Row] = {}
    for module in modules:
        for row in _lines_of(module, generator):
            rows.setdefault(row["text"], row)
    mixed = list(rows.values())
    generator.shuffle(mixed)
    return mixed


def _lines_of(module: LibraryModule, generator: random.Random) -> Iterator[Row]:
    lines = module.text.splitlines()
    nodes = list(_walk(module.tree))
    numbers = sorted(number for number in set(_whole_lines(nodes)) if _is_usable(lines[number - 1]))
    heads = [number for number in numbers if _HEAD.match(lines[number - 1])]
    chosen = generator.sample(heads, min(_LINES_PER_MODULE // 2, len(heads)))
    others = [number for number in numbers if number not in chosen]
    chosen = sorted(chosen + generator.sample(others, min(_LINES_PER_MODULE - len(chosen), len(others))))
    marks: dict[int, list[Mark]] = {number: [] for number in chosen}
    for mark in _Marker(nodes).marks():
        if mark.line in marks:
            marks[mark.line].append(mark)
    for number in chosen:
        row = _tagged_line(lines[number - 1], marks[number])
        if row is not None:
            yield row | {"module": module.name}


def _whole_lines(nodes: Iterable[ast.AST]) -> Iterator[int]:
    """Yield the numbers of lines that hold a whole simple statement, a decorator, or the head of a compound one."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from (item.lineno for item in node.decorator_list if item.lineno == item.end_lineno)
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = _first_line(body[0]) - 1 if body else node.end_lineno
            if node.lineno == last and not _is_docstring(node):
                yield node.lineno


def _first_line(node: ast.stmt) -> int:
    """Return the line a statement begins on, its decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_usable(line: str) -> bool:
    text = line.strip()
    return line.isascii() and text.isprintable() and _SHORTEST <= len(text) <= _LONGEST and "\t" not in line


def _tagged_line(line: str, marks: Iterable[Mark]) -> Row | None:
    """Return the line without its indentation and comment, in units, each with its tag."""
    indent = len(line) - len(line.lstrip())
    literals = _literals(line[indent:])
    if literals is None:
        return None
    spans, end = literals
    text = line[indent : indent + end]
    inside = [(start, stop) for start, stop, _ in spans]
    spans += [
        (mark.start - indent, mark.end - indent, mark.label)
        for mark in marks
        if not any(start <= mark.start - indent < stop for start, stop in inside)
    ]
    units = split_units(text)
    if not _MIN_UNITS <= len(units) <= _MAX_UNITS or not spans:
        return None
    tags = ["O"] * len(units)
    for start, stop, label in sorted(spans, key=lambda span: span[0] - span[1]):  # the longest first
        members = [index for index, unit in enumerate(units) if start <= unit.start and unit.end <= stop]
        if members and all(tags[index] == "O" for index in members):
            for index in members:
                tags[index] = f"{'B' if index == members[0] else 'I'}-{label}"
    return {"text": text, "tokens": [text[unit.start : unit.end] for unit in units], "tags": tags}


def _literals(text: str) -> tuple[list[tuple[int, int, str]], int] | None:
    """Return the strings and numbers of one line and where its code ends; None if it is no line of its own."""
    spans: list[tuple[int, int, str]] = []
    end = depth = opened = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text + "\n").readline):
            kind = tokenize.tok_name[token.type]
            if kind in ("FSTRING_START", "TSTRING_START"):  # Python 3.12 and later take f-strings apart
                opened = token.start[1] if depth == 0 else opened
                depth += 1
            elif kind in ("FSTRING_END", "TSTRING_END"):
                depth -= 1
                spans += [(opened, token.end[1], "string")] if depth == 0 else []
            elif kind in ("STRING", "NUMBER") and depth == 0:
                spans.append((token.start[1], token.end[1], kind.lower()))
            if token.start[0] == 1 and kind not in ("COMMENT", "NEWLINE", "NL", "ENDMARKER", "INDENT", "DEDENT"):
                end = max(end, token.end[1])
    except (tokenize.TokenError, SyntaxError):
        return None
    return spans, end


class _Marker:
    """Says what the names of a module are."""

    def __init__(self, nodes: Sequence[ast.AST]) -> None:
        self._nodes = nodes
        self._classes = _BUILTIN_CLASSES | {node.name for node in nodes if isinstance(node, ast.ClassDef)}
        self._modules = {
            alias.asname or alias.name.partition(".")[0]
            for node in nodes
            if isinstance(node, ast.Import)
            for alias in node.names
        }

    def marks(self) -> Iterator[Mark]:
        """Yield every mark; where two overlap the longer one counts."""
        for node in self._nodes:
            yield from self._marks_of(node)

    def _marks_of(self, node: ast.AST) -> Iterator[Mark]:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _definition_marks(node)
            case ast.ClassDef():
                yield from _name_after(node, "class ", "class")
                yield from (_node_mark(item, "decorator") for item in _decorators(node))
            case ast.arg():
                yield Mark(
                    line=node.lineno, start=node.col_offset, end=node.col_offset + len(node.arg), label="parameter"
                )
                yield from _annotation(node.annotation)
            case ast.AnnAssign():
                yield from _annotation(node.annotation)
            case ast.keyword() if node.arg:
                yield Mark(
                    line=node.lineno, start=node.col_offset, end=node.col_offset + len(node.arg), label="parameter"
                )
            case ast.Call():
                yield from self._called(node.func)
            case ast.Attribute():
                yield _last_part(node, "attribute")
            case ast.Name():
                yield from self._named(node)
            case ast.Import():
                yield from (_node_mark(alias, "module", len(alias.name)) for alias in node.names)
            case ast.ImportFrom() if node.module and not node.level:
                start = node.col_offset + len("from ")
                yield Mark(line=node.lineno, start=start, end=start + len(node.module), label="module")

    def _called(self, function: ast.expr) -> Iterator[Mark]:
        if isinstance(function, ast.Attribute):
            yield _last_part(function, "method")
        elif isinstance(function, ast.Name):
            yield _node_mark(function, "class" if function.id in self._classes else "function")

    def _named(self, node: ast.Name) -> Iterator[Mark]:
        if node.id in self._classes:
            yield _node_mark(node, "class")
        elif node.id in self._modules:
            yield _node_mark(node, "module")


def _walk(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield all nodes, callers before what they call; f-strings are left closed (Python 3.11 misplaces their parts)."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.JoinedStr):
            waiting.extend(ast.iter_child_nodes(node))


def _definition_marks(node: FunctionNode) -> Iterator[Mark]:
    keyword = "async def " if isinstance(node, ast.AsyncFunctionDef) else "def "
    yield from _name_after(node, keyword, "function")
    yield from (_node_mark(item, "decorator") for item in _decorators(node))
    yield from _annotation(node.returns)


def _name_after(node: FunctionNode | ast.ClassDef, keyword: str, label: str) -> Iterator[Mark]:
    start = node.col_offset + len(keyword)
    yield Mark(line=node.lineno, start=start, end=start + len(node.name), label=label)


def _decorators(node: FunctionNode | ast.ClassDef) -> list[ast.expr]:
    return [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]


def _annotation(node: ast.expr | None) -> Iterator[Mark]:
    if node is not None and node.lineno == node.end_lineno:
        yield _node_mark(node, "type")


def _last_part(node: ast.Attribute, label: str) -> Mark:
    end = node.end_col_offset or 0
    return Mark(line=node.end_lineno or 0, start=end - len(node.attr), end=end, label=label)


def _node_mark(node: ast.expr | ast.alias, label: str, length: int | None = None) -> Mark:
    end = node.col_offset + length if length is not None else node.end_col_offset or 0
    return Mark(line=node.lineno, start=node.col_offset, end=end, label=label)
