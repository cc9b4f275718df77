"""The rules of the house that no type checker sees, each as a table and a walk over the syntax trees of the source.

A rule is a function from one parsed file to the lines that break it. Every rule is run on the whole source, and on a
planted example that it must catch.
"""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "banyan"

# Which rooms a room may import besides itself and core.
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "tokenizers": {"model"},
    "model": set(),
    "store": set(),
    "data": {"tokenizers"},
    "tasks": {"data", "tokenizers"},
    "train": {"model", "data"},
    "transfer": {"model", "tokenizers"},
    "compress": {"model"},
    "infer": {"model", "tokenizers"},
    "runtime": {"infer", "tasks", "model", "tokenizers"},
    "serve": {"runtime", "infer", "store", "tasks", "tokenizers"},
    "workflows": {
        "tokenizers", "model", "store", "data", "tasks", "train", "transfer", "compress", "infer", "runtime",
    },
    "cli": {"workflows", "serve", "runtime", "store"},
    "testing": {"tokenizers", "model", "store", "data", "tasks", "train", "infer", "runtime", "serve", "workflows"},
    "recipes": set(),  # no code: YAML that comes with the package
    "": {"runtime", "cli"},  # banyan itself: `banyan.load` and `python -m banyan`
}  # fmt: skip

# Words for things that the glossary names otherwise.
WE_SAY: dict[str, str] = {
    "n_layer": "num_layers",
    "n_layers": "num_layers",
    "n_head": "num_heads",
    "n_heads": "num_heads",
    "n_embd": "embed_dim",
    "d_model": "embed_dim",
    "hidden_size": "embed_dim",
    "dim_head": "head_dim",
    "d_head": "head_dim",
    "intermediate_size": "ffn_dim",
    "block_size": "max_seq_len or seq_len",
    "n_ctx": "max_seq_len",
    "idx": "token_ids, or what is counted",
    "preds": "logits or predictions",
    "batch_size": "micro_batch_seqs, batch_tokens or num_rows",
    "lr": "learning_rate",
    "warmup": "warmup_steps or warmup_fraction",
    "n_px": "image_size",
    "input_ids": "token_ids",
    "attn": "attention",
    "cfg": "config",
    "tok": "tokenizer",
    "vocab": "vocabulary",
}
FOREIGN_NAMES_ARE_AT_HOME_IN = ("transfer/", "train/muon.py")  # muon: a torch Optimizer, in the words of torch

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__",
    "torch.load", "torch.save", "torch.jit.load",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load",
    "os.system", "os.popen", "subprocess.getoutput",
}  # fmt: skip
FORBIDDEN_ARGUMENTS = {("shell", True), ("allow_pickle", True), ("trust_remote_code", True), ("weights_only", False)}
FREE_OF_TORCH = (
    "core/before_torch.py", "core/types.py", "core/errors.py", "core/registry.py", "core/files.py", "core/config.py",
    "store/",
)  # fmt: skip

MAX_MEDIAN_LINES = 15
MAX_LINES = 70


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One parsed module of the source."""

    path: str  # below banyan/
    tree: ast.Module

    @property
    def room(self) -> str:
        return self.path.split("/")[0] if "/" in self.path else ""

    @property
    def module(self) -> str:
        return ".".join(["banyan", *self.path.removesuffix(".py").removesuffix("__init__").strip("/").split("/")])

    def breach(self, node: ast.AST, what: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {what}"


Rule = Callable[[SourceFile], Iterator[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def parse(path: str, text: str) -> SourceFile:
    return SourceFile(path=path, tree=ast.parse(text))


@pytest.fixture(scope="module")
def source() -> list[SourceFile]:
    paths = sorted(SOURCE.rglob("*.py"))
    return [parse(path.relative_to(SOURCE).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


def imports_of(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every imported name as a dotted path; `from a import b` gives a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def dotted(node: ast.AST) -> str:
    """`torch.load` for the expression torch.load; "" for anything that is not a plain path of names."""
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return node.id if isinstance(node, ast.Name) else ""


def full_names(tree: ast.AST) -> dict[str, str]:
    """What a file calls a module by another name: {"t": "torch"} for `import torch as t`."""
    aliases = (alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names)
    return {alias.asname: alias.name for alias in aliases if alias.asname}


def full_name(node: ast.AST, full: dict[str, str]) -> str:
    """`torch.load` for t.load, and `eval` for builtins.eval."""
    first, dot, rest = dotted(node).partition(".")
    return f"{full.get(first, first)}{dot}{rest}".removeprefix("builtins.")


# ------------------------------------------------------------------------------------------------ rules


def rooms_import_only_their_neighbours(file: SourceFile) -> Iterator[str]:
    for node, name in imports_of(file.tree):
        top, _, rest = name.partition(".")
        room = rest.split(".")[0]
        if top == "banyan" and room in MAY_IMPORT and room not in {file.room, "core", *MAY_IMPORT[file.room]}:
            yield file.breach(node, f"{file.room or 'banyan'} may not import {room}")


def lower_rooms_do_without_torch(file: SourceFile) -> Iterator[str]:
    if file.path.startswith(FREE_OF_TORCH):
        yield from (file.breach(node, f"imports {name}") for node, name in imports_of(file.tree) if "torch" in name)


def nothing_can_run_foreign_code(file: SourceFile) -> Iterator[str]:
    for node, name in imports_of(file.tree):
        if name.split(".")[0] in FORBIDDEN_MODULES or name in FORBIDDEN_CALLS:
            yield file.breach(node, f"imports {name}")
    full = full_names(file.tree)
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and (name := full_name(node.func, full)) in FORBIDDEN_CALLS:
            yield file.breach(node, f"calls {name}")
        if isinstance(node, ast.keyword) and (node.arg, getattr(node.value, "value", None)) in FORBIDDEN_ARGUMENTS:
            yield file.breach(node.value, f"passes {node.arg}")


def init_files_are_tables_of_contents(file: SourceFile) -> Iterator[str]:
    if not file.path.endswith("/__init__.py"):  # banyan/__init__.py itself defers `load`, so that it imports in no time
        return
    for node in file.tree.body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_list = isinstance(node, ast.Assign) and dotted(node.targets[0]) == "__all__"
        if not (is_docstring or is_list or isinstance(node, ast.Import | ast.ImportFrom)):
            yield file.breach(node, f"holds a {type(node).__name__}")


def only_the_command_line_prints(file: SourceFile) -> Iterator[str]:
    if file.room == "cli":
        return
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and dotted(node.func) in {"print", "sys.stdout.write"}:
            yield file.breach(node, f"calls {dotted(node.func)}")


def names_come_from_the_glossary(file: SourceFile) -> Iterator[str]:
    if file.path.startswith(FOREIGN_NAMES_ARE_AT_HOME_IN):
        return
    for node, name in names_given(file.tree):
        if name in WE_SAY:
            yield file.breach(node, f"{name}: we say {WE_SAY[name]}")


def names_given(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every variable, attribute and parameter a file gives a name to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node, node.attr
        elif isinstance(node, ast.arg):
            yield node, node.arg


def functions_are_short(file: SourceFile) -> Iterator[str]:
    for node, num_lines in function_lengths(file.tree):
        if num_lines > MAX_LINES:
            yield file.breach(node, f"{node.name} has {num_lines} lines")


def function_lengths(tree: ast.AST) -> Iterator[tuple[Function, int]]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node, (node.end_lineno or node.lineno) - node.lineno + 1


def modules_say_what_they_are_for(file: SourceFile) -> Iterator[str]:
    if file.tree.body and ast.get_docstring(file.tree) is None:
        yield file.breach(file.tree, "has no docstring")


# Each rule, with a file that breaks it: where the file lies, and what it says.
RULES: list[tuple[Rule, str, str]] = [
    (rooms_import_only_their_neighbours, "train/step.py", "from banyan.tasks.base import Task"),
    (rooms_import_only_their_neighbours, "model/heads.py", "def f():\n    import banyan.infer.engine"),
    (rooms_import_only_their_neighbours, "core/types.py", "from banyan import model"),
    (rooms_import_only_their_neighbours, "infer/engine.py", "from banyan.testing.models import tiny_model"),
    (lower_rooms_do_without_torch, "store/writer.py", "from torch import Tensor"),
    (nothing_can_run_foreign_code, "data/shards.py", "import pickle"),
    (nothing_can_run_foreign_code, "data/shards.py", "numpy.load(path, allow_pickle=True)"),
    (nothing_can_run_foreign_code, "model/checkpoint.py", "torch.load(path)"),
    (nothing_can_run_foreign_code, "cli/demo.py", "subprocess.run(command, shell=True)"),
    (nothing_can_run_foreign_code, "core/config.py", "yaml.load(text)"),
    (nothing_can_run_foreign_code, "tasks/base.py", "eval(answer)"),
    (nothing_can_run_foreign_code, "tasks/base.py", "exec(answer)"),
    (nothing_can_run_foreign_code, "tasks/base.py", "import builtins\nbuiltins.exec(answer)"),
    (nothing_can_run_foreign_code, "model/checkpoint.py", "import torch as t\nt.load(path)"),
    (nothing_can_run_foreign_code, "model/checkpoint.py", "from torch import load"),
    (nothing_can_run_foreign_code, "model/checkpoint.py", "from joblib import load"),
    (nothing_can_run_foreign_code, "train/state.py", "torch.save(weights, path)"),
    (nothing_can_run_foreign_code, "transfer/formats.py", "read(path, weights_only=False)"),
    (nothing_can_run_foreign_code, "transfer/hugging_face.py", "AutoModel.from_pretrained(x, trust_remote_code=True)"),
    (nothing_can_run_foreign_code, "cli/env.py", "os.system(command)"),
    (init_files_are_tables_of_contents, "model/__init__.py", "def load(): ..."),
    (init_files_are_tables_of_contents, "model/__init__.py", "TASKS.add('x', X())"),
    (only_the_command_line_prints, "train/trainer.py", "print(loss)"),
    (names_come_from_the_glossary, "train/trainer.py", "def f(lr): ..."),
    (names_come_from_the_glossary, "train/trainer.py", "self.batch_size = 3"),
    (names_come_from_the_glossary, "model/config.py", "class C:\n    n_layer: int"),
    (functions_are_short, "train/step.py", "def f():\n" + "    pass\n" * MAX_LINES),
    (modules_say_what_they_are_for, "train/step.py", "import torch"),
]
EVERY_RULE = list(dict.fromkeys(rule for rule, _, _ in RULES))


@pytest.mark.parametrize("rule", EVERY_RULE, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Rule, source: list[SourceFile]) -> None:
    breaches = [breach for file in source for breach in rule(file)]
    assert not breaches, "\n" + "\n".join(breaches)


@pytest.mark.parametrize(("rule", "path", "text"), RULES, ids=lambda value: getattr(value, "__name__", None))
def test_the_rule_catches_a_planted_breach(rule: Rule, path: str, text: str) -> None:
    assert list(rule(parse(path, text)))


def test_the_rules_see_the_whole_house(source: list[SourceFile]) -> None:
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and list(path.rglob("*.py"))}
    assert {file.room for file in source} == rooms | {""}
    assert rooms <= set(MAY_IMPORT), "a room is missing from the table"


def test_the_median_function_is_short(source: list[SourceFile]) -> None:
    lengths = [num_lines for file in source for _, num_lines in function_lengths(file.tree)]
    assert statistics.median(lengths) <= MAX_MEDIAN_LINES


# ------------------------------------------------------------------------------------------------ tests


# What servers, savers and writers, each in a thread of its own, ask of the system.
SHARED = "asyncio|ctypes|gc|hmac|json|os|psutil|select|shutil|signal|socket|sqlite3|subprocess|threading|time"


def set_for_all(text: str) -> list[str]:
    """What a test sets in modules of the whole process, in which the servers of other tests run."""
    return re.findall(rf"""setattr\((?:[\w.]+\.)?(?:{SHARED})[,.].*|setattr\(["'](?:[\w.]+\.)?(?:{SHARED})\..*""", text)


def test_no_test_sets_the_clock_or_the_system_of_the_whole_process() -> None:
    found = {str(path): set_for_all(path.read_text("utf-8")) for path in Path(__file__).parent.rglob("*.py")}
    found.pop(__file__)
    assert not any(found.values()), {path: lines for path, lines in found.items() if lines}


@pytest.mark.parametrize(
    "planted",
    [
        'setattr(time, "monotonic", f)',
        'setattr(demo.time, "sleep", f)',
        'setattr("time.time", f)',
        'setattr("banyan.core.files.os.fsync", f)',
        'setattr(os.path, "exists", f)',
        'setattr(importing.psutil.virtual_memory().__class__, "available", 1)',
    ],
)
def test_what_is_set_for_all_is_found(planted: str) -> None:
    assert set_for_all(f"    monkeypatch.{planted}")


@pytest.mark.parametrize(
    "harmless",
    ['setattr(demo, "time", clock_with(sleep=f))', 'setattr("banyan.core.files.os", module_with(os, fsync=f))'],
)
def test_what_is_set_in_one_module_is_allowed(harmless: str) -> None:
    assert not set_for_all(f"    monkeypatch.{harmless}")


# ------------------------------------------------------------------------------------------------ cycles


def imported_on_load(file: SourceFile, modules: set[str]) -> set[str]:
    """Our modules that a module needs while it is being imported: not those inside functions or for types alone."""
    found = set()
    for statement in file.tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for _, name in imports_of(statement):
                found |= {name, name.rpartition(".")[0]} & modules
    return found - {file.module}


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle, or nothing."""
    finished: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in finished:
            return []
        for neighbour in sorted(graph[module]):
            if cycle := walk(neighbour, [*path, module]):
                return cycle
        finished.add(module)
        return []

    return next((cycle for module in sorted(graph) if (cycle := walk(module, []))), [])


def test_no_module_imports_itself_by_a_detour(source: list[SourceFile]) -> None:
    modules = {file.module for file in source}
    cycle = find_cycle({file.module: imported_on_load(file, modules) for file in source})
    assert not cycle, " → ".join(cycle)


def test_a_planted_cycle_is_found() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
