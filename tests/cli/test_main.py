import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
import typer.main

import banyan.cli.main as program
from banyan.cli.main import VERBS
from banyan.core.before_torch import BRIEF_SPINNING, ENGINE_SPINNING, PASSIVE_WAITING, REPEATABLE_PRODUCTS
from banyan.core.errors import BanyanError

FAST = ("--help",)  # a command that needs no torch


def process(*words: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the program as the shell would."""
    return subprocess.run([sys.executable, "-m", "banyan", *words], timeout=60, **options)


def every_command() -> Iterator[tuple[str, ...]]:
    for verb, entry in VERBS.items():
        yield from commands_below((verb,), typer.main.get_command(import_module(entry.module).app))


def commands_below(words: tuple[str, ...], command: Any) -> Iterator[tuple[str, ...]]:
    parts = getattr(command, "commands", {})
    if not parts:
        yield words
    for name, part in parts.items():
        yield from commands_below((*words, name), part)


def every_error() -> Iterator[type[BanyanError]]:
    classes = [BanyanError]
    while classes:
        classes.extend(classes[0].__subclasses__())
        yield classes.pop(0)


def make(kind: type[BanyanError]) -> BanyanError:
    facts = {
        "ContextLengthError": {"num_prompt_tokens": 9, "max_seq_len": 8},
        "UnknownLanguageError": {"field": "source_language"},
    }
    return kind("what, value,\n rule.", hint="next\nstep", **facts.get(kind.__name__, {}))


def test_without_a_verb_it_names_them_all(banyan: Callable[..., Any]) -> None:
    for words in ([], ["--help"], ["help"]):
        ran = banyan(*words)
        assert ran.code == 0
        assert all(verb in ran.out for verb in VERBS)


def test_an_error_cannot_command_the_terminal(banyan: Callable[..., Any]) -> None:
    assert "\x1b" not in banyan("predict", "\x1b[31mred", "task", "text").err


def test_it_tells_its_version(banyan: Callable[..., Any]) -> None:
    assert banyan("--version").out.startswith("banyan ")


@pytest.mark.parametrize("words", [*every_command()], ids=" ".join)
def test_every_command_explains_itself_with_an_example(banyan: Callable[..., Any], words: tuple[str, ...]) -> None:
    ran = banyan(*words, "--help")
    assert ran.code == 0 and ran.err == ""
    assert f"Example: banyan {' '.join(words)}" in " ".join(ran.out.split())


@pytest.mark.parametrize("words", [w for w in every_command() if w[0] != "serve"], ids=" ".join)
def test_every_command_that_reports_can_report_to_programs_and_be_quiet(
    banyan: Callable[..., Any], words: tuple[str, ...]
) -> None:
    said = banyan(*words, "--help").out
    assert "--json" in said and "--quiet" in said


def test_a_misspelt_verb_is_answered_with_the_nearest(banyan: Callable[..., Any]) -> None:
    ran = banyan("trian")
    assert ran.code == 2
    assert ran.error == "no command 'trian'; did you mean train?"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["train"], "recipe"),
        (["train", "recipe.yaml", "--bogus"], "--bogus"),
        (["runs"], "a command is missing"),
        (["runs", "lst"], "lst"),
        (["tokenizer"], "a command is missing"),
        (["prepare", "notes", "--vocab-size", "many"], "--vocab-size"),
        (["draw", "model", "x", "--num", "0"], "--num"),
        (["generate", "model", "--seed", "-1"], "--seed"),
        (["generate", "model", "--seed", str(2**63)], "--seed"),
    ],
    ids=" ".join,
)
def test_words_that_cannot_be_understood_are_named_in_one_line(
    banyan: Callable[..., Any], words: list[str], problem: str
) -> None:
    ran = banyan(*words)
    assert ran.code == 2
    assert problem in ran.error
    assert "hint: add --help" in ran.err


@pytest.mark.parametrize("kind", [*every_error()], ids=lambda kind: kind.__name__)
def test_each_error_is_one_line_a_hint_and_its_exit_code(
    banyan: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, kind: type[BanyanError]
) -> None:
    def fail(words: Any) -> int:
        raise make(kind)

    monkeypatch.setattr(program, "run", fail)
    ran = banyan("train")
    assert (ran.code, ran.out) == (kind.exit_code, "")
    assert ran.err == "error: what, value, rule.\nhint: next step\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "a.txt"), 3, "a.txt not found."),
        (OSError(errno.ELOOP, "Too many links", "a"), 3, "cannot use a: Too many links."),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 6, "cannot write /x/y: Permission denied."),
        (OSError(errno.ENOSPC, "No space left", "/x"), 6, "cannot write /x: the disk is full"),
        (OSError(errno.ENOSPC, "No space left"), 6, "cannot write the output: No space left."),
        (MemoryError(), 9, "out of memory."),
        (RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory: 9 bytes"), 9, "out of memory."),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=str,
)
def test_the_systems_errors_are_told_as_ours(
    banyan: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fail(words: Any) -> int:
        raise error

    monkeypatch.setattr(program, "run", fail)
    ran = banyan("train")
    assert ran.code == code
    assert ran.error.startswith(said)


def test_a_bug_is_reported_to_a_file_and_shown_only_with_debug(
    banyan: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(words: Any) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(program, "run", fail)
    ran = banyan("train")
    assert ran.code == 1 and "Traceback" not in ran.err
    report = ran.err.splitlines()[0].removeprefix("error: internal error, report saved to ")
    try:
        with open(report, encoding="utf-8") as file:
            assert "ZeroDivisionError: a bug" in file.read()
    finally:
        os.unlink(report)
    shown = banyan("train", "--debug")
    os.unlink(shown.err.splitlines()[-2].rpartition(" ")[2])
    assert "Traceback" in shown.err and shown.code == 1


def test_a_reader_who_leaves_is_no_error() -> None:
    """As in `banyan … | head -1`; the pipe is closed before anything is written."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    ran = process(*FAST, stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_output_that_cannot_be_written_is_an_error() -> None:
    with open("/dev/full", "wb") as full:
        ran = process(*FAST, stdout=full, stderr=subprocess.PIPE)
    assert ran.returncode == 6
    assert ran.stderr.startswith(b"error: cannot write the output") and ran.stderr.count(b"\n") == 1


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_closed_streams_hurt_nobody(stream: int) -> None:
    ran = process(
        *FAST,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: os.close(stream),
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert (b"train" in ran.stdout) is (stream != 1)


def test_a_plain_locale_does_not_lose_chinese() -> None:
    plain = {**os.environ, "LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii"}
    ran = process("训练", env=plain, stderr=subprocess.PIPE)
    assert ran.returncode == 2
    assert ran.stderr.decode("utf-8").startswith("error: no command '训练'")


def test_bytes_that_are_no_text_are_an_unknown_verb() -> None:
    ran = process(b"caf\xe9", stderr=subprocess.PIPE)
    assert ran.returncode == 2
    assert b"Traceback" not in ran.stderr


def test_what_torch_reads_while_it_loads_is_set_before_unless_the_user_has_set_it() -> None:
    program = (
        "import os, sys; from banyan.cli.main import prepare_process; prepare_process(debug=False); "
        "print(os.environ['MKL_CBWR'], os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    bare = {name: value for name, value in os.environ.items() if name != REPEATABLE_PRODUCTS[0]}
    asked = {**bare, PASSIVE_WAITING[0]: "ACTIVE"}
    ran = subprocess.run([sys.executable, "-c", program], env=asked, stdout=subprocess.PIPE, text=True)
    assert ran.stdout.split() == [REPEATABLE_PRODUCTS[1], "ACTIVE", "False"]


@pytest.mark.parametrize(("serves", "expected"), [(True, ENGINE_SPINNING), (False, BRIEF_SPINNING)])
def test_threads_of_a_server_wait_awake_for_longer(serves: bool, expected: tuple[str, str]) -> None:
    program = (
        "import os; from banyan.cli.main import prepare_process; "
        f"prepare_process(debug=False, serves={serves}); print(os.environ['{expected[0]}'])"
    )
    bare = {name: value for name, value in os.environ.items() if name != expected[0]}
    ran = subprocess.run([sys.executable, "-c", program], env=bare, stdout=subprocess.PIPE, text=True)
    assert ran.stdout.split() == [expected[1]]
