"""A prepared corpus on disk: its shards, and `corpus.json`, which says what they hold and that they are complete."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from banyan.core.config import config, config_from_mapping, config_to_mapping
from banyan.core.errors import DataError, FileError
from banyan.core.files import read_json, sha256_of
from banyan.data.shards import ShardReader

CORPUS_FILE = "corpus.json"
_MAX_DAMAGED_FRACTION = 0.001  # of the documents; more means that the disk, not a bit, is bad


@config
class ShardEntry:
    """One complete shard."""

    file: str
    num_tokens: int
    num_documents: int
    sha256: str


@config
class CorpusReport:
    """What a preparation has read and kept."""

    key: str  # of what it was made from: documents, tokenizer, configuration
    vocab_size: int
    tokenizer_sha256: str = ""  # of the tokenizer.json that cut the texts; empty: not known
    num_read: int = 0  # documents
    num_duplicates: int = 0
    num_too_short: int = 0
    num_documents: int = 0  # kept
    num_tokens: int = 0
    num_bytes: int = 0  # of the kept texts in UTF-8; bits per byte divide by it
    shards: tuple[ShardEntry, ...] = ()


def corpus_key(*parts: Any) -> str:
    """Return a key that changes when any of the parts (plain values and configs) does."""
    plain = json.dumps(config_to_mapping(parts), sort_keys=True, ensure_ascii=False)
    return sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def fingerprint_files(paths: Iterable[Path]) -> str:
    """Return a key for the content of files, and of every file in folders, wherever they lie."""
    entries = []
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        entries += [[file.relative_to(path).as_posix() if path.is_dir() else "", sha256_of(file)] for file in files]
    return corpus_key(entries)


def read_report(path: Path) -> CorpusReport:
    """Read a corpus.json.

    Raises: FileError if it is missing or not JSON; ConfigError if it holds something else.
    """
    return config_from_mapping(CorpusReport, read_json(path), source=str(path))


def load_corpus(directory: Path, *, verify: bool = True) -> tuple[CorpusReport, list[ShardReader]]:
    """Return the report and the shards of a prepared corpus.

    Raises: FileError if there is no complete corpus; DataError naming a shard that is missing, damaged or another's.
    """
    if not (directory / CORPUS_FILE).is_file():
        raise FileError(f"{directory} holds no complete corpus (no {CORPUS_FILE}).", hint="make it: banyan prepare")
    report = read_report(directory / CORPUS_FILE)
    return report, load_shards(directory, report, verify=verify)


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundShards:
    """The shards of a corpus, and the few documents in them that must not be learned from."""

    shards: tuple[ShardReader, ...]
    left_out: tuple[frozenset[int], ...]  # numbers of the damaged documents, for each shard

    @property
    def num_left_out(self) -> int:
        """Documents that are damaged."""
        return sum(map(len, self.left_out))


def load_sound_shards(directory: Path, report: CorpusReport) -> SoundShards:
    """Open the shards that a report lists and check every block; a few damaged documents are left out.

    Raises: DataError naming a shard that is missing or another's, or shard and offset of the first damage if more than
    one document in a thousand is damaged.
    """
    shards = tuple(load_shards(directory, report, verify=False))
    damaged = [shard.damaged_documents() for shard in shards]
    num_damaged, num_documents = sum(map(len, damaged)), sum(map(len, shards))
    if num_damaged > _MAX_DAMAGED_FRACTION * num_documents:
        path, offset = next((shard.path, min(d.values())) for shard, d in zip(shards, damaged, strict=True) if d)
        raise DataError(
            f"shard {path}: CRC mismatch at offset {offset}; {num_damaged} of {num_documents} documents are damaged, "
            f"at most {_MAX_DAMAGED_FRACTION:.1%} may be left out.",
            hint="delete it and run `banyan prepare` again",
        )
    return SoundShards(shards=shards, left_out=tuple(map(frozenset, damaged)))


def load_shards(directory: Path, report: CorpusReport, *, verify: bool = True) -> list[ShardReader]:
    """Open the shards that a report lists.

    Raises: DataError naming a shard that is missing, damaged or another's.
    """
    return [_load_shard(directory / entry.file, entry, verify=verify) for entry in report.shards]


def _load_shard(path: Path, entry: ShardEntry, *, verify: bool) -> ShardReader:
    if not path.is_file():
        raise DataError(f"shard {path} is missing.", hint="run `banyan prepare` again")
    shard = ShardReader(path, verify=verify)
    if (shard.num_tokens, shard.num_documents) != (entry.num_tokens, entry.num_documents):
        raise DataError(
            f"shard {path} holds {shard.num_tokens} tokens; {CORPUS_FILE} says {entry.num_tokens}.",
            hint="run `banyan prepare` again",
        )
    return shard
