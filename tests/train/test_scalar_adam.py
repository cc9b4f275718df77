import pytest
import torch

from banyan.train.scalar_adam import ScalarAdam


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_it_moves_as_pytorchs_adam_does(decay: float) -> None:
    reference = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    torch_adam = torch.optim.Adam([reference], lr=0.025, weight_decay=decay)
    adam = ScalarAdam(learning_rate=0.025, decay=decay)
    memory = adam.start(3)
    for step in range(6):
        gradients = torch.sin(torch.arange(3.0, dtype=torch.float64) + step)
        reference.grad = gradients.clone()
        torch_adam.step()
        memory = adam.moved(memory, gradients.tolist())
    assert memory["values"] == pytest.approx(reference.tolist(), rel=1e-12)


def test_a_number_without_a_gradient_rests() -> None:
    adam = ScalarAdam(learning_rate=0.1)
    memory = adam.moved(adam.start(2), [1.0, None])
    assert memory["counts"] == [1, 0] and memory["values"][1] == 0
