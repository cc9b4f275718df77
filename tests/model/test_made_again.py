from typing import Any

import pytest
import torch

from banyan.model.config import ModelConfig
from banyan.model.presets import model_config
from banyan.model.transformer import Transformer
from banyan.testing.peak_memory import peak_tensor_bytes
from banyan.train.compilation import with_blocks
from banyan.train.losses import TaskLosses

SHAPES = {"gpt2": {"num_layers": 2, "embed_dim": 64, "ffn_dim": 256, "head_dim": 8}, "banyan-nano": {}}


@pytest.fixture(params=SHAPES)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return model_config(request.param, {"vocab_size": 300, "dropout": 0.2, **SHAPES[request.param]})


def loss(model: Any, token_ids: Any) -> TaskLosses:
    hidden = model(token_ids, noise_seeds_B=torch.arange(len(token_ids)))
    return TaskLosses(loss_sums=model.logits(hidden).logsumexp(-1).sum()[None], weight_sums=torch.ones(1))


def test_what_is_made_again_is_the_same_and_is_not_kept(config: ModelConfig) -> None:
    model, token_ids = Transformer(config).train(), torch.randint(300, (4, 64))
    sparing = with_blocks(loss, model=model, is_sparing=True)
    gradients, peaks = [], []
    for function in (loss, sparing):

        def learn(function: Any = function) -> None:
            model.zero_grad()
            function(model, token_ids).loss_sums.sum().backward()

        learn()
        gradients.append([parameter.grad for parameter in model.parameters()])
        model.zero_grad()
        peaks.append(peak_tensor_bytes(learn))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True) if a is not None and b is not None)
    assert peaks[1] < 0.9 * peaks[0]
    assert not any("makes_again" in vars(module) for module in model.modules())
