from pathlib import Path

import pytest

from banyan.core.errors import ConfigError, DataError
from banyan.core.types import MaskKind, TokenSequence
from banyan.data.sequences import ExampleSequences, ShardWindows
from banyan.data.shards import ShardReader, ShardWriter

BOS, LM, EOS = 100, 101, 102


def write_shard(path: Path, documents: list[list[int]]) -> ShardReader:
    with ShardWriter(path, vocab_size=200) as writer:
        for document in documents:
            writer.add(document)
    return ShardReader(path)


def windows_over(tmp_path: Path, *shards: list[list[int]], seq_len: int = 4) -> ShardWindows:
    readers = [write_shard(tmp_path / f"{i}.shard", documents) for i, documents in enumerate(shards)]
    return ShardWindows("lm", readers, seq_len=seq_len, start_ids=(BOS, LM), end_id=EOS)


def test_every_token_of_every_document_is_predicted_once_in_order(tmp_path: Path) -> None:
    documents = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [], [10], [11, 12, 13], [14, 15]]
    windows = windows_over(tmp_path, documents[:2], documents[2:])
    learned = [
        target
        for window in (windows[i] for i in range(len(windows)))
        for target, weight in zip(window.targets, window.loss_weights, strict=True)
        if weight
    ]
    assert learned == [token for document in documents for token in [*document, EOS]]


def test_a_window_predicts_the_next_token_and_fits_the_row(tmp_path: Path) -> None:
    windows = windows_over(tmp_path, [[1, 2, 3, 4, 5, 6, 7]])
    assert [windows[i].token_ids for i in range(len(windows))] == [(BOS, LM, 1, 2), (3, 4, 5, 6), (7,)]
    assert [windows[i].targets for i in range(len(windows))] == [(LM, 1, 2, 3), (4, 5, 6, 7), (EOS,)]
    assert windows[0].loss_weights == (0.0, 1.0, 1.0, 1.0)
    assert windows[0].mask is MaskKind.CAUSAL


def test_start_tokens_longer_than_a_window_carry_no_loss(tmp_path: Path) -> None:
    windows = windows_over(tmp_path, [[1]], seq_len=1)
    assert [windows[i].loss_weights for i in range(len(windows))] == [(0.0,), (1.0,), (1.0,)]


def test_shards_without_documents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="hold no documents"):
        windows_over(tmp_path, [])


def test_a_document_must_start_with_something(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="start_ids is empty"):
        ShardWindows("lm", [], seq_len=4, start_ids=(), end_id=EOS)


def test_a_window_out_of_range_is_an_index_error(tmp_path: Path) -> None:
    windows = windows_over(tmp_path, [[1]])
    with pytest.raises(IndexError):
        windows[len(windows)]


def test_examples_are_given_back_by_number() -> None:
    one = TokenSequence(task="a", token_ids=(1,), targets=(2,), loss_weights=(1.0,), mask=MaskKind.CAUSAL)
    source = ExampleSequences("a", [one])
    assert (len(source), source[0], source.task) == (1, one, "a")


def test_documents_that_are_left_out_are_in_no_window(tmp_path: Path) -> None:
    shards = [
        write_shard(tmp_path / "0.shard", [[1, 2, 3], [4], [5, 6]]),
        write_shard(tmp_path / "1.shard", [[7], [8, 9, 10, 11, 12], [13]]),
    ]
    whole = ShardWindows("lm", shards, seq_len=4, start_ids=(BOS,), end_id=EOS)
    windows = ShardWindows("lm", shards, seq_len=4, start_ids=(BOS,), end_id=EOS, left_out=[{0, 2}, {1}])
    kept = [whole[index] for index in range(len(whole)) if not {1, 5, 8, 11, 12} & set(whole[index].targets)]
    assert [windows[index] for index in range(len(windows))] == kept
    assert [window.targets for window in kept] == [(4, EOS), (7, EOS), (13, EOS)]
