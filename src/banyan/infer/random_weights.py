"""The same model with nothing learned: what a map of it shows, the training did not put there."""

from __future__ import annotations

import copy

import torch

from banyan.model.transformer import Transformer


@torch.no_grad()
def with_random_weights(model: Transformer, *, generator: torch.Generator) -> Transformer:
    """Return a copy of a model in which every weight is drawn anew, with mean and deviation of its own tensor.

    So every layer passes on signals of the size that it did before; a model as it is first drawn answers all questions
    alike, for its heads begin at zero.
    Source: Adebayo et al. 2018 (model parameter randomisation test).
    """
    random = copy.deepcopy(model)
    for weight in random.parameters():
        deviation, mean = torch.std_mean(weight.float(), correction=0)
        drawn = torch.randn(weight.shape, generator=generator, device=generator.device).to(weight.device)
        weight.copy_(drawn * deviation + mean)
    return random
