"""A corpus is loaded whole, or one line says which shard is wrong."""

from pathlib import Path

import pytest

from banyan.core.config import config_to_mapping
from banyan.core.errors import DataError, FileError
from banyan.core.files import atomic_write_json, sha256_of
from banyan.data.cleaning import CleaningConfig
from banyan.data.corpus import (
    CORPUS_FILE,
    CorpusReport,
    ShardEntry,
    corpus_key,
    fingerprint_files,
    load_corpus,
    load_sound_shards,
)
from banyan.data.shards import ShardWriter


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Return a corpus of two shards."""
    entries = []
    for name, documents in {"00000.shard": [[1, 2], [3]], "00001.shard": [[4, 5, 6, 7]]}.items():
        with ShardWriter(tmp_path / name, vocab_size=10) as writer:
            for document in documents:
                writer.add(document)
        entries.append(
            ShardEntry(
                file=name,
                num_tokens=writer.num_tokens,
                num_documents=writer.num_documents,
                sha256=sha256_of(tmp_path / name),
            )
        )
    report = CorpusReport(key="k", vocab_size=10, num_documents=3, num_tokens=7, shards=tuple(entries))
    atomic_write_json(tmp_path / CORPUS_FILE, config_to_mapping(report))
    return tmp_path


def test_a_corpus_gives_its_report_and_shards(corpus: Path) -> None:
    report, shards = load_corpus(corpus)
    assert [document.tolist() for shard in shards for document in shard] == [[1, 2], [3], [4, 5, 6, 7]]
    assert report.num_tokens == sum(shard.num_tokens for shard in shards)


def test_a_folder_without_its_report_is_no_corpus(corpus: Path) -> None:
    (corpus / CORPUS_FILE).unlink()
    with pytest.raises(FileError, match="holds no complete corpus"):
        load_corpus(corpus)


def test_a_missing_shard_is_named(corpus: Path) -> None:
    (corpus / "00001.shard").unlink()
    with pytest.raises(DataError, match=r"00001\.shard is missing"):
        load_corpus(corpus)


def test_a_shard_of_another_corpus_is_refused(corpus: Path) -> None:
    (corpus / "00001.shard").write_bytes((corpus / "00000.shard").read_bytes())
    with pytest.raises(DataError, match=r"00001\.shard holds 3 tokens; corpus.json says 4"):
        load_corpus(corpus)


def test_keys_follow_the_content_of_files_not_their_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("same")
    first, second = (fingerprint_files([tmp_path / name]) for name in ("one", "two"))
    assert first == second
    (tmp_path / "two/a.txt").write_text("other")
    assert fingerprint_files([tmp_path / "two"]) != first
    assert corpus_key("a", CleaningConfig()) != corpus_key("a", CleaningConfig(min_characters=2))


def damaged_corpus(directory: Path, *, num_small: int) -> CorpusReport:
    """Write a corpus with one long document among short ones, and flip a bit deep inside the long one."""
    with ShardWriter(directory / "00000.shard", vocab_size=300) as writer:
        for number in range(num_small):
            writer.add([number % 300, 1])
        writer.add([7] * 100_000)
    entry = ShardEntry(file=writer.path.name, num_tokens=writer.num_tokens, num_documents=num_small + 1, sha256="")
    data = bytearray(writer.path.read_bytes())
    data[100_000] ^= 4
    writer.path.write_bytes(data)
    return CorpusReport(key="", vocab_size=300, shards=(entry,))


def test_one_damaged_document_in_a_thousand_is_left_out(tmp_path: Path) -> None:
    found = load_sound_shards(tmp_path, damaged_corpus(tmp_path, num_small=999))
    assert (found.left_out, found.num_left_out) == ((frozenset({999}),), 1)


def test_more_damage_than_that_is_refused_with_shard_and_offset(tmp_path: Path) -> None:
    report = damaged_corpus(tmp_path, num_small=998)
    with pytest.raises(DataError, match=r"00000\.shard: CRC mismatch at offset 65600; 1 of 999 documents") as caught:
        load_sound_shards(tmp_path, report)
    assert caught.value.exit_code == 5
