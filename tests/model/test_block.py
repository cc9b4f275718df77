import pytest
import torch

from banyan.model.attention import AttentionPlan
from banyan.model.block import Block
from banyan.testing.models import tiny_model_config

PLAN = AttentionPlan(mask=None, rope=None, cache=None)


@torch.no_grad()
@pytest.mark.parametrize("part", ["attention.output", "feed_forward.down"])
def test_each_half_is_added_to_the_residual_stream(part: str) -> None:
    block = Block(tiny_model_config(position="none"), layer=0)
    generator = torch.Generator().manual_seed(0)
    for parameter in block.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    x_BTD = torch.randn(2, 5, 32, generator=generator)
    other = "feed_forward.down" if part == "attention.output" else "attention.output"
    block.get_submodule(other).weight.zero_()
    alone = (
        block.attention(block.attention_norm(x_BTD), PLAN)
        if part == "attention.output"
        else block.feed_forward(block.feed_forward_norm(x_BTD))
    )
    torch.testing.assert_close(block(x_BTD, PLAN), x_BTD + alone)
