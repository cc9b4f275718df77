import pytest
import torch

from banyan.core.errors import DataError
from banyan.core.types import NO_GRID, NO_TARGET, MaskKind, TokenSequence
from banyan.data.batch import PADDING, Batch, collate, rows_of_tasks
from banyan.testing.training import tiny_batch

CPU = torch.device("cpu")


def sequence(
    ids: list[int], *, task: str = "a", mask: MaskKind = MaskKind.CAUSAL, prefix_len: int = 0
) -> TokenSequence:
    return TokenSequence(
        task=task,
        token_ids=tuple(ids),
        targets=tuple(ids[1:]) + (NO_TARGET,),
        loss_weights=(1.0,) * (len(ids) - 1) + (0.0,),
        mask=mask,
        prefix_len=prefix_len,
    )


def batch_of(*rows: list[TokenSequence], seq_len: int = 8) -> Batch:
    return collate(rows, seq_len=seq_len, pad_id=99, task_names=("a", "b"))


def test_sequences_of_a_row_lie_one_behind_the_other_as_segments() -> None:
    batch = batch_of([sequence([1, 2, 3]), sequence([4, 5], task="b")])
    assert batch.token_ids.tolist() == [[1, 2, 3, 4, 5, 99, 99, 99]]
    assert batch.targets.tolist() == [[2, 3, NO_TARGET, 5, NO_TARGET, NO_TARGET, NO_TARGET, NO_TARGET]]
    assert batch.position_ids[0, :5].tolist() == [0, 1, 2, 0, 1]
    assert batch.segment_ids.tolist() == [[0, 0, 0, 1, 1, PADDING, PADDING, PADDING]]
    assert batch.task_ids.tolist() == [[0, 0, 0, 1, 1, PADDING, PADDING, PADDING]]
    assert batch.grid_ids.unique().tolist() == [NO_GRID]


@pytest.mark.parametrize(
    ("mask", "prefix_len", "expected"),
    [(MaskKind.CAUSAL, 0, [2, 3, 4, 5]), (MaskKind.PREFIX, 3, [4, 4, 4, 5]), (MaskKind.FULL, 0, [5, 5, 5, 5])],
)
def test_a_mask_says_how_far_ahead_each_query_may_read(mask: MaskKind, prefix_len: int, expected: list[int]) -> None:
    batch = batch_of([sequence([7, 7]), sequence([1, 2, 3, 4], mask=mask, prefix_len=prefix_len)])
    assert batch.attend_until[0, 2:6].tolist() == expected


def test_the_parts_of_a_split_are_the_whole_batch_again() -> None:
    batch = batch_of(*([sequence([i, i + 1, i + 2])] for i in range(5)))
    parts = batch.split(2)
    assert [len(part.token_ids) for part in parts] == [3, 2]
    torch.testing.assert_close(torch.cat([part.targets for part in parts]), batch.targets)
    assert len(batch.split(9)) == 5


def test_weights_are_summed_task_by_task() -> None:
    batch = batch_of([sequence([1, 2, 3]), sequence([4, 5], task="b")], [sequence([6, 7, 8, 9])])
    assert batch.weights_by_task(3).tolist() == [5.0, 1.0, 0.0]
    assert batch.num_targets == 6
    assert batch.num_tokens == 9


def test_a_moved_batch_holds_the_same_values() -> None:
    batch = batch_of([sequence([1, 2, 3])])
    assert torch.equal(batch.to(CPU).token_ids, batch.token_ids)


def test_a_row_that_is_too_long_is_refused() -> None:
    with pytest.raises(DataError, match="row 0 holds 9 tokens; at most 8 fit"):
        batch_of([sequence([1, 2, 3, 4, 5]), sequence([1, 2, 3, 4])])


def test_a_sequence_with_uneven_fields_is_refused() -> None:
    uneven = TokenSequence(task="a", token_ids=(1, 2), targets=(2,), loss_weights=(1.0, 0.0), mask=MaskKind.CAUSAL)
    with pytest.raises(DataError, match="different lengths"):
        batch_of([uneven])


def test_a_sequence_of_an_unknown_task_is_refused() -> None:
    with pytest.raises(DataError, match="task 'c'"):
        batch_of([sequence([1, 2], task="c")])


def test_the_noise_of_a_row_depends_on_the_seed_and_its_place_in_the_whole_batch() -> None:
    rows = [[sequence([1, 2, 3])]] * 5
    batch = batch_of(*rows)
    noisy = batch.with_noise(7)
    assert len(set(noisy.noise_seeds.tolist())) == 5
    split = torch.cat([part.noise_seeds for part in batch.with_noise(7).split(2)])
    assert torch.equal(split, noisy.noise_seeds)
    smaller = batch_of(*rows[:3]).with_noise(7)
    assert torch.equal(smaller.noise_seeds, noisy.noise_seeds[:3])
    assert not set(batch.with_noise(8).noise_seeds.tolist()) & set(noisy.noise_seeds.tolist())


def test_the_rows_of_some_tasks_are_those_that_hold_something_of_them() -> None:
    batch = tiny_batch(num_rows=6)
    chosen = rows_of_tasks(batch, [1])
    assert torch.equal(chosen.token_ids, batch.token_ids[1::3])
    assert torch.equal(chosen.noise_seeds, batch.noise_seeds[1::3])
