"""The same documents give the same shards, whether or not the work was interrupted."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from banyan.core.errors import BusyError, ConfigError, DataError, FileError
from banyan.core.locks import LOCK_FILE, hold_directory
from banyan.core.types import Document
from banyan.data.corpus import CorpusReport, load_corpus
from banyan.data.preparation import PreparationConfig, prepare_corpus


class _Bytes:
    """Encodes a text as its bytes."""

    num_calls = 0

    def encode_batch(self, texts: Sequence[str], /) -> list[list[int]]:
        self.num_calls += 1
        return [list(text.encode()) for text in texts]


def _documents(num: int = 40) -> list[Document]:
    texts = [f"document number {i % 30}\n" * (1 + i % 3) for i in range(num)]  # some come twice
    texts[5:6] = ["  \n"]
    return [Document(text=text, source="test", identity=str(i)) for i, text in enumerate(texts)]


def _prepare(
    documents: Iterable[Document], output: Path, *, encoder: _Bytes | None = None, key: str = "one", **changes: int
) -> CorpusReport:
    config = PreparationConfig(**({"shard_tokens": 150} | changes))  # type: ignore[arg-type]
    return prepare_corpus(documents, output, encoder=encoder or _Bytes(), vocab_size=256, key=key, config=config)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != LOCK_FILE}


def _stop_after(documents: Sequence[Document], num: int) -> Iterator[Document]:
    yield from documents[:num]
    raise KeyboardInterrupt


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banyan.data.preparation._BATCH_CHARACTERS", 60)


def test_every_new_document_is_kept_once_and_in_order(tmp_path: Path) -> None:
    report = _prepare(_documents(), tmp_path)
    loaded, shards = load_corpus(tmp_path)
    texts = [bytes(document.tolist()).decode() for shard in shards for document in shard]
    expected = list(dict.fromkeys(document.text.strip() for document in _documents() if document.text.strip()))
    assert texts == expected
    assert loaded == report
    assert (report.num_read, report.num_too_short, report.num_documents) == (40, 1, len(expected))
    assert report.num_duplicates == 40 - 1 - len(expected) > 0
    assert report.num_bytes == report.num_tokens == sum(len(text) for text in expected)
    assert len(shards) > 3
    assert all(shard.num_tokens >= 150 for shard in shards[:-1])


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("num_before", [0, 1, 7, 20, 33, 40])
def test_an_interrupted_preparation_ends_with_the_same_bytes(tmp_path: Path, num_before: int) -> None:
    _prepare(_documents(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        _prepare(_stop_after(_documents(), num_before), tmp_path / "stopped")
    with pytest.raises(FileError, match="no complete corpus"):
        load_corpus(tmp_path / "stopped")
    _prepare(_documents(), tmp_path / "stopped")
    assert _contents(tmp_path / "stopped") == _contents(tmp_path / "whole")


@pytest.mark.usefixtures("small_batches")
def test_what_was_finished_is_not_done_again(tmp_path: Path) -> None:
    first, second, third = _Bytes(), _Bytes(), _Bytes()
    with pytest.raises(KeyboardInterrupt):
        _prepare(_stop_after(_documents(), 35), tmp_path, encoder=first)
    _prepare(_documents(), tmp_path, encoder=second)
    assert 0 < second.num_calls < first.num_calls
    _prepare(_documents(), tmp_path, encoder=third)
    assert third.num_calls == 0


def test_another_key_or_configuration_replaces_the_corpus(tmp_path: Path) -> None:
    _prepare(_documents(), tmp_path)
    changed = _prepare(_documents(3), tmp_path, key="two")
    assert changed.num_read == 4
    assert len(load_corpus(tmp_path)[1]) == 1
    again = _prepare(_documents(), tmp_path, key="two", shard_tokens=100_000)
    assert len(again.shards) == 1


def test_a_damaged_shard_is_noticed_and_made_again(tmp_path: Path) -> None:
    _prepare(_documents(), tmp_path)
    before = _contents(tmp_path)
    shard = tmp_path / "00001.shard"
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"00001\.shard: truncated"):
        load_corpus(tmp_path)
    shard.unlink()
    with pytest.raises(DataError, match=r"00001\.shard is missing"):
        load_corpus(tmp_path)
    _prepare(_documents(), tmp_path)
    assert _contents(tmp_path) == before


def test_duplicates_stay_where_they_are_wanted(tmp_path: Path) -> None:
    report = _prepare(_documents(), tmp_path, drop_duplicates=False)
    assert (report.num_duplicates, report.num_documents) == (0, 39)


def test_a_corpus_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no document is left to learn from: 1 read, 1 of them too short"):
        _prepare([Document(text=" ", source="a", identity="0")], tmp_path)


def test_one_process_at_a_time_prepares_a_folder(tmp_path: Path) -> None:
    with hold_directory(tmp_path), pytest.raises(BusyError):
        _prepare(_documents(), tmp_path)


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[int] = []
    prepare_corpus(_documents(), tmp_path, encoder=_Bytes(), vocab_size=256, key="a", on_progress=told.append)
    assert told
    assert told[-1] <= 40


def test_a_shard_size_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="shard_tokens=0"):
        PreparationConfig(shard_tokens=0)
