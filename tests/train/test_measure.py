import itertools
from collections.abc import Iterator
from typing import Any

import torch

from banyan.testing.training import HEADS, SEQ_LEN, tiny_learner, tiny_loader
from banyan.train.config import TrainConfig
from banyan.train.measure import measure_step_seconds
from banyan.train.optimizer import OptimizerConfig

CONFIG = TrainConfig(micro_batch_seqs=2, accumulation_steps=2, seq_len=SEQ_LEN)


def test_measuring_leaves_model_data_and_randomness_as_they_were() -> None:
    model, loader = tiny_learner(dropout=0.1), tiny_loader()
    loader.next_batch()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    place, randomness = loader.state(), torch.get_rng_state()
    measure_step_seconds(
        model, loader=loader, task_heads=HEADS, config=CONFIG, optimizer=OptimizerConfig(), num_steps=2
    )
    assert loader.state() == place
    assert torch.equal(torch.get_rng_state(), randomness)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def seconds_by(readings: Iterator[float], **sizes: Any) -> float:
    """What is measured by a clock whose readings are given: one before and one after each step."""
    return measure_step_seconds(
        tiny_learner(),
        loader=tiny_loader(),
        task_heads=HEADS,
        config=CONFIG,
        optimizer=OptimizerConfig(),
        clock=lambda: next(readings),
        **sizes,
    )


def test_the_median_of_the_steps_after_the_first_is_returned() -> None:
    # The first takes 100 s, the others 1, 9 and 2.
    assert seconds_by(itertools.accumulate([0, 100, 0, 1, 0, 9, 0, 2]), num_steps=3) == 2


def test_more_steps_are_timed_where_there_is_time() -> None:
    # The first two after the warm one fall into a busy moment; 25 seconds hold five steps of their pace.
    readings = itertools.accumulate([0, 100, 0, 5, 0, 5, 0, 1, 0, 1, 0, 1])
    assert seconds_by(readings, num_steps=2, max_seconds=25) == 1
    assert next(readings, None) is None
