import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from banyan.core.errors import DataError, UnknownNameError
from banyan.core.types import MaskKind, TokenSequence
from banyan.data.batch import PADDING, Batch
from banyan.data.loader import MixtureLoader
from banyan.data.mixture import RatePlan
from banyan.data.pace import Paces
from banyan.data.sequences import ExampleSequences


def source(task: str, size: int, *, first_id: int = 0) -> ExampleSequences:
    """Sequence i is its own number, repeated 1 to 5 times."""
    sequences = [
        TokenSequence(
            task=task,
            token_ids=(first_id + i,) * (1 + i % 5),
            targets=(first_id + i,) * (1 + i % 5),
            loss_weights=(1.0,) * (1 + i % 5),
            mask=MaskKind.CAUSAL,
        )
        for i in range(size)
    ]
    return ExampleSequences(task, sequences)


def loader_over(sizes: dict[str, int], *, rates: dict[str, float] | None = None, seed: int = 0) -> MixtureLoader:
    return MixtureLoader(
        [source(task, size, first_id=1000 * k) for k, (task, size) in enumerate(sizes.items())],
        rates=rates or dict.fromkeys(sizes, 1 / len(sizes)),
        seq_len=16,
        rows_per_batch=4,
        pad_id=9999,
        task_names=tuple(sizes),
        seed=seed,
    )


def sequences_in(batch: Batch) -> list[int]:
    """Return the number of each packed sequence, row by row."""
    found = []
    for row, segments in zip(batch.token_ids, batch.segment_ids, strict=True):
        found += [int(row[segments == s][0]) for s in segments.unique() if s != PADDING]
    return found


def test_each_epoch_shows_every_example_once() -> None:
    loader = loader_over({"a": 512})
    seen: list[int] = []
    while len(seen) < 512:
        seen += sequences_in(loader.next_batch())
    assert max(Counter(seen).values()) <= 2  # the last batch reaches into the next epoch
    assert set(seen) == set(range(512))


def test_epochs_differ_and_so_do_seeds() -> None:
    def order(seed: int) -> list[int]:
        loader = loader_over({"a": 256}, seed=seed)
        return [n for _ in range(40) for n in sequences_in(loader.next_batch())]

    first = order(0)
    assert first[:256] != first[256:512]
    assert first == order(0)
    assert first != order(1)


@pytest.mark.parametrize("num_before", [0, 1, 7, 30, 61])
def test_a_restored_loader_continues_exactly(num_before: int) -> None:
    sizes = {"a": 300, "b": 7, "c": 1}
    whole = loader_over(sizes)
    for _ in range(num_before):
        whole.next_batch()
    resumed = loader_over(sizes)
    resumed.restore(json.loads(json.dumps(whole.state())))
    for _ in range(40):
        ours, theirs = resumed.next_batch(), whole.next_batch()
        assert torch.equal(ours.token_ids, theirs.token_ids)
        assert torch.equal(ours.segment_ids, theirs.segment_ids)
    assert resumed.epochs() == whole.epochs()


def test_tasks_get_their_share_of_rows_at_every_moment() -> None:
    rates = {"a": 0.6, "b": 0.3, "c": 0.1}
    loader = loader_over({"a": 50, "b": 50, "c": 50}, rates=rates)
    rows: Counter[int] = Counter()
    for _ in range(50):
        rows.update(loader.next_batch().task_ids[:, 0].tolist())
        for task, rate in enumerate(rates.values()):
            assert abs(rows[task] - rate * rows.total()) <= 1.5


def test_rows_of_different_tasks_stand_in_one_batch() -> None:
    loader = loader_over({"a": 5, "b": 5})
    assert set(loader.next_batch().task_ids[:, 0].tolist()) == {0, 1}


def test_rows_are_well_filled_even_from_a_tiny_source() -> None:
    loader = loader_over({"a": 3})
    filled = sum(loader.next_batch().num_tokens for _ in range(8)) / (8 * 4 * 16)
    assert filled > 0.9


def test_epochs_count_how_often_a_source_was_seen() -> None:
    loader = loader_over({"a": 256})
    while loader.epochs()["a"] < 1:
        loader.next_batch()
    assert loader.epochs()["a"] == pytest.approx(1, abs=0.1)


def test_other_data_or_another_seed_cannot_be_continued() -> None:
    state = loader_over({"a": 10}).state()
    with pytest.raises(DataError, match="other data"):
        loader_over({"a": 11}).restore(state)
    with pytest.raises(DataError, match="other seed"):
        loader_over({"a": 10}, seed=1).restore(state)


def test_a_task_without_examples_or_without_a_rate_is_refused() -> None:
    with pytest.raises(DataError, match="'a' has no training examples"):
        loader_over({"a": 0})
    with pytest.raises(UnknownNameError, match="no rate for task 'a'"):
        loader_over({"a": 3}, rates={"b": 1.0})


class Text:
    """Running text: sequence i counts up from 100 i, in 12 tokens."""

    task = "text"
    is_running_text = True

    def __len__(self) -> int:
        return 600

    def __getitem__(self, index: int) -> TokenSequence:
        ids = tuple(range(100 * index, 100 * index + 12))
        return TokenSequence(task="text", token_ids=ids, targets=ids, loss_weights=(1.0,) * 12, mask=MaskKind.CAUSAL)

    def varied(self, sequence: TokenSequence, generator: np.random.Generator, *, index: int) -> TokenSequence:
        return sequence


class Varied(Text):
    """The same text, read in both directions up to a place that is drawn each time."""

    def varied(self, sequence: TokenSequence, generator: np.random.Generator, *, index: int) -> TokenSequence:
        return replace(sequence, mask=MaskKind.PREFIX, prefix_len=int(generator.integers(2, 12)))


def varied_batches(loader: MixtureLoader, num: int) -> list[list[int]]:
    return [loader.next_batch(num_rows=1).attend_until.flatten().tolist() for _ in range(num)]


def varied_loader(seed: int = 0) -> MixtureLoader:
    return MixtureLoader(
        [Varied()], rates={"text": 1.0}, seq_len=12, rows_per_batch=1, pad_id=0, task_names=["text"], seed=seed
    )


def test_how_a_sequence_varies_follows_from_seed_and_place_and_so_survives_a_restart() -> None:
    first = varied_loader()
    before, state = varied_batches(first, 5), first.state()
    after = varied_batches(first, 5)
    again = varied_loader()
    assert varied_batches(again, 5) == before
    again.restore(state)
    assert varied_batches(again, 5) == after
    assert varied_batches(varied_loader(seed=1), 5) != before


def test_a_sequence_varies_anew_in_every_epoch() -> None:
    epochs = varied_batches(varied_loader(), 1200)
    assert sorted(epochs[:600]) != sorted(epochs[600:])


def text_loader() -> MixtureLoader:
    return MixtureLoader(
        [Text(), source("labels", 9, first_id=10**6)],
        rates={"text": 0.5, "labels": 0.5},
        seq_len=16,
        rows_per_batch=4,
        pad_id=-5,
        task_names=("text", "labels"),
        seed=0,
    )


RAMP = [(2, 4)] * 5 + [(4, 8)] * 5 + [(None, None)] * 5  # rows, tokens in a row


def test_rows_are_as_many_and_as_long_as_asked_for() -> None:
    loader = text_loader()
    shapes = [loader.next_batch(num_rows=rows, seq_len=length).token_ids.shape for rows, length in RAMP]
    assert [tuple(shape) for shape in shapes] == [(2, 4)] * 5 + [(4, 8)] * 5 + [(4, 16)] * 5


def test_short_rows_cut_running_text_and_pass_over_longer_examples() -> None:
    loader, seen, lengths = text_loader(), set(), set()
    for _ in range(30):
        batch = loader.next_batch(seq_len=4)
        is_text = batch.task_ids == 0
        seen |= set(batch.token_ids[is_text].tolist())
        lengths |= {int((segments == s).sum()) for segments in batch.segment_ids for s in segments.unique() if s >= 0}
    assert {token % 100 for token in seen} == set(range(12))
    assert lengths == {1, 2, 3, 4}


@pytest.mark.parametrize("num_before", range(1, 15))
def test_a_loader_restored_anywhere_on_a_ramp_continues_exactly(num_before: int) -> None:
    whole, resumed = text_loader(), text_loader()
    for rows, length in RAMP[:num_before]:
        whole.next_batch(num_rows=rows, seq_len=length)
    resumed.restore(json.loads(json.dumps(whole.state())))
    for rows, length in RAMP[num_before:]:
        ours, theirs = (loader.next_batch(num_rows=rows, seq_len=length) for loader in (resumed, whole))
        assert torch.equal(ours.token_ids, theirs.token_ids)


def test_another_row_length_begins_with_the_next_window() -> None:
    loader = text_loader()
    loader.next_batch(seq_len=8)
    loader.next_batch(seq_len=16)
    assert loader.state()["places"]["text"] == {"window": 1, "row": 2, "seq_len": 16, "num_rows": 4}


def test_examples_none_of_which_fits_are_refused() -> None:
    long = TokenSequence(task="a", token_ids=(1,) * 9, targets=(1,) * 9, loss_weights=(1.0,) * 9, mask=MaskKind.CAUSAL)
    loader = MixtureLoader(
        [ExampleSequences("a", [long])],
        rates={"a": 1.0},
        seq_len=16,
        rows_per_batch=2,
        pad_id=0,
        task_names=("a",),
        seed=0,
    )
    with pytest.raises(DataError, match="no training example fits into a row of 8 tokens") as caught:
        loader.next_batch(seq_len=8)
    assert "seq_len_ramp" in str(caught.value.hint)


def scheduled(*, num_rows: int = 400) -> MixtureLoader:
    plan = RatePlan([0.0, 0.5], [{"a": 0.9, "b": 0.1}, {"a": 0.1, "b": 0.9}])
    loader = MixtureLoader(
        [source("a", 300), source("b", 300, first_id=1000)],
        rates=plan.rates_at_start,
        plan=plan,
        seq_len=16,
        rows_per_batch=4,
        pad_id=9999,
        task_names=("a", "b"),
        seed=0,
    )
    loader.plan_rows(num_rows)
    return loader


def rows_of(loader: MixtureLoader) -> dict[str, int]:
    return {name: place["num_rows"] for name, place in loader.state()["places"].items()}


def test_shares_follow_their_schedule_over_the_run() -> None:
    loader = scheduled(num_rows=400)
    for _ in range(50):
        loader.next_batch()
    assert rows_of(loader) == {"a": 100, "b": 100}  # the first half: from 0.9 to 0.1 in a straight line
    for _ in range(50):
        loader.next_batch()
    assert rows_of(loader) == {"a": 120, "b": 280}  # the second half: 0.1


def test_a_schedule_is_resumed_exactly() -> None:
    whole, resumed = scheduled(), scheduled()
    for _ in range(30):
        whole.next_batch()
    resumed.restore(json.loads(json.dumps(whole.state())))
    for _ in range(30):
        assert torch.equal(resumed.next_batch().token_ids, whole.next_batch().token_ids)


def test_an_epoch_may_be_a_part_of_a_large_set_and_the_next_one_shows_other_examples() -> None:
    capped = MixtureLoader(
        [source("a", 1024)],
        rates={"a": 1.0},
        seq_len=16,
        rows_per_batch=4,
        pad_id=9999,
        task_names=("a",),
        seed=0,
        epoch_examples={"a": 256},
    )
    seen: list[int] = []
    while capped.epochs()["a"] < 2:
        seen += sequences_in(capped.next_batch())
    assert 500 < len(seen) < 600 and len(set(seen)) == len(seen)


def paced() -> MixtureLoader:
    return MixtureLoader(
        [source("a", 300), source("b", 300, first_id=1000)],
        rates={"a": 0.5, "b": 0.5},
        seq_len=16,
        rows_per_batch=4,
        pad_id=9999,
        task_names=("a", "b"),
        seed=0,
        paces=Paces(("a", "b"), slow_after=1, slow_factor=0.1),
    )


def test_a_task_that_gets_no_better_is_drawn_a_tenth_as_often_from_then_on() -> None:
    loader = paced()
    for _ in range(10):
        loader.next_batch()
    for _ in range(2):
        loader.hear_scores({"a": 0.5})
    assert rows_of(loader) == {"a": 20, "b": 20}
    for _ in range(11):
        loader.next_batch()
    assert rows_of(loader) == {"a": 20 + 4, "b": 20 + 40}


def test_a_task_that_is_not_slowed_is_drawn_as_ever() -> None:
    loader, plain = paced(), loader_over({"a": 300, "b": 300})
    for step in range(20):
        loader.hear_scores({"a": 0.1 * step, "b": 0.2 * step})
        assert torch.equal(loader.next_batch().token_ids, plain.next_batch().token_ids)


def test_a_slowed_mixture_is_resumed_exactly() -> None:
    whole, resumed = paced(), paced()
    for _ in range(7):
        whole.next_batch()
        whole.hear_scores({"a": 0.5})
    resumed.restore(json.loads(json.dumps(whole.state())))
    for _ in range(20):
        assert torch.equal(resumed.next_batch().token_ids, whole.next_batch().token_ids)
