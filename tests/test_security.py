"""What docs/security.md promises of the source, as walks over its syntax trees; and that the tests it names are there.

A rule is a function from one parsed file to the lines that break it. Every rule is run on the whole source, and on a
planted example that it must catch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "banyan"
THREATS = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")

Rule = Callable[[str, ast.Module], Iterator[str]]

SQL_CALLS = {"text", "execute", "exec_driver_sql", "executescript", "executemany"}
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")
FETCHERS = {
    "requests",
    "httpx",
    "aiohttp",
    "urllib3",
    "urllib.request",
    "http.client",
    "ftplib",
    "smtplib",
    "socketserver",
}
SECRET = re.compile(r"(secret|password|key_sha256)$")
SECRET_OF_A_KEY = re.compile(r"(secret|password|digest|token|key_sha256)$")  # where nothing but keys is looked up
LOGGED = {  # fields of log lines that cannot hold what a user wrote; `error` is a place in our code or a store's reason
    "level", "request_id", "endpoint", "code", "error", "reason", "operation", "url", "model", "needs_key", "requests",
    "count", "path", "sha256",
}  # fmt: skip
GUARDS = {"require_scope", "receive"}
NEEDS_NO_SCOPE = {"models", "model", "tasks", "livez", "readyz", "openapi", "page", "asset"}


def name_of(node: ast.AST) -> str:
    """The last name of an expression: execute for connection.execute."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def calls_in(tree: ast.AST) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def sql_is_never_put_together(path: str, tree: ast.Module) -> Iterator[str]:
    """SQL is written here; whatever comes from outside is bound."""
    for call in calls_in(tree):
        if name_of(call.func) not in SQL_CALLS or not call.args:
            continue
        given = call.args[0]
        if isinstance(given, ast.BinOp) or (isinstance(given, ast.Call) and name_of(given.func) in {"format", "join"}):
            yield f"{path}:{call.lineno}: puts SQL together"
        if isinstance(given, ast.JoinedStr):
            parts = [part.value for part in given.values if isinstance(part, ast.FormattedValue)]
            if not all(isinstance(part, ast.Name) and CONSTANT.fullmatch(part.id) for part in parts):
                yield f"{path}:{call.lineno}: puts SQL together"


def a_server_fetches_nothing(path: str, tree: ast.Module) -> Iterator[str]:
    if not path.startswith(("serve/", "store/", "infer/", "runtime/", "tasks/")):
        return
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name in FETCHERS or name.split(".")[0] in FETCHERS:
                yield f"{path}:{node.lineno}: imports {name}"


def secrets_are_compared_in_constant_time(path: str, tree: ast.Module) -> Iterator[str]:
    if not path.startswith(("serve/", "store/", "cli/")):
        return
    names = SECRET_OF_A_KEY if path in ("serve/auth.py", "store/keys.py") else SECRET
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            sides = [node.left, *node.comparators]
            is_column = any(isinstance(side, ast.Attribute) and name_of(side.value).endswith("Row") for side in sides)
            if not is_column and any(names.search(name_of(side)) for side in sides):
                yield f"{path}:{node.lineno}: compares a secret with =="


def log_lines_hold_only_known_fields(path: str, tree: ast.Module) -> Iterator[str]:
    if not path.startswith(("serve/", "store/")):
        return
    for call in calls_in(tree):
        if name_of(call.func) == "log_event":
            for keyword in call.keywords:
                if keyword.arg is not None and keyword.arg not in LOGGED:
                    yield f"{path}:{call.lineno}: logs {keyword.arg}"
        is_logger = isinstance(call.func, ast.Attribute) and name_of(call.func.value) == "logger"
        if is_logger and any(not isinstance(given, ast.Constant) for given in call.args):
            yield f"{path}:{call.lineno}: logs something else than an event"


def every_route_asks_for_a_scope(path: str, tree: ast.Module) -> Iterator[str]:
    if not path.startswith("serve/routes/"):
        return
    for node in tree.body:
        if not isinstance(node, ast.AsyncFunctionDef) or not node.decorator_list or node.name in NEEDS_NO_SCOPE:
            continue
        if not GUARDS & {name_of(call.func) for call in calls_in(node)}:
            yield f"{path}:{node.lineno}: {node.name} asks for no scope"


RULES: list[tuple[Rule, str, str]] = [
    (sql_is_never_put_together, "store/queries.py", 'connection.execute(text(f"SELECT * FROM a WHERE b = {word}"))'),
    (sql_is_never_put_together, "store/queries.py", 'connection.execute("DELETE FROM a WHERE b = " + word)'),
    (sql_is_never_put_together, "store/queries.py", 'connection.execute("DELETE FROM {}".format(word))'),
    (a_server_fetches_nothing, "serve/images.py", "import urllib.request"),
    (a_server_fetches_nothing, "serve/images.py", "from httpx import get"),
    (secrets_are_compared_in_constant_time, "store/keys.py", "found = digest == row.key_sha256"),
    (secrets_are_compared_in_constant_time, "serve/auth.py", "if secret != expected: pass"),
    (secrets_are_compared_in_constant_time, "serve/routes/page.py", "if given.secret == key.secret: pass"),
    (log_lines_hold_only_known_fields, "serve/chat.py", "log_event(logger, 'asked', prompt=prompt)"),
    (log_lines_hold_only_known_fields, "serve/chat.py", "logger.info(f'asked {prompt}')"),
    (every_route_asks_for_a_scope, "serve/routes/new.py", "@router.get('/x')\nasync def x(request): return 1"),
]


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in RULES), ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Rule) -> None:
    files = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}
    assert len(files) > 300
    breaches = [breach for path, tree in files.items() for breach in rule(path, tree)]
    assert not breaches, "\n" + "\n".join(breaches)


@pytest.mark.parametrize(("rule", "path", "text"), RULES)
def test_the_rule_catches_a_planted_breach(rule: Rule, path: str, text: str) -> None:
    assert list(rule(path, ast.parse(text)))


def named_tests() -> list[tuple[str, str]]:
    """Every `tests/…py` of the threat model, with each `test_…` that is named after it."""
    found, path = [], ""
    for word in re.findall(r"`((?:tests/[\w/]+\.py)|(?:test_\w+))`", THREATS):
        path = word if word.startswith("tests/") else path
        if word.startswith("test_"):
            found.append((path, word))
    return found


def test_every_test_that_the_threat_model_names_is_there() -> None:
    named = named_tests()
    assert len(named) > 40
    for path, name in named:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert f"def {name}(" in text, f"{path} has no {name}"


@pytest.mark.parametrize("kind", ["LLM", "API"])
def test_the_threat_model_goes_through_both_lists(kind: str) -> None:
    assert [f"{kind}{number:02d}" if kind == "LLM" else f"API{number}" for number in range(1, 11)] == re.findall(
        rf"^\| ({kind}\d+) ", THREATS, re.M
    )
