import json
from dataclasses import replace

import numpy as np
import pytest

from banyan.core.hashing import hash_token_ids
from banyan.data.batch import PADDING, Batch, collate
from banyan.data.masking import MaskShares, mix_masks
from banyan.testing.faults import RepeatOne, permute_ids, raise_ids, shuffle_targets
from banyan.testing.training import SEQ_LEN, TASKS, tiny_loader, tiny_sequence
from banyan.train.health.data import BatchWatch, DataShape, describe_rows

SHAPE = DataShape(vocab_size=320, first_image_id=320, is_word_task=(True, False, False))


def watched(num: int = 100) -> tuple[BatchWatch, list[Batch]]:
    """A watch that has seen healthy batches without a word, and the batches that come next."""
    watch, loader = BatchWatch(SHAPE), tiny_loader(rows_per_batch=16, size=400)
    for _ in range(num):
        assert watch.look(loader.next_batch()) == []
    return watch, [loader.next_batch() for _ in range(20)]


def names(watch: BatchWatch, batches: list[Batch]) -> list[str]:
    return [finding.signal for batch in batches for finding in watch.look(batch)]


def test_ids_that_the_model_does_not_have_are_found_at_once() -> None:
    watch, batches = watched(3)
    assert names(watch, [raise_ids(vocab_size=320)(batches[0], 0)]) == ["wrong_vocabulary"]


def test_a_loader_that_stands_still_is_found_at_the_third_time() -> None:
    watch, batches = watched()
    repeat = RepeatOne()
    assert names(watch, [repeat(batch, 0) for batch in batches[:4]]) == ["repeated_batch"] * 2


def test_a_data_set_of_few_batches_may_repeat_itself() -> None:
    watch, batches = watched(0)
    assert names(watch, batches[:4] * 5) == []


def test_targets_that_no_longer_follow_their_inputs_are_found_at_once() -> None:
    watch, batches = watched()
    found = names(watch, [shuffle_targets(batch, n) for n, batch in enumerate(batches[:5])])
    assert found == ["wrong_targets"] * 5


def test_text_whose_tokens_are_hidden_rightly_has_other_targets_than_the_tokens_that_follow() -> None:
    watch, _ = watched()
    generator, shares = np.random.default_rng(0), MaskShares(full=1.0)
    texts = [tiny_sequence("words", n, length=12) for n in range(8)]
    hidden = [[mix_masks(text, shares, hidden_id=0, generator=generator)] for text in texts]
    assert names(watch, [collate(hidden, seq_len=SEQ_LEN, pad_id=0, task_names=TASKS)]) == []


def test_other_tokens_than_before_are_found_within_a_few_batches() -> None:
    watch, batches = watched()
    found = names(watch, [permute_ids(num_words=256)(batch, 0) for batch in batches[:5]])
    assert found == ["data_changed"] and watch.has_shifted


def test_a_resumed_watch_sees_the_same() -> None:
    watch, batches = watched()
    again = BatchWatch(SHAPE)
    again.restore(json.loads(json.dumps(watch.state())))
    changed = [permute_ids(num_words=256)(batch, 0) for batch in batches]
    assert names(again, changed) == names(watch, changed)
    assert again.state() == watch.state()


@pytest.mark.parametrize("row", [0, 5])
def test_rows_are_named_by_their_tasks_and_the_hash_of_their_ids(row: int) -> None:
    batch = tiny_loader(rows_per_batch=6).next_batch()
    described = describe_rows(batch, task_names=TASKS)
    ids = batch.token_ids[row][batch.segment_ids[row] >= 0].tolist()
    assert described[row]["sha256"] == hash_token_ids([ids])[:16]
    assert set(described[row]["tasks"]) <= set(TASKS)


def test_batches_that_are_mostly_padding_are_told_once() -> None:
    watch, loader = BatchWatch(SHAPE), tiny_loader(rows_per_batch=16, size=400)
    padded = [_padded(loader.next_batch()) for _ in range(100)]
    assert names(watch, padded).count("mostly_padding") == 1


def _padded(batch: Batch) -> Batch:
    segment_ids = batch.segment_ids.clone()
    segment_ids[:, 4:] = PADDING
    return replace(batch, segment_ids=segment_ids)
