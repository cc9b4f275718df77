"""The `banyan` program: finds the verb, sets up the process, and turns every error into one line and an exit code."""

from __future__ import annotations

import errno
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from banyan import __version__
from banyan.cli.streams import flush_output, open_closed_streams, reader_has_gone, speak_utf8, visible
from banyan.core.before_torch import BRIEF_SPINNING, ENGINE_SPINNING, PASSIVE_WAITING, REPEATABLE_PRODUCTS
from banyan.core.errors import BanyanError, ConfigError, FileError, MemoryLimitError, SpaceError, UnknownNameError
from banyan.core.files import as_write_error
from banyan.core.logging import set_up_logging
from banyan.core.paths import add_plugin_files, plugin_files, thread_count
from banyan.core.registry import did_you_mean

_NO_MEMORY = ("can't allocate memory", "can't start new thread", "std::bad_alloc", "Cannot allocate memory")
_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verb:
    """One word of the command line and the module that holds it; imported only when it is used."""

    module: str
    does: str


VERBS: dict[str, Verb] = {
    "demo": Verb(module="banyan.cli.demo", does="grow a small model on what this machine already has, and report"),
    "init": Verb(module="banyan.cli.init", does="look at your files and write a recipe that runs"),
    "prepare": Verb(module="banyan.cli.prepare", does="corpora → clean, deduplicated, tokenised shards"),
    "tokenizer": Verb(module="banyan.cli.tokenizer", does="train or inspect a tokenizer"),
    "train": Verb(module="banyan.cli.train", does="run a recipe: pretrain, fine-tune, joint training"),
    "plan": Verb(module="banyan.cli.plan", does="what a recipe will take: memory by part, time, disk, before launch"),
    "diagnose": Verb(module="banyan.cli.diagnose", does="say what is wrong with a run, and what to change"),
    "evaluate": Verb(module="banyan.cli.evaluate", does="score a model on its tasks"),
    "explain": Verb(module="banyan.cli.explain", does="which words carried an answer, and where a model errs"),
    "predict": Verb(module="banyan.cli.predict", does="run one task over texts or a file"),
    "generate": Verb(module="banyan.cli.generate", does="continue a text"),
    "chat": Verb(module="banyan.cli.chat", does="talk to a model"),
    "draw": Verb(module="banyan.cli.draw", does="draw pictures from words"),
    "embed": Verb(module="banyan.cli.embed", does="texts → vectors"),
    "import": Verb(module="banyan.cli.import_", does="foreign weights in: Hugging Face, Keras GPT-2, llama2.c"),
    "export": Verb(module="banyan.cli.export", does="a model for other tools: Hugging Face directory or GGUF file"),
    "serve": Verb(module="banyan.cli.serve", does="serve a model over HTTP, with a page to try it"),
    "outputs": Verb(module="banyan.cli.outputs", does="stored requests and answers: list, show, search, export, erase"),
    "runs": Verb(module="banyan.cli.runs", does="training runs: list, show, compare, prune"),
    "keys": Verb(module="banyan.cli.keys", does="API keys of the server: create, list, change, revoke"),
    "db": Verb(module="banyan.cli.db", does="database: upgrade, verify, backup, restore, purge, audit, dead letters"),
    "data": Verb(module="banyan.cli.data", does="the dataset catalog and your own files: list, show, check"),
    "env": Verb(module="banyan.cli.env", does="versions and hardware, for a bug report"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and leave with the exit code of the error tree in `core/errors.py`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    prepare_process(debug=debug, serves=words[:1] == ["serve"])
    try:
        code = run(take_plugins(words))
        flush_output()
    except BaseException as error:
        if debug and not isinstance(error, SystemExit | KeyboardInterrupt):
            traceback.print_exc()
        code = explain(error)
    with suppress(OSError):
        flush_output()
    sys.exit(code)


def take_plugins(words: Sequence[str]) -> list[str]:
    """Remember the files of `--plugin FILE` and return the other words.

    Raises: ConfigError if no file follows.
    """
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        name, equals, value = word.partition("=")
        if name != "--plugin":
            rest.append(word)
            continue
        if not (value := value if equals else next(waiting, "")):
            raise ConfigError("--plugin needs a file.", hint="--plugin my_kind.py; docs/guides/add-a-task.md")
        add_plugin_files([value])
    return rest


def prepare_process(*, debug: bool, serves: bool = False) -> None:
    """Set what must be set before torch loads, among it a thread count if one was asked for."""
    open_closed_streams()
    spinning = ENGINE_SPINNING if serves else BRIEF_SPINNING
    for setting in (PASSIVE_WAITING, spinning, REPEATABLE_PRODUCTS):
        os.environ.setdefault(*setting)
    if threads := thread_count():
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    speak_utf8()
    set_up_logging(level=logging.DEBUG if debug else logging.WARNING)
    # It speaks of its cache wherever the home folder cannot be written.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def run(words: Sequence[str]) -> int:
    """Run one verb and return its exit code.

    Raises: UnknownNameError for a word that is not a verb.
    """
    if not words or words[0] in ("--help", "-h", "help"):
        show_overview()
        return 0
    if words[0] in ("--version", "-V"):
        sys.stdout.write(f"banyan {__version__}\n")
        return 0
    if words[0] not in VERBS:
        raise UnknownNameError(f"no command {words[0]!r}{did_you_mean(words[0], VERBS)}", hint="banyan --help")
    return run_verb(words[0], words[1:])


def run_verb(name: str, words: Sequence[str]) -> int:
    """Import the verb's module and run its Typer app."""
    # Typer brings its own copy of click; imported here so that `banyan --help` does not pay for it.
    import typer.main

    if files := plugin_files():
        import_module("banyan.workflows.plugins").load_plugins(files)
    app = import_module(VERBS[name].module).app
    with flushed_denormals():
        result = typer.main.get_command(app).main(list(words), prog_name=f"banyan {name}", standalone_mode=False)
    return result if isinstance(result, int) else 0


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Take numbers too small to matter as zero, where the verb uses torch: each costs a processor many cycles."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def explain(error: BaseException) -> int:
    """Print an error as one line (and a hint) on standard error and return the exit code."""
    if reader_has_gone(error):
        return 0
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return complain("interrupted", hint=None, code=130)
    if type(error).__name__ == "Exit":
        return int(getattr(error, "exit_code", 0))
    if type(error).__name__ == "NoArgsIsHelpError":  # the help is on the screen already
        return complain("a command is missing.", hint="add --help to see the commands", code=2)
    if hasattr(error, "format_message"):  # the command line's own usage errors
        return complain(error.format_message(), hint="add --help to see the options", code=2)
    known = as_banyan_error(error)
    if known is not None:
        return complain(known.message, hint=known.hint, code=known.exit_code)
    return complain(f"internal error, report saved to {save_report(error)}", hint="run again with --debug", code=1)


def as_banyan_error(error: BaseException) -> BanyanError | None:
    """Return our own error for one of ours, for the system's, or None for a bug."""
    if isinstance(error, BanyanError):
        return error
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        return MemoryLimitError(
            "out of memory.", hint="use a smaller batch or model, for example train.micro_batch_seqs=8"
        )
    if isinstance(error, FileNotFoundError):
        return FileError(f"{error.filename} not found.")
    if not isinstance(error, OSError):
        return None
    if error.errno in _CANNOT_WRITE:
        place = Path(str(error.filename)) if error.filename else None
        return as_write_error(error, place) if place else SpaceError(f"cannot write the output: {error.strerror}.")
    return FileError(f"cannot use {error.filename}: {error.strerror}.") if error.filename else None


def complain(message: str, *, hint: str | None, code: int) -> int:
    """Write `error: …` and `hint: …`, each on one line, and hand back the exit code."""
    sys.stderr.write(f"error: {visible(' '.join(message.split()))}\n")
    if hint:
        sys.stderr.write(f"hint: {visible(' '.join(hint.split()))}\n")
    return code


def save_report(error: BaseException) -> str:
    """Write the traceback of an unforeseen error to a temporary file and return its path."""
    text = "".join(traceback.format_exception(error))
    with tempfile.NamedTemporaryFile(
        "w", prefix="banyan-error-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"banyan {__version__}, Python {sys.version}\n{text}")
    return file.name


def show_overview() -> None:
    """Print what `banyan` can do: one line per verb."""
    table = Table.grid(padding=(0, 2))
    for name, verb in VERBS.items():
        table.add_row(f"  [bold]{name}[/bold]", verb.does)
    out = Console(highlight=False)
    out.print("[bold]banyan[/bold]: a GPT that you grow yourself.   banyan VERB --help explains a verb.\n")
    out.print(table)
    out.print("\nGlobal: --version, --debug (tracebacks), --plugin FILE (a kind of task). Exit codes: docs/errors.md.")


if __name__ == "__main__":
    main()
