import random

from banyan.core.types import Image
from banyan.tasks.image_generation import PictureExample
from banyan.workflows.judge import train_judge


def picture(bright: bool, *, seed: int, size: int = 8, channels: int = 1) -> Image:
    noise = random.Random(seed)
    pixels = bytes(noise.randrange(0, 60) + 180 * bright for _ in range(size * size * channels))
    return Image(width=size, height=size, channels=channels, pixels=pixels)


def examples(labels: list[str]) -> list[PictureExample]:
    return [
        PictureExample(caption="x", image=picture(label == "bright", seed=n), label=label)
        for n, label in enumerate(labels)
    ]


def test_it_tells_unseen_pictures_apart() -> None:
    judge = train_judge(examples(["bright", "dark"] * 20))
    assert judge is not None
    unseen = [picture(n % 2 == 0, seed=1000 + n) for n in range(20)]
    assert judge(unseen) == ["bright", "dark"] * 10


def test_pictures_of_other_sizes_and_colours_are_looked_at_too() -> None:
    judge = train_judge(examples(["bright", "dark"] * 20))
    assert judge is not None
    assert judge([picture(True, seed=5, size=24, channels=3), picture(False, seed=6, size=4)]) == ["bright", "dark"]


def test_without_labels_to_tell_apart_there_is_no_judge() -> None:
    assert train_judge([]) is None
    assert train_judge(examples(["", ""])) is None
    assert train_judge(examples(["bright", "bright"])) is None
    assert train_judge([PictureExample(caption="x", image=None, label=label) for label in "ab"]) is None
