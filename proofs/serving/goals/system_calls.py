"""What a running process writes, syncs and sends, in order, as strace sees it from outside."""

from __future__ import annotations

import codecs
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from proofs.evidence import NotPossibleHereError

_CALLS = "pwrite64,fdatasync,fsync,ftruncate,sendto"
_MOST_BYTES = 1 << 20  # of one call
_BEGIN = re.compile(
    rb'(?P<thread>\d+) +(?P<name>\w+)\(\d+<(?P<place>[^>]*)>(?:, "(?P<data>(?:[^"\\]|\\.)*)")?(?P<rest>.*)', re.DOTALL
)
_RESUMED = re.compile(rb"(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)", re.DOTALL)
_NUMBERS = re.compile(rb"\d+")


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemCall:
    """One call of one thread, at its begin or at its end."""

    moment: Literal["begin", "end"]
    thread: int
    name: str
    place: str  # what its descriptor stands for: a path, or a socket
    data: bytes
    number: int  # the last one it was given: where pwrite64 writes, how long ftruncate makes a file
    has_worked: bool = True  # at its end


@contextmanager
def traced(pid: int, output: Path) -> Iterator[None]:
    """Write the calls of a process and all its threads to a file for the time of the block.

    Raises: NotPossibleHereError where there is no strace, or it may not look.
    """
    program = shutil.which("strace")
    if program is None:
        raise NotPossibleHereError("needs strace")
    words = [program, "-f", "-y", "-s", str(_MOST_BYTES), "-e", f"trace={_CALLS}", "-o", str(output), "-p", str(pid)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = _until_attached(process.stderr)
        if "attached" not in said:
            raise NotPossibleHereError(f"strace may not trace here: {said.strip()[-100:]}")
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)  # it lets the process go, and writes down what it has
            process.stderr.read()


def _until_attached(lines: IO[str]) -> str:
    said = ""
    for line in lines:
        said += line
        if "attached" in line:
            break
    return said


def read_calls(path: Path) -> Iterator[SystemCall]:
    """Yield begins and ends of all calls in the order in which they happened."""
    waiting: dict[bytes, SystemCall] = {}  # begun and not ended, by thread
    for line in path.read_bytes().split(b"\n"):
        if (begun := _BEGIN.match(line)) and begun["name"].decode() in _CALLS:
            call = _begin_of(begun)
            yield call
            if b"<unfinished ...>" in begun["rest"]:
                waiting[begun["thread"]] = call
            else:
                yield _end_of(call, begun["rest"])
        elif (resumed := _RESUMED.match(line)) and resumed["thread"] in waiting:
            yield _end_of(waiting.pop(resumed["thread"]), resumed["rest"])


def _begin_of(found: re.Match[bytes]) -> SystemCall:
    given = found["rest"].split(b" = ")[0]
    numbers = _NUMBERS.findall(given)
    data = found["data"]
    return SystemCall(
        moment="begin",
        thread=int(found["thread"]),
        name=found["name"].decode(),
        place=found["place"].decode(),
        data=b"" if data is None else bytes(codecs.escape_decode(data)[0]),
        number=int(numbers[-1]) if numbers else 0,
    )


def _end_of(call: SystemCall, rest: bytes) -> SystemCall:
    result = rest.rpartition(b" = ")[2].split()
    return SystemCall(
        moment="end",
        thread=call.thread,
        name=call.name,
        place=call.place,
        data=call.data,
        number=call.number,
        has_worked=bool(result) and not result[0].startswith((b"-", b"?")),
    )
