from typing import Any

import pytest
import torch

from banyan.core.errors import CheckpointError, ConfigError
from banyan.model.transformer import Transformer
from banyan.testing.training import HEADS, tiny_batch, tiny_learner
from banyan.train.balance import default_balance
from banyan.train.losses import joint_loss
from banyan.train.muon import Muon
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig, build_optimizer
from banyan.train.step import train_step

GROWN = {"position": "learned", "tie_embeddings": False, "num_image_codes": 64, "vocab_size": 384, "grid_size": 2}


def train(model: Transformer, optimizer: ModelOptimizer, *, num_steps: int = 3) -> list[float]:
    return [
        train_step(
            model,
            tiny_batch(seed=seed),
            optimizer=optimizer,
            loss_function=lambda m, b: joint_loss(m, b, task_heads=HEADS),
            balance=default_balance(model, HEADS),
        ).loss
        for seed in range(num_steps)
    ]


def groups(optimizer: ModelOptimizer) -> list[tuple[str, dict[str, Any]]]:
    return [(type(part).__name__, group) for part in optimizer._optimizers for group in part.param_groups]


def test_every_weight_is_moved_by_exactly_one_rule() -> None:
    model = tiny_learner(**GROWN)
    for name in ("muon", "adamw"):
        owned = [
            id(p) for _, group in groups(build_optimizer(model, OptimizerConfig(name=name))) for p in group["params"]
        ]
        assert sorted(owned) == sorted(id(p) for p in model.parameters())


def test_muon_moves_the_matrices_of_the_blocks_and_nothing_else() -> None:
    model = tiny_learner(**GROWN)
    names = {id(param): name for name, param in model.named_parameters()}
    optimizer = build_optimizer(model, OptimizerConfig())
    moved = {names[id(p)] for rule, group in groups(optimizer) if rule == "Muon" for p in group["params"]}
    layers = ("attention.qkv", "attention.output", "feed_forward.gate_up", "feed_forward.down")
    assert moved == {f"blocks.{block}.{layer}.weight" for block in range(2) for layer in layers}


def test_only_matrices_that_are_no_embeddings_decay() -> None:
    model = tiny_learner(**GROWN)
    names = {id(param): name for name, param in model.named_parameters()}
    optimizer = build_optimizer(model, OptimizerConfig(name="adamw", weight_decay=0.1))
    decays = {names[id(p)]: group["weight_decay"] for _, group in groups(optimizer) for p in group["params"]}
    assert decays["blocks.0.attention.qkv.weight"] == decays["word_head.weight"] == 0.1
    for name in ("embedding.weight", "grid_embedding.weight", "final_norm.weight", "heads.layers.0.bias"):
        assert decays[name] == 0.0


def test_stacked_projections_are_known_part_by_part() -> None:
    model = tiny_learner()
    muon = next(part for part in build_optimizer(model, OptimizerConfig())._optimizers if isinstance(part, Muon))
    assert muon._parts[model.blocks[0].attention.qkv.weight] == (32, 16, 16)
    gate_up = model.blocks[0].feed_forward.gate_up.weight
    assert sum(muon._parts[gate_up]) == len(gate_up)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_both_optimizers_learn(name: str) -> None:
    model = tiny_learner()
    losses = train(model, build_optimizer(model, OptimizerConfig(name=name)), num_steps=40)  # type: ignore[arg-type]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def rates(optimizer: ModelOptimizer) -> set[tuple[str, float]]:
    return {(rule, group["lr"]) for rule, group in groups(optimizer)}


def test_a_learning_rate_factor_scales_every_group_from_its_peak() -> None:
    config = OptimizerConfig(learning_rate=0.2, matrix_learning_rate=0.4, embedding_learning_rate=0.8)
    optimizer = build_optimizer(tiny_learner(), config)
    for factor in (0.5, 0.25):
        optimizer.prepare_step(1, rate_factor=factor)
        assert rates(optimizer) == {("AdamW", 0.2 * factor), ("AdamW", 0.8 * factor), ("Muon", 0.4 * factor)}


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_task_heads_may_learn_at_a_rate_of_their_own(name: Any) -> None:
    model = tiny_learner()
    optimizer = build_optimizer(model, OptimizerConfig(name=name, head_learning_rate=0.7))
    fast = [param for _, group in groups(optimizer) if group["lr"] == 0.7 for param in group["params"]]
    assert {id(param) for param in fast} == {id(param) for param in model.heads.parameters()} != set()


def test_decay_falls_with_the_rate_only_where_that_is_asked_for() -> None:
    for falls, expected in ((False, {0.0, 0.1}), (True, {0.0, 0.025})):
        optimizer = build_optimizer(tiny_learner(), OptimizerConfig(decay_falls_with_rate=falls))
        optimizer.prepare_step(1, rate_factor=0.25)
        assert {group["weight_decay"] for _, group in groups(optimizer)} == expected


def test_muons_momentum_warms_up_with_the_step() -> None:
    optimizer = build_optimizer(tiny_learner(), OptimizerConfig(momentum_warmup_steps=10))
    seen = []
    for step in (5, 10, 11):
        optimizer.prepare_step(step, rate_factor=1.0)
        seen += [group["momentum"] for rule, group in groups(optimizer) if rule == "Muon"]
    assert seen == pytest.approx([0.9, 0.95, 0.95])
    assert OptimizerConfig(momentum=0.5, momentum_warmup_steps=10).momentum_at(1) == 0.5


def test_adamw_alone_has_one_learning_rate() -> None:
    assert rates(build_optimizer(tiny_learner(), OptimizerConfig(name="adamw", learning_rate=0.2))) == {("AdamW", 0.2)}


@pytest.mark.parametrize("name", ["muon", "adamw"])
@pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "cautious, with even rows"])
def test_a_restored_optimizer_goes_on_bitwise(name: Any, is_plain: bool) -> None:
    config = OptimizerConfig(name=name, cautious_weight_decay=not is_plain, normalise_rows=not is_plain)
    first = tiny_learner()
    optimizer = build_optimizer(first, config)
    train(first, optimizer)
    second = tiny_learner()
    second.load_state_dict(first.state_dict())
    restored = build_optimizer(second, config)
    restored.load_tensors({name: tensor.clone() for name, tensor in optimizer.tensors().items()})
    assert train(first, optimizer) == train(second, restored)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_memory_that_fits_no_weight_is_refused() -> None:
    optimizer = build_optimizer(tiny_learner(), OptimizerConfig())
    with pytest.raises(CheckpointError, match="nowhere/momentum"):
        optimizer.load_tensors({"nowhere/momentum": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="fits no weight"):
        optimizer.load_tensors({"embedding.weight/exp_avg": torch.zeros(2)})


def test_frozen_weights_are_left_alone() -> None:
    model = tiny_learner()
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="all of them are frozen"):
        build_optimizer(model, OptimizerConfig())
    model.heads.requires_grad_(True)
    owned = [p for _, group in groups(build_optimizer(model, OptimizerConfig())) for p in group["params"]]
    assert len(owned) == len(list(model.heads.parameters()))


@pytest.mark.parametrize(
    "bad",
    [{"learning_rate": 0.0}, {"beta2": 1.0}, {"weight_decay": -1.0}, {"momentum": -0.1}, {"momentum_warmup_steps": -1}],
)
def test_constants_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"optimizer.{next(iter(bad))}"):
        OptimizerConfig(**bad)  # type: ignore[arg-type]
