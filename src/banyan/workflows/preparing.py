"""`banyan prepare`: files and folders of text → shards in one folder, with the tokenizer they were cut by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from banyan.core.files import atomic_write_text, read_text, sha256_of
from banyan.core.model_directory import TOKENIZER_FILE
from banyan.core.types import Document
from banyan.data.corpus import CorpusReport, corpus_key, fingerprint_files
from banyan.data.preparation import prepare_corpus
from banyan.data.sources import list_files, read_documents
from banyan.workflows.reporter import Reporter
from banyan.workflows.tokenizers import read_vocabulary, refuse_model_directory, train_tokenizer

__all__ = ["CorpusReport", "prepare"]

_TOKENIZER_KEY = "tokenizer.key"  # names the texts and the size that the tokenizer beside it was trained to


def prepare(
    paths: Sequence[Path], output: Path, *, tokenizer: Path | None, vocab_size: int, reporter: Reporter
) -> CorpusReport:
    """Write the texts below `paths` as shards; a finished corpus of the same files and tokenizer is kept.

    Without a tokenizer one of `vocab_size` ordinary tokens is trained on the texts, and kept beside the shards.
    Raises: FileError, DataError for what cannot be read; ConfigError if `output` is a model; BusyError if another
    process prepares this folder; SpaceError.
    """
    refuse_model_directory(output)
    found = [file for path in paths for file in (list_files(path) if path.is_dir() else [path])]
    texts_key = fingerprint_files(found)
    if tokenizer is None:
        _train_tokenizer(paths, output, vocab_size=vocab_size, texts_key=texts_key, reporter=reporter)
    directory = tokenizer or output
    vocabulary = read_vocabulary(directory)
    text = read_text(directory / TOKENIZER_FILE)
    if not (output / TOKENIZER_FILE).is_file() or read_text(output / TOKENIZER_FILE) != text:
        atomic_write_text(output / TOKENIZER_FILE, text)  # so that a recipe finds all it needs in one folder
    reporter.stage("prepare")
    return prepare_corpus(
        _documents(paths),
        output,
        encoder=vocabulary,
        vocab_size=vocabulary.size,
        key=corpus_key(texts_key, fingerprint_files([directory / TOKENIZER_FILE])),
        tokenizer_sha256=sha256_of(directory / TOKENIZER_FILE),
        on_progress=lambda num_read: reporter.progress(0, 0, note=f"{num_read:,} documents"),
    )


def _train_tokenizer(
    paths: Sequence[Path], output: Path, *, vocab_size: int, texts_key: str, reporter: Reporter
) -> None:
    """Train a tokenizer, unless one is there that was trained on these texts to this size, or put there by a person."""
    key, marker = corpus_key(texts_key, vocab_size), output / _TOKENIZER_KEY
    if (output / TOKENIZER_FILE).is_file() and (not marker.is_file() or read_text(marker) == key):
        return
    reporter.stage("tokenizer")
    train_tokenizer(paths, output, vocab_size=vocab_size)
    atomic_write_text(marker, key)


def _documents(paths: Sequence[Path]) -> Iterator[Document]:
    for path in paths:
        yield from read_documents(path)
