import dataclasses
from typing import Any

import pytest
import torch

from banyan.core.errors import DataError
from banyan.core.types import HeadKind, HeadSpec, MaskKind, TokenSequence
from banyan.data.batch import Batch, collate
from banyan.model.matches import match_features
from banyan.model.ngrams import ReadTokens, ngram_sums
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.train.losses import joint_loss, trunk_states
from banyan.train.target_groups import WholeExamples

NUM_CODES = 64
LABELS = HeadSpec(name="labels", kind=HeadKind.CLASSIFICATION, labels=("a", "b", "c"))
TAGS = HeadSpec(name="tags", kind=HeadKind.TAGGING, labels=("O", "B-x", "I-x"))
SPANS = HeadSpec(name="spans", kind=HeadKind.SPAN)
TASKS = ("words", "labels", "tags", "spans", "absent")
HEADS = (None, LABELS, TAGS, SPANS, None)


def model() -> Transformer:
    config = tiny_model_config(vocab_size=320 + NUM_CODES, num_image_codes=NUM_CODES, grid_size=2)
    return tiny_model(config, heads=(LABELS, TAGS, SPANS))


def sequence(task: str, targets: list[int], weights: list[float] | None = None) -> TokenSequence:
    ids = tuple(range(7, 7 + len(targets)))
    given = weights or [float(target >= 0) for target in targets]
    return TokenSequence(
        task=task, token_ids=ids, targets=tuple(targets), loss_weights=tuple(given), mask=MaskKind.FULL
    )


def mixed_batch() -> Batch:
    rows = [
        [sequence("words", [5, 6, -1, 330], [1.0, 0.5, 0.0, 2.0]), sequence("labels", [-1, -1, 2])],
        [sequence("tags", [0, -1, 1, 2]), sequence("spans", [-1, 1, -1, 2, -1])],
        [sequence("spans", [-1, -1, 3, -1]), sequence("words", [-1, 3])],
    ]
    return collate(rows, seq_len=12, pad_id=0, task_names=TASKS)


@torch.no_grad()
def reference_losses(trunk: Transformer, batch: Batch) -> torch.Tensor:
    """Position by position, in float64, from whole rows of logits."""
    hidden = trunk(
        batch.token_ids,
        position_ids_BT=batch.position_ids,
        segment_ids_BT=batch.segment_ids,
        attend_until_BT=batch.attend_until,
        grid_ids_BT=batch.grid_ids,
    )
    sums = [0.0] * len(TASKS)
    for row in range(len(hidden)):
        for t in range(hidden.shape[1]):
            task, target, weight = (
                int(batch.task_ids[row, t]),
                int(batch.targets[row, t]),
                float(batch.loss_weights[row, t]),
            )
            if not weight:
                continue
            head = HEADS[task]
            if head is None:
                logits = trunk.logits(hidden[row, t]) if target < 320 else trunk.image_logits(hidden[row, t])
                sums[task] -= weight * float(logits.double().log_softmax(-1)[target if target < 320 else target - 320])
            elif head.kind is not HeadKind.SPAN:
                sums[task] -= weight * float(
                    trunk.head_logits(head.name, hidden[row, t]).double().log_softmax(-1)[target]
                )
            else:
                own = (batch.segment_ids[row] == batch.segment_ids[row, t]).nonzero().squeeze(1)
                log_probs = trunk.head_logits(head.name, hidden[row, own]).double().log_softmax(0)
                bits, place = int(batch.targets[row, t]), int((own == t).nonzero())
                marked = [log_probs[place, column] for column in (0, 1) if bits & (1 << column)]
                sums[task] -= weight * float(sum(marked))
    return torch.tensor(sums, dtype=torch.float64)


def test_every_position_is_scored_by_its_tasks_layer_as_in_a_float64_loop() -> None:
    trunk, batch = model(), mixed_batch()
    losses = joint_loss(trunk, batch, task_heads=HEADS)
    torch.testing.assert_close(losses.loss_sums.detach().double(), reference_losses(trunk, batch), rtol=1e-5, atol=1e-5)
    assert losses.weight_sums.tolist() == [4.5, 1.0, 3.0, 3.0, 0.0]
    assert losses.means[4].isnan()


@pytest.mark.parametrize(
    ("masks", "expected"),
    [((MaskKind.CAUSAL,), True), ((MaskKind.CAUSAL,) * 2, False), ((MaskKind.FULL,), False)],
    ids=["one example", "two packed", "one read in full"],
)
def test_only_rows_that_are_plainly_causal_go_to_a_device_without_a_mask(
    masks: tuple[MaskKind, ...], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the meta device, where no value can be looked at, as on a GPU one must not be waited for."""
    real, found = torch.nn.functional.scaled_dot_product_attention, []

    def noting(*given: torch.Tensor, **options: Any) -> torch.Tensor:
        found.append((options["is_causal"], options["attn_mask"] is None))
        return real(*given, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noting)
    row = [dataclasses.replace(sequence("words", [5, 6, 7, 8]), mask=mask) for mask in masks]
    batch = collate([row, row], seq_len=10, pad_id=0, task_names=TASKS)  # with padding behind them
    trunk = model().to("meta")
    trunk_states(trunk, batch, placed=batch.to(trunk.device))
    assert set(found) == {(expected, expected)}


def test_micro_batches_add_up_to_the_batch() -> None:
    trunk, batch = model(), mixed_batch()
    whole = joint_loss(trunk, batch, task_heads=HEADS).loss_sums
    parts = sum(joint_loss(trunk, part, task_heads=HEADS).loss_sums for part in batch.split(3))
    torch.testing.assert_close(parts, whole)


def test_targets_without_weight_do_not_matter() -> None:
    trunk, batch = model(), mixed_batch()
    changed = dataclasses.replace(batch, targets=torch.where(batch.loss_weights > 0, batch.targets, 1))
    before, after = (joint_loss(trunk, b, task_heads=HEADS).loss_sums for b in (batch, changed))
    assert torch.equal(before, after)


def test_a_span_example_without_an_answer_that_carries_loss_is_refused() -> None:
    batch = collate([[sequence("spans", [0, 1, 0])]], seq_len=4, pad_id=0, task_names=TASKS)
    with pytest.raises(DataError, match="head spans: an example carries loss but marks no start or no end"):
        joint_loss(model(), batch, task_heads=HEADS)


def test_gradients_reach_the_trunk_from_every_task() -> None:
    trunk, batch = model(), mixed_batch()
    for task in range(4):
        trunk.zero_grad()
        joint_loss(trunk, batch, task_heads=HEADS).loss_sums[task].backward()
        assert trunk.blocks[0].attention.qkv.weight.grad.abs().sum() > 0


@torch.no_grad()
def test_smoothing_mixes_each_tasks_loss_with_that_of_saying_everything_alike() -> None:
    trunk, batch = model(), mixed_batch()
    plain, parts = joint_loss(trunk, batch, task_heads=HEADS).loss_sums, (0.1, 0.3, 0.0, 0.0, 0.0)
    found = joint_loss(trunk, batch, task_heads=HEADS, label_smoothing=parts).loss_sums
    hidden = trunk(
        batch.token_ids,
        position_ids_BT=batch.position_ids,
        segment_ids_BT=batch.segment_ids,
        attend_until_BT=batch.attend_until,
        grid_ids_BT=batch.grid_ids,
    )
    (row, column) = ((batch.task_ids == 1) & (batch.loss_weights > 0)).nonzero()[0].tolist()
    logits = trunk.head_logits("labels", hidden[row, column])
    expected = torch.nn.functional.cross_entropy(logits, batch.targets[row, column], label_smoothing=0.3)
    assert float(found[1]) == pytest.approx(float(expected), rel=1e-5)
    assert float(found[0]) != pytest.approx(float(plain[0]), rel=1e-4)
    assert torch.equal(found[2:], plain[2:])


MEANS = dataclasses.replace(LABELS, pooling="mean")


def test_a_head_that_reads_means_scores_the_mean_of_its_whole_example_and_of_no_other() -> None:
    trunk = model()
    rows = [
        [sequence("words", [5, 6]), sequence("labels", [-1, -1, 2])],
        [sequence("labels", [-1, 1]), sequence("labels", [-1, -1, -1, 0])],
    ]
    batch = collate(rows, seq_len=8, pad_id=0, task_names=("words", "labels"))
    with torch.no_grad():
        found = joint_loss(trunk, batch, task_heads=(None, MEANS)).loss_sums[1]
        alone = [s for row in rows for s in row if s.task == "labels"]
        expected = 0.0
        for example in alone:
            hidden_TD = trunk(torch.tensor([example.token_ids]), attend_until_BT=torch.full((1, len(example)), 10))[0]
            logits_L = trunk.head_logits("labels", hidden_TD.double().mean(dim=0).float()).double()
            expected -= float(logits_L.log_softmax(-1)[example.targets[-1]])
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_head_with_a_table_counts_the_loss_of_its_layer_and_teaches_each_as_if_alone() -> None:
    wide = dataclasses.replace(MEANS, ngram_buckets=32)
    trunk = tiny_model(tiny_model_config(vocab_size=320), heads=(wide,), std=0.3)
    rows = [
        [sequence("words", [5, 6]), sequence("labels", [-1, -1, 2])],
        [sequence("labels", [-1, 1]), sequence("labels", [-1, -1, -1, 0])],
    ]
    batch = collate(rows, seq_len=8, pad_id=0, task_names=("words", "labels"))
    layer = trunk.heads["labels"]
    assert layer.ngrams is not None
    learned = (layer.weight, layer.ngrams.weight)
    found = joint_loss(trunk, batch, task_heads=(None, wide)).loss_sums[1]
    by_layer, by_table = torch.zeros(()), torch.zeros(())
    for example in (s for row in rows for s in row if s.task == "labels"):
        ids, target = torch.tensor([example.token_ids]), torch.tensor([example.targets[-1]])
        mean_1D = trunk(ids, attend_until_BT=torch.full((1, len(example)), 10)).mean(dim=1)
        by_layer = by_layer + torch.nn.functional.cross_entropy(layer(mean_1D), target)
        sums_1L = ngram_sums(layer.ngrams.weight, ReadTokens.of_rows(ids))
        by_table = by_table + torch.nn.functional.cross_entropy(sums_1L, target)
    torch.testing.assert_close(found, by_layer, rtol=1e-5, atol=0)
    together = torch.autograd.grad(found, learned)
    alone = (*torch.autograd.grad(by_layer, learned[:1]), *torch.autograd.grad(by_table, learned[1:]))
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)


def test_a_head_that_looks_for_matches_counts_the_loss_of_its_layer_and_teaches_each_as_if_alone() -> None:
    reader = dataclasses.replace(SPANS, reads_matches=True)
    trunk = tiny_model(tiny_model_config(vocab_size=320), heads=(reader,), std=0.3)
    targets, ids = (-1, -1, -1, 4, 5, 4, 6, -1), (1, 8, 9, 8, 7, 9, 5, 2)
    weights = (0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0)
    asked = TokenSequence(task="spans", token_ids=ids, targets=targets, loss_weights=weights, mask=MaskKind.FULL)
    rows = [[sequence("words", [5, 6]), asked], [asked]]
    batch = collate(rows, seq_len=12, pad_id=0, task_names=("words", "spans"))
    layer = trunk.heads["spans"]
    assert layer.matches is not None
    found = joint_loss(trunk, batch, task_heads=(None, reader)).loss_sums[1]
    hidden_TD = trunk(torch.tensor([ids]), attend_until_BT=torch.full((1, len(ids)), 10))[0]
    features_TF = match_features(ReadTokens.of_rows(torch.tensor([ids]), context=(3, 6)))
    ends = torch.tensor([4, 6])
    by_layer, by_matches = (
        2 * torch.nn.functional.cross_entropy(scores_T2.T, ends, reduction="sum")
        for scores_T2 in (layer(hidden_TD), layer.matches(features_TF))
    )
    torch.testing.assert_close(found, by_layer, rtol=1e-5, atol=0)
    learned = (layer.weight, layer.matches.weight)
    together = torch.autograd.grad(found, learned)
    alone = (*torch.autograd.grad(by_layer, learned[:1]), *torch.autograd.grad(by_matches, learned[1:]))
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)


def test_a_mean_of_many_narrow_numbers_is_rounded_once() -> None:
    hidden_ND = (torch.rand(1500, 64, generator=torch.Generator().manual_seed(0)) + 0.1).bfloat16()
    whole = WholeExamples(positions=torch.arange(1500), examples=torch.zeros(1500, dtype=torch.int64), num_examples=1)
    assert torch.equal(whole.means(hidden_ND)[0], hidden_ND.double().mean(dim=0).bfloat16())


def test_a_head_that_reads_means_has_one_target_an_example() -> None:
    batch = collate([[sequence("labels", [0, 1])]], seq_len=2, pad_id=0, task_names=("labels",))
    with pytest.raises(DataError, match="one target, not several"):
        joint_loss(model(), batch, task_heads=(MEANS,))
