"""`banyan prepare`: files and folders of text → shards in one folder, with the tokenizer they were cut by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from banyan.core.model_directory import TOKENIZER_FILE
from banyan.core.types import Document
from banyan.data.corpus import CorpusReport, corpus_key, fingerprint_files
from banyan.data.preparation import prepare_corpus
from banyan.data.sources import list_files, read_documents
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.workflows.reporter import Reporter
from banyan.workflows.tokenizers import train_tokenizer

__all__ = ["CorpusReport", "prepare"]


def prepare(
    paths: Sequence[Path], output: Path, *, tokenizer: Path | None, vocab_size: int, reporter: Reporter
) -> CorpusReport:
    """Write the texts below `paths` as shards; a finished corpus of the same files and tokenizer is kept.

    Raises: FileError, DataError for what cannot be read; BusyError if another process prepares this folder; SpaceError.
    """
    directory = tokenizer or output
    if tokenizer is None and not (output / TOKENIZER_FILE).is_file():
        reporter.stage("tokenizer")
        train_tokenizer(paths, output, vocab_size=vocab_size)
    vocabulary = Vocabulary.load(directory)
    reporter.stage("prepare")
    found = [file for path in paths for file in (list_files(path) if path.is_dir() else [path])]
    return prepare_corpus(
        _documents(paths),
        output,
        encoder=vocabulary,
        vocab_size=vocabulary.size,
        key=corpus_key(fingerprint_files(found), fingerprint_files([directory / TOKENIZER_FILE])),
        on_progress=lambda num_read: reporter.progress(0, 0, note=f"{num_read:,} documents"),
    )


def _documents(paths: Sequence[Path]) -> Iterator[Document]:
    for path in paths:
        yield from read_documents(path)
