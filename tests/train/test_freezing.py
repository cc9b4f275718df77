"""What is frozen does not learn, and the rest does."""

import pytest

from banyan.core.errors import ConfigError
from banyan.model.transformer import Transformer
from banyan.testing.training import tiny_learner
from banyan.train.freezing import freeze_idle_parts, freeze_trunk


def _learning(model: Transformer) -> set[str]:
    return {name.split(".")[0] + name.split(".")[1] for name, p in model.named_parameters() if p.requires_grad}


def test_the_heads_of_tasks_that_are_not_taught_are_frozen() -> None:
    model = tiny_learner()
    freeze_idle_parts(model, heads=["spans"])
    assert all(not parameter.requires_grad for parameter in model.heads["labels"].parameters())
    assert all(parameter.requires_grad for parameter in model.heads["spans"].parameters())
    assert model.embedding.weight.requires_grad


def test_an_output_layer_that_no_task_answers_with_is_frozen() -> None:
    model = tiny_learner(tie_embeddings=False, vocab_size=330, num_image_codes=10, grid_size=2)
    freeze_idle_parts(model, heads=["spans"], answers_in_words=False, draws=False)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"heads.layers.0.weight", "heads.layers.0.bias", "word_head.weight", "grid_embedding.weight"}


@pytest.mark.parametrize(
    ("last_blocks", "learning"),
    [
        (0, {"headslayers"}),
        (1, {"headslayers", "blocks1", "final_normweight"}),
        (2, {"headslayers", "blocks0", "blocks1", "final_normweight"}),
    ],
)
def test_heads_and_the_last_blocks_learn(last_blocks: int, learning: set[str]) -> None:
    model = tiny_learner()
    freeze_trunk(model, last_blocks=last_blocks)
    assert _learning(model) == learning


def test_more_blocks_than_there_are_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"transfer.last_blocks=3 are more blocks than the parent has \(2\)"):
        freeze_trunk(tiny_learner(), last_blocks=3)
