import pytest
import torch

from banyan.core.errors import ConfigError
from banyan.train.picture_judge import JudgeTraining, judge_pictures, moved, scaled, train_judge

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


def test_pictures_are_moved_within_their_border_and_mirrored_only_where_asked() -> None:
    picture = scaled(torch.arange(36, dtype=torch.uint8).reshape(1, 1, 6, 6)).expand(64, 1, 6, 6)
    still = moved(picture, JudgeTraining(max_shift=0), generator=GENERATOR)
    assert torch.equal(still, picture)
    mirrored = moved(picture, JudgeTraining(max_shift=0, flips=True), generator=GENERATOR)
    is_same, is_flipped = ((mirrored == one).all(dim=(1, 2, 3)) for one in (picture, picture.flip(3)))
    assert bool((is_same | is_flipped).all()) and 0 < int(is_flipped.sum()) < 64
    inner = moved(picture, JudgeTraining(max_shift=2), generator=GENERATOR)[:, 0, 2:4, 2:4]
    assert len({tuple(one.flatten().tolist()) for one in inner}) > 5
    assert {round(float(v), 4) for v in inner.flatten()} <= {round(float(v), 4) for v in picture[0].flatten()}


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"max_shift": -1}, {"label_smoothing": 1.0}])
def test_training_that_cannot_be_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        JudgeTraining(**changes)  # type: ignore[arg-type]
