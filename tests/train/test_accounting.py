import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from banyan.model.config import ModelConfig
from banyan.model.presets import model_config
from banyan.model.transformer import Transformer, count_parameters
from banyan.testing.models import tiny_model_config
from banyan.testing.training import tiny_learner
from banyan.train.accounting import (
    activation_floats,
    count_weights,
    flops_per_token,
    memory_parts,
    optimizer_bytes,
)
from banyan.train.optimizer import OptimizerConfig, build_optimizer

SHAPES = {
    "banyan": ("banyan-nano", {"vocab_size": 512}),
    "gpt2": ("gpt2", {"vocab_size": 512, "num_layers": 2, "embed_dim": 96, "ffn_dim": 384, "head_dim": 8}),
    "llama": (
        "llama-3.2-1b",
        {"vocab_size": 512, "num_layers": 2, "embed_dim": 64, "ffn_dim": 256, "num_heads": 4, "num_kv_heads": 2}
        | {"head_dim": 16, "rope_scaling": None, "max_seq_len": 64},
    ),
}


@pytest.fixture(params=SHAPES)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return model_config(*SHAPES[request.param])


def test_every_weight_is_counted_once() -> None:
    model = tiny_learner()
    counts = count_weights(model)
    assert counts.total == count_parameters(model)
    assert counts.embedding == model.embedding.weight.numel()
    assert counts.output == sum(weight.numel() for weight in model.heads.parameters())


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_the_optimizers_memory_is_what_it_remembers_after_a_step(name: str) -> None:
    model, config = tiny_learner(), OptimizerConfig(name=name)
    optimizer = build_optimizer(model, config)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    remembered = sum(t.numel() * 4 for key, t in optimizer.tensors().items() if not key.endswith("/step"))
    assert optimizer_bytes(count_weights(model), config) == remembered


def test_activations_are_those_autograd_keeps(config: ModelConfig) -> None:
    model = Transformer(config).train()
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.zeros((2, 64), dtype=torch.long))
    num_bytes = sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in own)
    assert 4 * 2 * 64 * activation_floats(config) == pytest.approx(num_bytes, rel=0.05)


def test_flops_are_those_pytorch_counts(config: ModelConfig) -> None:
    model = Transformer(config).train()
    token_ids = torch.zeros((2, 64), dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model.logits(model(token_ids)).sum().backward()
    counted = flops_per_token(config, count_weights(model), seq_len=64)
    assert counted * token_ids.numel() == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_fewer_targets_cost_less_arithmetic_and_less_memory() -> None:
    config = tiny_model_config()
    counts = count_weights(Transformer(config))
    assert flops_per_token(config, counts, seq_len=16, target_share=0.1) < flops_per_token(config, counts, seq_len=16)
    few, many = (
        memory_parts(config, counts, optimizer=OptimizerConfig(), num_tokens=96, num_targets=targets)
        for targets in (9, 96)
    )
    assert few.logits < many.logits and few.activations == many.activations


def test_the_parts_of_memory_add_up() -> None:
    config = tiny_model_config()
    counts = count_weights(Transformer(config))
    parts = memory_parts(
        config,
        counts,
        optimizer=OptimizerConfig(),
        num_tokens=96,
        num_targets=9,
        has_average=True,
        has_beginning=True,
        base_bytes=7,
    )
    assert parts.weights == parts.gradients == parts.average == 4 * counts.total
    assert parts.beginning == parts.weights + parts.average and parts.base == 7
    assert parts.total == (
        3 * parts.weights + parts.optimizer + parts.beginning + parts.activations + parts.logits + parts.base
    )
