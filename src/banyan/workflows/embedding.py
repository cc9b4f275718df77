"""`banyan embed`: texts or a file → vectors, in batches, into an array, a table of tensors or JSON lines."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from banyan.core.errors import ConfigError, DataError, UnknownNameError
from banyan.core.files import atomic_write_bytes
from banyan.core.model_directory import name_of
from banyan.core.registry import did_you_mean
from banyan.data.opening import read_lines
from banyan.data.sources import detect_format, read_documents
from banyan.infer.embedding import EmbeddingConfig, Pooling
from banyan.runtime.loaded_model import LoadedModel
from banyan.workflows.reporter import Reporter

Vectors = NDArray[np.float32]

BATCH = 256  # texts between two moves of the progress bar


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """The vectors of some texts, and how they were made."""

    texts: tuple[str, ...]
    vectors: Vectors  # (texts, D)
    facts: Mapping[str, str]  # model, its hash, pooling, layer, normalised


def read_texts(file: Path, *, column: str | None = None) -> list[str]:
    """Return the texts of a file: the lines of a plain text that are not blank, one column of any other table.

    Raises: FileError, DataError in one line for whatever is wrong with the file.
    """
    if detect_format(file) == "text":
        texts = lines_of(read_lines(file))
    else:
        texts = [document.text for document in read_documents(file, column=column)]
    if not texts:
        raise DataError(f"{file} holds no text.", hint="give a file with one text a line, or a table of texts")
    return texts


def lines_of(lines: Iterable[str]) -> list[str]:
    """Return the lines that are not blank, without their ends."""
    return [line.rstrip("\r\n") for line in lines if line.strip()]


def embedding_config(*, pooling: str, layer: int, normalises: bool, splits_long_texts: bool) -> EmbeddingConfig:
    """Return how vectors are made, from what a user typed.

    Raises: UnknownNameError for a pooling that does not exist.
    """
    if pooling not in list(Pooling):
        raise UnknownNameError(f"no pooling {pooling!r}{did_you_mean(pooling, list(Pooling))}")
    return EmbeddingConfig(
        pooling=Pooling(pooling), layers=(layer,), normalises=normalises, splits_long_texts=splits_long_texts
    )


def embed_texts(model: LoadedModel, texts: Sequence[str], how: EmbeddingConfig, *, reporter: Reporter) -> Embedded:
    """Return the vectors of texts, in their order.

    Raises: InputError, ContextLengthError naming the first text that has no vector.
    """
    batches = []
    for first in range(0, len(texts), BATCH):
        reporter.progress(first, len(texts), note=f"{first} of {len(texts)} texts")
        batches.append(model.engine.embed(texts[first : first + BATCH], how, first_number=first + 1)[:, 0].numpy())
    reporter.progress(len(texts), len(texts), note=f"{len(texts)} texts")
    (num_blocks,) = how.blocks(model.model.config)
    facts = {
        "model": name_of(model.directory),
        "model_sha256": model.sha256,
        "pooling": str(how.pooling),
        "layer": str(num_blocks),
        "normalised": str(how.normalises).lower(),
    }
    return Embedded(texts=tuple(texts), vectors=np.concatenate(batches), facts=facts)


def check_output(path: Path) -> None:
    """Refuse a file whose ending names no form of vectors, before any work is done for it.

    Raises: ConfigError with the endings there are.
    """
    if path.suffix.lower() not in _WRITERS:
        raise ConfigError(
            f"--out {path} ends in {path.suffix or 'nothing'}; vectors are written as {', '.join(_WRITERS)}."
        )


def write_vectors(path: Path, embedded: Embedded) -> None:
    """Write vectors in the form that the file's ending names, whole or not at all.

    `.npy` is one float32 array; `.safetensors` holds it as `vectors`, with how it was made in the header; `.jsonl` has
    a line {"text", "vector"} for each text.
    Raises: ConfigError for another ending; SpaceError if it cannot be written.
    """
    check_output(path)
    atomic_write_bytes(path, _WRITERS[path.suffix.lower()](embedded))


def vector_lines(embedded: Embedded) -> Iterator[str]:
    """Yield a JSON line for each text with its vector."""
    for text, vector in zip(embedded.texts, embedded.vectors, strict=True):
        yield json.dumps({"text": text, "vector": vector.tolist()}, ensure_ascii=False) + "\n"


def _as_array(embedded: Embedded) -> bytes:
    data = io.BytesIO()
    np.save(data, embedded.vectors, allow_pickle=False)
    return data.getvalue()


def _as_tensors(embedded: Embedded) -> bytes:
    return save({"vectors": embedded.vectors}, metadata=dict(embedded.facts))


def _as_lines(embedded: Embedded) -> bytes:
    return "".join(vector_lines(embedded)).encode("utf-8")


_WRITERS: dict[str, Callable[[Embedded], bytes]] = {
    ".npy": _as_array,
    ".jsonl": _as_lines,
    ".safetensors": _as_tensors,
}
