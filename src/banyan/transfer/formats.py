"""The foreign formats that Banyan reads. A new one is one file, one line in this list and one test."""

from __future__ import annotations

from pathlib import Path

from banyan.core.errors import CheckpointError, FileError
from banyan.core.registry import Registry
from banyan.transfer.foreign_model import ForeignModel, WeightFormat
from banyan.transfer.hugging_face import HuggingFaceDirectory
from banyan.transfer.keras_gpt2 import KerasGPT2
from banyan.transfer.llama2c import Llama2cFile

AUTO = "auto"
WEIGHT_FORMATS: Registry[WeightFormat] = Registry("weight format")
WEIGHT_FORMATS.add("hugging_face", HuggingFaceDirectory())
WEIGHT_FORMATS.add("keras_gpt2", KerasGPT2())
WEIGHT_FORMATS.add("llama2c", Llama2cFile())

_PICKLE_ENDINGS = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
_PARTS_OF_FOLDERS = {".safetensors", ".json"}
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def open_foreign(source: Path, *, format: str = AUTO) -> ForeignModel:
    """Open a foreign model, checked but not yet read; `format` is a name of the registry or auto.

    Raises: FileError if there is no such file or folder; CheckpointError in one line if it is of no known format, is a
    pickle, or is not whole; UnknownNameError for a format nobody knows; MissingExtraError if a package is missing.
    """
    asked = None if format == AUTO else WEIGHT_FORMATS[format]
    if not source.exists():
        raise FileError(f"{source} not found.", hint="give a folder or a file of weights")
    try:
        return _choose(source, asked).open(source)
    except OSError as error:
        if isinstance(error, FileError):
            raise CheckpointError(error.message, hint=error.hint) from error
        raise CheckpointError(f"{error.filename or source} cannot be read: {error.strerror or error}.") from error


def _choose(source: Path, asked: WeightFormat | None) -> WeightFormat:
    candidates = WEIGHT_FORMATS.values() if asked is None else (asked,)
    found = next((known for known in candidates if known.recognises(source)), None)
    if found is not None:
        return found
    if pickle := _find_pickle(source):
        raise CheckpointError(
            f"{pickle} is a pickle, which can run any code when it is opened; Banyan never opens one.",
            hint="where you trust it, convert it once: "
            "transformers.AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)",
        )
    if asked is not None:  # it knows best what is missing
        return asked
    known_formats = "; ".join(known.does for known in WEIGHT_FORMATS.values())
    is_part = source.suffix in _PARTS_OF_FOLDERS
    raise CheckpointError(
        f"{source} is of no format that Banyan reads: {known_formats}.",
        hint=f"give the folder: {source.parent}" if is_part else "--format NAME says what a format lacks",
    )


def _find_pickle(source: Path) -> Path | None:
    candidates = [source] if source.is_file() else sorted(source.iterdir())
    return next((path for path in candidates if path.is_file() and _is_pickle(path)), None)


def _is_pickle(path: Path) -> bool:
    if path.suffix.lower() not in _PICKLE_ENDINGS:
        return False
    with path.open("rb") as file:
        return file.read(4).startswith(_PICKLE_STARTS)
