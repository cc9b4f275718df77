"""`banyan import`: a foreign model → a Banyan model directory, whole or not at all; or only a look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from banyan.core.errors import CheckpointError, ConfigError
from banyan.core.files import atomic_write_bytes, check_room, nearest_existing
from banyan.core.model_directory import name_of, new_model_directory
from banyan.model.config import ModelConfig
from banyan.runtime.description import ModelDescription, write_description
from banyan.tokenizers.foreign import ForeignTokenizer, read_foreign_tokenizer
from banyan.transfer.foreign_model import ForeignModel
from banyan.transfer.formats import open_foreign
from banyan.transfer.model_files import write_model_files
from banyan.workflows.reporter import Reporter

_ROOM_BESIDE_WEIGHTS = 64 << 20  # bytes: tokenizer and configs
_FLOAT32_BYTES = 4  # what weights and cache are computed in


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportCheck:
    """What an import would bring, and what the model would need."""

    source: Path
    format: str
    architecture: str
    model: ModelConfig
    num_parameters: int
    num_tensors: int
    dtypes: tuple[str, ...]  # the most used first
    left_out: tuple[str, ...]  # tensors that are no weights, or are there twice
    ignored_fields: tuple[str, ...]  # of config.json, unknown to the architecture
    tokenizer_size: int  # one more than its highest id
    chat: str
    chat_reason: str
    disk_bytes: int
    memory_bytes: int  # of the weights, as they are computed with
    cache_bytes_per_token: int
    available_bytes: int  # memory free on this machine now

    @property
    def fits(self) -> bool:
        """Whether weights and the cache of one whole context have room in the memory."""
        return self.memory_bytes + self.model.max_seq_len * self.cache_bytes_per_token <= self.available_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportReport:
    """What was imported, from where to where."""

    check: ImportCheck
    directory: Path
    weights_sha256: str


def check_import(source: Path, *, format: str) -> ImportCheck:
    """Look at everything in a foreign model but the values of its weights; nothing is written.

    Raises: FileError if there is nothing; CheckpointError in one line for whatever cannot be imported; UnknownNameError
    for a format nobody knows; MissingExtraError.
    """
    return _describe(source, *_open(source, format=format))


def import_model(source: Path, directory: Path, *, format: str, reporter: Reporter) -> ImportReport:
    """Make a model directory of a foreign model.

    Raises: as `check_import`; ConfigError if the directory exists; SpaceError if there is no room.
    """
    if directory.exists() or directory.is_symlink():
        raise ConfigError(f"{directory} exists; an import begins a new folder.", hint="name another folder")
    reporter.stage("check")
    foreign, tokenizer = _open(source, format=format)
    check = _describe(source, foreign, tokenizer)
    check_room(nearest_existing(directory.absolute().parent), num_bytes=check.disk_bytes + _ROOM_BESIDE_WEIGHTS)
    reporter.stage("write")
    with new_model_directory(directory) as temporary:
        sha256 = write_model_files(
            foreign, temporary, on_progress=lambda done: reporter.progress(done, check.disk_bytes)
        )
        for name, content in tokenizer.to_files().items():
            atomic_write_bytes(temporary / name, content)
        description = ModelDescription(chat=check.chat, parent=name_of(source), parent_sha256=sha256)
        write_description(temporary, description)
    return ImportReport(check=check, directory=directory, weights_sha256=sha256)


def _open(source: Path, *, format: str) -> tuple[ForeignModel, ForeignTokenizer]:
    foreign = open_foreign(source, format=format)
    tokenizer = read_foreign_tokenizer(foreign.tokenizer)
    rows = foreign.config.model.vocab_size
    if tokenizer.vocab_size > rows:
        raise CheckpointError(
            f"{source}: the tokenizer makes ids up to {tokenizer.vocab_size - 1}, and the model has {rows} rows for "
            "them; they belong to different models."
        )
    return foreign, tokenizer


def _describe(source: Path, foreign: ForeignModel, tokenizer: ForeignTokenizer) -> ImportCheck:
    model = foreign.config.model
    return ImportCheck(
        source=source,
        format=foreign.format,
        architecture=foreign.config.architecture,
        model=model,
        num_parameters=foreign.num_weights,
        num_tensors=len(foreign.tensors),
        dtypes=foreign.dtypes,
        left_out=foreign.left_out,
        ignored_fields=foreign.config.ignored,
        tokenizer_size=tokenizer.vocab_size,
        chat=tokenizer.chat_format.name,
        chat_reason=tokenizer.recognition.reason,
        disk_bytes=foreign.num_bytes,
        memory_bytes=foreign.num_weights * _FLOAT32_BYTES,
        cache_bytes_per_token=2 * model.num_layers * model.num_kv_heads * model.head_dim * _FLOAT32_BYTES,
        available_bytes=psutil.virtual_memory().available,
    )
