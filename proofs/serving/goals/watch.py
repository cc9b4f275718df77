"""A watch over what opening a model must never do to a process: run its code, start a program, call somebody, write.

What is installed here may run, be imported late, and make code as it is imported; the same done with code from anywhere
else is noted. So it is judged where code comes from and who makes it, not what the event is called.
"""

from __future__ import annotations

import collections
import dataclasses
import inspect
import os
import sys
import sysconfig
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

_NEVER = (
    "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "socket.connect",
    "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostby", "pickle.find_class",
)  # fmt: skip
_IMPORTLIB = "<frozen importlib._bootstrap>"
_IMPORTLIB_FILES = "<frozen importlib._bootstrap_external>"
# Of the standard library, what runs texts that stand in sources long after these were imported: methods of data classes
# and annotations.
_MAKERS = {
    (dataclasses.__file__, "_create_fn"),
    (collections.__file__, "namedtuple"),
    (typing.__file__, "_evaluate"),
    (inspect.__file__, "get_annotations"),
    (inspect.__file__, "<dictcomp>"),  # the same, before Python 3.12
}
_CHANGES = ("os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_MAX_FRAMES_SHOWN = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Which code may run, and which places may be changed."""

    trusted: tuple[str, ...]  # folders of code, each with its last slash
    writable: frozenset[str]  # these very paths, and nothing below them


Judge: TypeAlias = Callable[[tuple[Any, ...], FrameType, Limits], bool]  # of (arguments, caller, limits): forbidden?


def watch(seen: Path, *, writable: tuple[Path, ...] = ()) -> None:
    """Write into a file, as long as it is there, everything this process does that opening a model must not do."""
    sys.dont_write_bytecode = True  # a late import would keep what it compiled
    touched = frozenset(map(os.path.abspath, (seen, *writable, os.devnull)))
    limits = Limits(trusted=_trusted_folders(), writable=touched)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if not (event in _JUDGES or event.startswith(_NEVER)):
            return
        caller = sys._getframe(1)
        if is_forbidden(event, args, caller, limits):
            with suppress(FileNotFoundError), seen.open("r+", encoding="utf-8", errors="replace") as file:
                file.seek(0, os.SEEK_END)
                file.write(f"{event} {args!r:.200} by {' < '.join(_places(caller))}\n")

    sys.addaudithook(hook)


def is_forbidden(event: str, args: tuple[Any, ...], caller: FrameType, limits: Limits) -> bool:
    """Whether one of the events that are watched must not happen."""
    judge = _JUDGES.get(event)
    return judge is None or judge(args, caller, limits)


def _is_foreign_code(args: tuple[Any, ...], caller: FrameType, limits: Limits) -> bool:
    """Code of a file that is not trusted, or made of a text by somebody who has no reason to.

    A library may be asked to run a text of somebody else, as templates are; so the good name of a library does for no
    text but those that it runs while it is imported.
    """
    place = str(getattr(args[0], "co_filename", ""))
    made_by = (caller.f_code.co_filename, caller.f_code.co_name)
    if not place.startswith("<"):
        return not _is_trusted(place, limits)
    if place.startswith("<frozen "):
        return made_by[0] != _IMPORTLIB
    return made_by not in _MAKERS and not _is_importing(caller, limits)


def _is_foreign_bytecode(_: tuple[Any, ...], caller: FrameType, limits: Limits) -> bool:
    """Code out of bytes that are not a trusted module's: code of such bytes may claim to come from any file."""
    code = caller.f_code
    is_module = (code.co_filename, code.co_name) == (_IMPORTLIB_FILES, "_compile_bytecode")
    return not (is_module and _is_trusted(caller.f_locals.get("bytecode_path"), limits))


def _is_foreign_library(args: tuple[Any, ...], _: FrameType, limits: Limits) -> bool:
    """A library that is asked for by a path outside; a bare name is looked for where the system keeps its own."""
    name = args[0] or ""  # none: what the program itself is linked with
    return os.sep in os.fsdecode(name) and not _is_trusted(name, limits)


def _is_foreign_extension(args: tuple[Any, ...], _: FrameType, limits: Limits) -> bool:
    return args[1] is not None and not _is_trusted(args[1], limits)


def _makes_code(_: tuple[Any, ...], caller: FrameType, limits: Limits) -> bool:
    return not _is_importing(caller, limits)


def _opens_to_write(args: tuple[Any, ...], caller: FrameType, limits: Limits) -> bool:
    path, mode, flags = args
    writes = bool((flags if isinstance(flags, int) else 0) & _WRITING) or bool(set(mode or "") & set("wax+"))
    return writes and _changes((path,), caller, limits)


def _changes(args: tuple[Any, ...], _: FrameType, limits: Limits) -> bool:
    """Any path that is not writable; what is opened already goes by number and was judged then."""
    paths = (os.fsdecode(arg) for arg in args if isinstance(arg, str | bytes | os.PathLike))
    return any(os.path.abspath(path) not in limits.writable for path in paths)


_JUDGES: dict[str, Judge] = {
    "exec": _is_foreign_code,
    "marshal.load": _is_foreign_bytecode,
    "marshal.loads": _is_foreign_bytecode,
    "code.__new__": _makes_code,
    "ctypes.dlopen": _is_foreign_library,
    "import": _is_foreign_extension,
    "open": _opens_to_write,
    **dict.fromkeys(_CHANGES, _changes),
}


def _is_importing(caller: FrameType, limits: Limits) -> bool:
    """Whether nothing but trusted code lies between here and the body of a trusted module that is being imported."""
    frames = _outwards(caller)
    for frame in frames:
        place = frame.f_code.co_filename
        if not (place.startswith("<frozen ") or _is_trusted(place, limits)):
            return False
        if frame.f_code.co_name == "<module>":
            importer = next(frames, None)
            return importer is not None and importer.f_code.co_filename == _IMPORTLIB
    return False


def _is_trusted(path: Any, limits: Limits) -> bool:
    return isinstance(path, str | bytes) and os.path.abspath(os.fsdecode(path)).startswith(limits.trusted)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _places(caller: FrameType) -> list[str]:
    frames = islice(_outwards(caller), _MAX_FRAMES_SHOWN)
    return [f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}" for frame in frames]


def _trusted_folders() -> tuple[str, ...]:
    """Where the standard library, the installed packages, the product and its proofs lie."""
    import banyan

    installed = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    own = {str(Path(banyan.__file__).parent), str(Path(__file__).parents[2])}
    return tuple(f"{folder}/" for folder in sorted(installed | own))
