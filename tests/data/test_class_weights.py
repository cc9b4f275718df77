import pytest
import torch

from banyan.core.errors import UnknownNameError
from banyan.core.types import NO_TARGET, MaskKind, TokenSequence
from banyan.data.class_weights import ClassWeights, class_weigher


def with_class_weights(
    sequences: list[TokenSequence], weights: ClassWeights, *, labels: tuple[str, ...]
) -> list[TokenSequence]:
    return list(map(class_weigher(sequences, weights, labels=labels), sequences))


def labelled(label: int) -> TokenSequence:
    return TokenSequence(
        task="it",
        token_ids=(5, 6),
        targets=(NO_TARGET, label),
        loss_weights=(0.0, 1.0),
        mask=MaskKind.PREFIX,
        prefix_len=2,
    )


def test_balanced_classes_have_the_same_part_of_the_loss_and_its_sum_stays() -> None:
    found = with_class_weights([labelled(label) for label in (0, 0, 0, 1)], "balanced", labels=("a", "b", "unseen"))
    weights = [sequence.loss_weights[1] for sequence in found]
    assert weights == pytest.approx([4 / 6] * 3 + [2.0])
    assert sum(weights[:3]) == pytest.approx(weights[3]) and sum(weights) == pytest.approx(4)


def test_given_weights_make_the_mean_loss_that_of_pytorchs_weighted_cross_entropy() -> None:
    targets = [0, 2, 1, 2]
    found = with_class_weights([labelled(t) for t in targets], {"a": 0.5, "c": 3.0}, labels=("a", "b", "c"))
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    own = torch.tensor([sequence.loss_weights[1] for sequence in found])
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(targets), reduction="none")
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(targets), weight=torch.tensor([0.5, 1.0, 3.0]))
    torch.testing.assert_close((losses * own).sum() / own.sum(), expected)


def test_a_position_without_a_target_stays_without_loss() -> None:
    assert with_class_weights([labelled(0)], {"a": 2.0}, labels=("a",))[0].loss_weights == (0.0, 2.0)


def test_an_unknown_label_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="good"):
        with_class_weights([labelled(0)], {"goood": 2.0}, labels=("good", "bad"))
