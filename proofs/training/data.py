"""Data that is damaged, that has changed, or that no reader should have to read."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

from banyan.core.config import config_to_mapping
from banyan.core.files import atomic_write_json, sha256_of
from banyan.data.corpus import CORPUS_FILE, ShardEntry, read_report
from banyan.data.shards import ShardWriter
from proofs.evidence import Cell
from proofs.training.bench import Bench, Place

_STEPS = ("train.steps=4", "train.evaluate_every=4")


def _prepared(bench: Bench, place: Place) -> Path:
    """Return a folder of shards that `banyan prepare` made in a place, and let the recipe name it."""
    texts = place.directory / "texts"
    texts.mkdir()
    for number, line in enumerate(bench.rows["language_modeling"].read_text().splitlines()):
        (texts / f"{number:03d}.txt").write_text(json.loads(line)["text"] + "\n", encoding="utf-8")
    place.run_banyan("prepare", "texts", "-o", "corpus", "--vocab-size", "300").expect(0)
    return place.directory / "corpus"


def _recipe_for(bench: Bench, place: Place, data: Path) -> None:
    tasks = [{"name": "text", "kind": "language_modeling", "data": {"train": str(data)}}]
    place.write(bench.recipe("pretraining", tasks=tasks))


def _overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 16
    path.write_bytes(data)


SHARD_HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda shard: shard.unlink(), "is missing"),
    "truncated": (lambda shard: shard.write_bytes(shard.read_bytes()[:-10]), "truncated at offset"),
    "cut in the header": (lambda shard: shard.write_bytes(shard.read_bytes()[:20]), "truncated at offset 20"),
    "wrong magic": (lambda shard: _overwrite(shard, 0, b"NOTBANYA"), "not a shard"),
    "tokens flipped": (lambda shard: _flip(shard, 100), "CRC mismatch at offset 64"),
    "index flipped": (lambda shard: _flip(shard, shard.stat().st_size - 6), "CRC mismatch at offset"),
    "header flipped": (lambda shard: _flip(shard, 25), "CRC mismatch at offset 0"),
    "zero length": (lambda shard: shard.write_bytes(b""), "truncated at offset 0"),
    "endless": (lambda shard: _overwrite(shard, 24, struct.pack("<Q", 2**60)), "CRC mismatch at offset 0"),
}


def bad_shard(bench: Bench, trial: str) -> str:
    """Damage a prepared shard; the run ends with exit 5 and names it, or passes over one document in a thousand."""
    place = bench.place(f"shard-{trial}".replace(" ", "-"))
    corpus = _prepared(bench, place)
    _recipe_for(bench, place, corpus)
    if trial == "one document in a thousand":
        _damage_one_of_a_thousand(corpus)
        place.train(*_STEPS).expect(0, "1 training rows were skipped")
        (event,) = place.events("examples_skipped")
        seen = f"skipped and counted: {event['count']}"
    else:
        (shard,) = corpus.glob("*.shard")
        harm, reason = SHARD_HARMS[trial]
        harm(shard)
        seen = place.train(*_STEPS).expect(5, shard.name, reason).strip().splitlines()[-2][-90:]
    place.clear()
    return seen


def _damage_one_of_a_thousand(corpus: Path) -> None:
    """Replace the shard by one of a thousand short documents and a long one, in the middle of which a bit flips."""
    (shard,) = corpus.glob("*.shard")
    report = read_report(corpus / CORPUS_FILE)
    with ShardWriter(shard, vocab_size=report.vocab_size) as writer:
        for number in range(1100):
            writer.add([number % 250, 7, number % 13])
        writer.add([9] * 100_000)
    entry = ShardEntry(
        file=shard.name, num_tokens=writer.num_tokens, num_documents=writer.num_documents, sha256=sha256_of(shard)
    )
    changed = config_to_mapping(report) | {"shards": [config_to_mapping(entry)]}
    atomic_write_json(corpus / CORPUS_FILE, changed)
    _flip(shard, 120_000)


def bad_text(bench: Bench, trial: str) -> str:
    """Let a text file hold a line that is not UTF-8, or one of 100 MB."""
    place = bench.place(f"text-{trial}".replace(" ", "-"))
    path = place.directory / "texts.jsonl"
    rows = bench.rows["language_modeling"].read_bytes()
    if trial == "a line that is not UTF-8":
        path.write_bytes(rows + b'{"text": "caf\xe9"}\n')
        _recipe_for(bench, place, path)
        said = place.train(*_STEPS).expect(3, "texts.jsonl is not UTF-8 at byte")
        seen = "exit 3: " + said.strip().splitlines()[-2][-60:]
    else:
        path.write_bytes(rows + b'{"text": "' + b"river mill " * (100_000_000 // 11) + b'"}\n')
        _recipe_for(bench, place, path)
        place.train(*_STEPS).expect(0)
        seen = "read, and trained on"
    place.clear()
    return seen


def changed_between(bench: Bench, trial: str) -> str:
    """Change one byte of the data while the run is stopped; it is refused, unless accepted, and then written down."""
    place = bench.place("data-changed")
    path = place.directory / "rows.jsonl"
    shutil.copy(bench.rows["language_modeling"], path)
    _recipe_for(bench, place, path)
    place.train(*_STEPS).expect(0)
    _overwrite(path, 12, b"X")  # inside the first text
    longer = ("train.steps=8", "train.evaluate_every=4")
    place.train(*longer, "--resume").expect(5, "not those the run began with", "--accept-data-change")
    place.train(*longer, "--resume", "--accept-data-change").expect(0)
    place.train(*longer, "--resume").expect(0)
    connection = sqlite3.connect(place.directory / "banyan.db")
    kinds = [kind for (kind,) in connection.execute("SELECT kind FROM run_events")]
    connection.close()
    assert kinds.count("data_changed") == 1, f"the database has {kinds}"
    place.clear()
    return "exit 5; accepted, it is one event in the database, and not asked for again"


_BAD_TEXTS = ("a line that is not UTF-8", "a line of 100 MB")
_BAD_SHARDS = (*SHARD_HARMS, "one document in a thousand")
CELLS = (
    Cell(
        number="D-15",
        fault="shards missing, cut, of another kind, flipped in tokens, index or header, empty; a line that is not "
        "UTF-8; a line of 100 MB",
        passes_if="exit 5 naming shard and offset; up to one document in a thousand skipped and counted; exit 3 naming "
        "file and byte of a text that is not UTF-8",
        trials=(*_BAD_SHARDS, *_BAD_TEXTS),
        run=lambda bench, trial: (bad_text if trial in _BAD_TEXTS else bad_shard)(bench, trial),
    ),
    Cell(
        number="D-16",
        fault="one byte of the data changed while the run is stopped",
        passes_if="exit 5; with --accept-data-change it goes on, and the database says so",
        trials=("once",),
        run=changed_between,
    ),
)
