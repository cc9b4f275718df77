import torch

from banyan.testing.training import HEADS, tiny_batch, tiny_learner
from banyan.train.average import AverageConfig
from banyan.train.beginning import Beginning, weight_bytes
from banyan.train.losses import joint_loss
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig, build_optimizer


class Learner:
    """A model, its optimizer with an average, and how both began."""

    def __init__(self) -> None:
        self.model = tiny_learner()
        self.optimizer: ModelOptimizer = build_optimizer(self.model, OptimizerConfig())
        self.optimizer.keep_average(AverageConfig(decay=0.9), num_steps=9)
        self.beginning = Beginning(self.model, self.optimizer, statistics={})

    def learn(self) -> None:
        self.optimizer.zero_grad()
        joint_loss(self.model, tiny_batch(), task_heads=HEADS).loss_sums.sum().backward()
        self.optimizer.step()

    def everything(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in {**self.model.state_dict(), **self.optimizer.tensors()}.items()}


def test_a_model_brought_back_to_its_beginning_learns_as_a_fresh_one() -> None:
    learner, other = Learner(), Learner()
    for _ in range(3):
        learner.learn()
    learner.beginning.bring_back()
    learner.learn()
    other.learn()
    one, two = learner.everything(), other.everything()
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_the_size_is_that_of_all_weights() -> None:
    model = tiny_learner()
    assert weight_bytes(model) == sum(value.nbytes for value in model.state_dict().values())
