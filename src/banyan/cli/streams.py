"""The process's own streams: open whatever the shell did with them, in UTF-8, and ended without a complaint."""

from __future__ import annotations

import os
import sys

_LAST_STANDARD_STREAM = 2
_CONTROLS = {n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160)) if chr(n) not in "\n\t"}


def open_closed_streams() -> None:
    """Give streams that the shell closed (`>&-`) the null device, so that no file of ours takes their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD_STREAM:
        pass
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process


def speak_utf8() -> None:
    """Read and write UTF-8 whatever the locale says; LANG=C would otherwise turn Chinese into an error.

    Bytes that are not UTF-8 come in as lone surrogates, which a task refuses in its own words.
    """
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape")  # without the mark that Windows writes
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def visible(text: str) -> str:
    """Return a text with its control characters, which could command a terminal, written out."""
    return text.translate(_CONTROLS)


def harmless(text: str) -> str:
    """Return a model's words as standard output may have them: as they are, but written out on a terminal."""
    return visible(text) if sys.stdout.isatty() else text


def flush_output() -> None:
    """Write what is still on its way to standard output.

    Raises: BrokenPipeError if its reader has gone, OSError if it cannot be written; after that nothing more is tried.
    """
    try:
        sys.stdout.flush()
    except OSError:
        # Python would try once more at its very end, and complain.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        raise


def reader_has_gone(error: BaseException | None) -> bool:
    """Tell whether an error comes from a pipe that nobody reads any more: `banyan outputs list | head`.

    Click and Rich make an exit of their own of it; the pipe's error is then what they were handling.
    """
    while isinstance(error, SystemExit):
        error = error.__context__
    return isinstance(error, BrokenPipeError)
