"""Every error a user can meet, with the exit code each one ends the program with.

BanyanError                     1   something we did not foresee
├── ConfigError      ValueError 2   a recipe, an option or a value cannot be used
│   ├── UnknownNameError        2   a name that no registry or config knows
│   └── ShapeError              2   sizes that do not fit each other
├── InputError       ValueError 2   a text, label or picture a task cannot take
│   ├── ContextLengthError      2   more tokens than the model can address
│   └── UnknownLanguageError    2   a language that a task was not taught
├── FileError        OSError    3   a file that is missing or unreadable
├── CheckpointError  ValueError 4   a model directory that is not whole or not ours
├── DataError        ValueError 5   a data set that cannot be learned from
├── SpaceError       OSError    6   no room, or no right, to write
├── DivergedError    ArithmeticError 7   training cannot go on
├── BusyError        OSError    8   a run, file or port that somebody else holds
├── MemoryLimitError MemoryError 9  the machine's memory is too small
├── StoreError       RuntimeError 10 the database cannot be reached or does not fit
├── RemoteError      ConnectionError 11 a server refused or could not be reached
├── PeerLostError    RuntimeError 13 another process of a distributed run is gone
├── MissingExtraError ImportError 2 an optional package is not installed
└── SafetyError      PermissionError 12 refused because it would not be safe

A message has up to four parts: what cannot be done, the value seen, the rule, and (as `hint`) the next step.
"""

from __future__ import annotations


class BanyanError(Exception):
    """The root of every error Banyan raises on purpose."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class ConfigError(BanyanError, ValueError):
    """A recipe, an option or a value cannot be used."""

    exit_code = 2


class UnknownNameError(ConfigError, LookupError):
    """A name that no registry or config knows."""


class ShapeError(ConfigError):
    """Sizes that do not fit each other."""


class InputError(BanyanError, ValueError):
    """A text, label or picture that a task cannot take."""

    exit_code = 2


class ContextLengthError(InputError):
    """A prompt with more tokens than the model can address."""

    def __init__(self, message: str, *, num_prompt_tokens: int, max_seq_len: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.num_prompt_tokens = num_prompt_tokens
        self.max_seq_len = max_seq_len


class UnknownLanguageError(InputError):
    """A language that a task was not taught to translate from, or into."""

    def __init__(self, message: str, *, field: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.field = field  # source_language or target_language


class FileError(BanyanError, OSError):
    """A file that is missing or unreadable."""

    exit_code = 3


class CheckpointError(BanyanError, ValueError):
    """A model directory that is not whole, or not ours."""

    exit_code = 4


class DataError(BanyanError, ValueError):
    """A data set that cannot be learned from."""

    exit_code = 5


class SpaceError(BanyanError, OSError):
    """No room, or no right, to write."""

    exit_code = 6


class DivergedError(BanyanError, ArithmeticError):
    """Training that cannot go on."""

    exit_code = 7


class BusyError(BanyanError, OSError):
    """A run, file or port that somebody else holds."""

    exit_code = 8


class MemoryLimitError(BanyanError, MemoryError):
    """A job that the machine's memory is too small for."""

    exit_code = 9


class StoreError(BanyanError, RuntimeError):
    """A database that cannot be reached, or whose schema does not fit."""

    exit_code = 10


class RemoteError(BanyanError, ConnectionError):
    """A server that refused, or could not be reached."""

    exit_code = 11


class PeerLostError(BanyanError, RuntimeError):
    """A process of a distributed run that no longer answers the others, or could not be kept alive."""

    exit_code = 13


class MissingExtraError(BanyanError, ImportError):
    """An optional package that is not installed."""

    exit_code = 2


class SafetyError(BanyanError, PermissionError):
    """Something refused because it would not be safe."""

    exit_code = 12


def missing_extra(package: str, extra: str, *, needed_for: str) -> MissingExtraError:
    """Return the one-line error that names the extra to install."""
    return MissingExtraError(
        f"{needed_for} needs the package {package}, which is not installed.",
        hint=f'pip install "banyan-gpt[{extra}]"',
    )
