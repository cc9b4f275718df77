import pytest
import torch

from banyan.core.errors import ConfigError
from banyan.data.image_batch import PictureAugmentation
from banyan.train.picture_judge import JudgeTraining, judge_pictures, train_judge

GENERATOR = torch.Generator().manual_seed(0)


def bars(num: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noisy pictures with an upright or a lying bar, somewhere."""
    labels = torch.arange(num) % 2
    pixels = torch.randint(60, (num, 1, 8, 8), generator=GENERATOR)
    for picture, label, place in zip(pixels, labels, torch.randint(8, (num,), generator=GENERATOR), strict=True):
        (picture[0].T if label else picture[0])[place] += 180
    return pixels.to(torch.uint8), labels


def test_a_judge_learns_and_the_same_seed_gives_the_same_one() -> None:
    pixels, labels = bars(160)
    how = JudgeTraining(epochs=12, batch_pictures=32, max_shift=1)
    net, again = (train_judge(pixels, labels, num_labels=2, width=8, how=how, seed=3) for _ in range(2))
    features, seen = judge_pictures(net, pixels)
    assert features.shape == (160, net.num_features) and features.dtype == torch.float64
    assert float((seen == labels).double().mean()) > 0.9
    assert all(torch.equal(one, other) for one, other in zip(net.parameters(), again.parameters(), strict=True))


def test_a_picture_is_judged_alike_alone_and_among_others() -> None:
    pixels, labels = bars(20)
    net = train_judge(pixels, labels, num_labels=2, width=8, how=JudgeTraining(epochs=1), seed=0)
    together, alone = judge_pictures(net, pixels)[0], judge_pictures(net, pixels[7:8])[0]
    torch.testing.assert_close(together[7:8], alone, atol=1e-5, rtol=1e-5)


def test_a_few_pictures_are_seen_as_often_as_it_takes() -> None:
    steps: list[int] = []
    for how in (JudgeTraining(epochs=2, batch_pictures=10), JudgeTraining(epochs=2, batch_pictures=10, min_steps=7)):
        train_judge(*bars(20), num_labels=2, width=8, how=how, seed=0, on_step=lambda _, total: steps.append(total))
    assert steps == [4] * 4 + [7] * 7


def test_pictures_are_moved_and_mirrored_only_where_asked() -> None:
    assert JudgeTraining(max_shift=0).augmentation == PictureAugmentation()
    assert JudgeTraining(max_shift=2, flips=True).augmentation == PictureAugmentation(flip=True, crop_pixels=2)


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"min_steps": 0}, {"max_shift": -1}, {"label_smoothing": 1.0}])
def test_training_that_cannot_be_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        JudgeTraining(**changes)  # type: ignore[arg-type]
