"""Preparing a corpus: documents → cleaned, without repeats, as shards of token ids.

The same documents under the same key always give the same shards, byte for byte. What a stopped preparation finished is
kept and built upon; `corpus.json`, written last, says that a corpus is complete.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Protocol, TypeAlias

from banyan.core.config import config, config_to_mapping
from banyan.core.errors import BanyanError, ConfigError, DataError
from banyan.core.files import as_write_error, atomic_write_json, read_bytes, sha256_of
from banyan.core.locks import hold_directory
from banyan.core.types import Document
from banyan.data.cleaning import CleaningConfig, clean_text, text_fingerprint
from banyan.data.corpus import CORPUS_FILE, CorpusReport, ShardEntry, corpus_key, load_corpus, load_shards, read_report
from banyan.data.shards import SHARD_SUFFIX, ShardWriter

_PROGRESS_FILE = "progress.json"  # the report so far, while the corpus is not complete
_SEEN_FILE = "seen.bin"  # fingerprints of the documents in the complete shards
_FINGERPRINT_BYTES = 16
_BATCH_CHARACTERS = 1 << 20  # encoded at once; has no influence on the result


class TextEncoder(Protocol):
    """Turns texts into ordinary token ids."""

    def encode_batch(self, texts: Sequence[str], /) -> list[list[int]]:
        """Return the ids of each text."""
        ...


@config
class PreparationConfig:
    """How a corpus becomes shards."""

    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    drop_duplicates: bool = True  # a document with the same words as an earlier one
    shard_tokens: int = 1 << 24  # a shard is closed when it holds at least this many

    def __post_init__(self) -> None:
        if self.shard_tokens < 1:
            raise ConfigError(f"preparation.shard_tokens={self.shard_tokens} must be at least 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counts:
    """Documents read up to a point, and why some of them were left out."""

    num_read: int
    num_duplicates: int
    num_too_short: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    """What is remembered of a document that goes into a shard."""

    fingerprint: bytes
    num_bytes: int
    counts: _Counts  # with this document


_Encoded: TypeAlias = tuple[_Kept, list[int]]


class _Sieve:
    """Cleans documents and lets through those that are long enough and new."""

    def __init__(self, config: PreparationConfig, *, seen: set[bytes], counts: _Counts) -> None:
        self.counts = counts
        self._config = config
        self._seen = seen

    def sift(self, documents: Iterable[Document]) -> Iterator[tuple[_Kept, str]]:
        for document in documents:
            text = clean_text(document.text, self._config.cleaning)
            fingerprint = text_fingerprint(text) if self._config.drop_duplicates else b""
            is_too_short = len(text) < self._config.cleaning.min_characters
            is_duplicate = not is_too_short and fingerprint in self._seen
            self.counts = _Counts(
                num_read=self.counts.num_read + 1,
                num_duplicates=self.counts.num_duplicates + is_duplicate,
                num_too_short=self.counts.num_too_short + is_too_short,
            )
            if is_too_short or is_duplicate:
                continue
            if fingerprint:
                self._seen.add(fingerprint)
            yield _Kept(fingerprint=fingerprint, num_bytes=len(text.encode()), counts=self.counts), text


def prepare_corpus(
    documents: Iterable[Document],
    output: Path,
    *,
    encoder: TextEncoder,
    vocab_size: int,
    key: str,
    tokenizer_sha256: str = "",
    config: PreparationConfig | None = None,
    on_progress: Callable[[int], None] = lambda num_read: None,
) -> CorpusReport:
    """Write documents into `output` as shards and return what became of them.

    `key` names the documents and the tokenizer (see `corpus_key`): a complete corpus with the same key is returned as
    it is, an unfinished one is continued after its last complete shard, any other is replaced. `tokenizer_sha256` is
    written down for whoever reads the shards. `on_progress` is told the number of documents read, now and then.
    Raises: DataError if no document is left; BusyError if another process prepares this folder; SpaceError.
    """
    config = config or PreparationConfig()
    key = corpus_key(key, config, vocab_size)
    with hold_directory(output):
        if (finished := _finished(output, key)) is not None:
            return finished
        report, seen = _resume(output, key, config) or _start(output, key, vocab_size)
        report = dataclasses.replace(report, tokenizer_sha256=tokenizer_sha256)
        counts = _Counts(
            num_read=report.num_read, num_duplicates=report.num_duplicates, num_too_short=report.num_too_short
        )
        sieve = _Sieve(config, seen=seen, counts=counts)
        encoded = _encode(sieve.sift(islice(documents, report.num_read, None)), encoder, on_progress)
        while (longer := _write_shard(output, encoded, report, config)) is not None:
            report = longer
        return _finish(output, dataclasses.replace(report, **dataclasses.asdict(sieve.counts)))


def _encode(
    kept: Iterator[tuple[_Kept, str]], encoder: TextEncoder, on_progress: Callable[[int], None]
) -> Iterator[_Encoded]:
    batch: list[tuple[_Kept, str]] = []
    num_characters = 0
    for item in chain(kept, [None]):
        if item is not None:
            batch.append(item)
            num_characters += len(item[1])
        if batch and (item is None or num_characters >= _BATCH_CHARACTERS):
            ids = encoder.encode_batch([text for _, text in batch])
            on_progress(batch[-1][0].counts.num_read)
            yield from zip([document for document, _ in batch], ids, strict=True)
            batch, num_characters = [], 0


def _write_shard(
    output: Path, encoded: Iterator[_Encoded], report: CorpusReport, config: PreparationConfig
) -> CorpusReport | None:
    """Write the next documents into one shard and return the report with it, or None if there are none left."""
    first = next(encoded, None)
    if first is None:
        return None
    path = output / f"{len(report.shards):05d}{SHARD_SUFFIX}"
    written: list[_Kept] = []
    with ShardWriter(path, vocab_size=report.vocab_size) as writer:
        for document, ids in chain([first], encoded):
            writer.add(ids)
            written.append(document)
            if writer.num_tokens >= config.shard_tokens:
                break
    entry = ShardEntry(file=path.name, num_tokens=writer.num_tokens, num_documents=len(written), sha256=sha256_of(path))
    longer = dataclasses.replace(
        report,
        **dataclasses.asdict(written[-1].counts),
        num_documents=report.num_documents + len(written),
        num_tokens=report.num_tokens + entry.num_tokens,
        num_bytes=report.num_bytes + sum(document.num_bytes for document in written),
        shards=(*report.shards, entry),
    )
    _save_progress(output, longer, written)
    return longer


def _save_progress(output: Path, report: CorpusReport, written: Sequence[_Kept]) -> None:
    """Remember the new shard; the fingerprints go first, so that no report counts documents they lack."""
    path = output / _SEEN_FILE
    try:
        with path.open("r+b" if path.exists() else "wb") as file:
            file.seek(_FINGERPRINT_BYTES * (report.num_documents - len(written)))
            file.write(b"".join(document.fingerprint for document in written))
            file.truncate()
            os.fsync(file.fileno())
    except OSError as error:
        raise as_write_error(error, path) from error
    atomic_write_json(output / _PROGRESS_FILE, config_to_mapping(report))


def _finished(output: Path, key: str) -> CorpusReport | None:
    """Return the report of a complete corpus of this key whose shards are all whole."""
    try:
        report, _ = load_corpus(output)
    except BanyanError:  # missing or damaged: it is made (again)
        return None
    return report if report.key == key else None


def _resume(output: Path, key: str, config: PreparationConfig) -> tuple[CorpusReport, set[bytes]] | None:
    """Return what a stopped preparation of this key has finished, if all of it is whole."""
    try:
        report = read_report(output / _PROGRESS_FILE)
        load_shards(output, report)
        data = read_bytes(output / _SEEN_FILE) if config.drop_duplicates else b""
    except BanyanError:  # nothing to go on from
        return None
    num_needed = _FINGERPRINT_BYTES * report.num_documents if config.drop_duplicates else 0
    if report.key != key or len(data) < num_needed:
        return None
    return report, {data[at : at + _FINGERPRINT_BYTES] for at in range(0, num_needed, _FINGERPRINT_BYTES)}


def _start(output: Path, key: str, vocab_size: int) -> tuple[CorpusReport, set[bytes]]:
    """Clear away whatever another preparation left in the folder."""
    leftovers = [output / name for name in (CORPUS_FILE, _PROGRESS_FILE, _SEEN_FILE)]
    for path in [*leftovers, *output.glob(f"*{SHARD_SUFFIX}")]:
        path.unlink(missing_ok=True)
    return CorpusReport(key=key, vocab_size=vocab_size), set()


def _finish(output: Path, report: CorpusReport) -> CorpusReport:
    if not report.num_documents:
        raise DataError(
            f"no document is left to learn from: {report.num_read} read, {report.num_too_short} of them too short.",
            hint="check the files, or lower cleaning.min_characters",
        )
    atomic_write_json(output / CORPUS_FILE, config_to_mapping(report))
    for name in (_PROGRESS_FILE, _SEEN_FILE):
        (output / name).unlink(missing_ok=True)
    return report
