import pytest
import torch
from torch import nn

from banyan.core.errors import CheckpointError, ConfigError
from banyan.train.average import AverageConfig, WeightAverage


def model_of(value: float) -> nn.Module:
    model = nn.Linear(2, 1).double()
    with torch.no_grad():
        for param in model.parameters():
            param.fill_(value)
    return model


def set_to(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for param in model.parameters():
            param.fill_(value)


def average_of(model: nn.Module, config: AverageConfig) -> WeightAverage:
    return WeightAverage(dict(model.named_parameters()), config=config, num_steps=10)


def averaged(average: WeightAverage, model: nn.Module) -> float:
    with average.in_place():
        values = torch.cat([param.flatten() for param in model.parameters()])
        assert len(values.unique()) == 1
        return float(values[0].detach())


def test_the_average_is_the_sum_written_out() -> None:
    model = model_of(5.0)
    average = average_of(model, AverageConfig(decay=0.5))
    expected, values = 5.0, [float(step**2 % 7) for step in range(1, 41)]
    for step, value in enumerate(values, start=1):
        set_to(model, value)
        average.update(step)
        decay = min(0.5, step / (step + 10))
        expected = decay * expected + (1 - decay) * value
    assert averaged(average, model) == pytest.approx(expected)


def test_before_its_start_the_average_is_the_weights() -> None:
    model = model_of(0.0)
    average = average_of(model, AverageConfig(decay=0.9, start_fraction=0.5))
    for step in range(1, 6):
        set_to(model, float(step))
        average.update(step)
        assert averaged(average, model) == step
    set_to(model, 100.0)
    average.update(6)
    assert 5 < averaged(average, model) < 100


def test_the_weights_are_bitwise_as_they_were_after_the_average_was_in_place() -> None:
    model = nn.Linear(3, 4)
    average = average_of(model, AverageConfig())
    with torch.no_grad():
        model.weight.normal_()
    before = model.weight.detach().clone()
    with pytest.raises(ZeroDivisionError), average.in_place():
        assert not torch.equal(model.weight, before)
        _ = 1 / 0
    assert torch.equal(model.weight, before)


def test_a_restored_average_goes_on_bitwise() -> None:
    first, second = nn.Linear(3, 4), nn.Linear(3, 4)
    averages = [average_of(model, AverageConfig(decay=0.9)) for model in (first, second)]
    with torch.no_grad():
        first.weight.normal_()
    averages[0].update(1)
    with averages[0].in_place():
        second.load_state_dict(first.state_dict())
        averages[1].load_tensors({name: tensor.clone() for name, tensor in averages[0].tensors().items()})
    averages[1].exchange()
    for average in averages:
        average.update(2)
    assert torch.equal(first.weight, second.weight)
    with averages[0].in_place(), averages[1].in_place():
        assert torch.equal(first.weight, second.weight)


def test_training_weights_that_do_not_fit_are_refused() -> None:
    average = average_of(nn.Linear(3, 4), AverageConfig())
    with pytest.raises(CheckpointError, match="no second weight bias of shape"):
        average.load_tensors({"weight": torch.zeros(4, 3), "bias": torch.zeros(5)})


@pytest.mark.parametrize("bad", [{"decay": 1.0}, {"start_fraction": -0.1}])
def test_constants_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"train.average.{next(iter(bad))}"):
        AverageConfig(**bad)
