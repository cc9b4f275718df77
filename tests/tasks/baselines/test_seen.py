import pytest

from banyan.tasks.baselines.seen import commonest_caption, pixels_alone
from banyan.tasks.baselines.table import baselines_for
from banyan.tasks.evaluate import evaluate_task
from banyan.tasks.image_generation import PictureExample
from banyan.tasks.picture_classification import SeenExample
from banyan.testing.pictures import tiny_pictures
from banyan.testing.tasks import GREY, SEEING
from banyan.tokenizers.pictures import image_from_array

BARS = [
    SeenExample(image=image_from_array(pixels), label=str(number % 3), text="bar")
    for number, pixels in enumerate(tiny_pictures(90))
]


def test_pixels_alone_tell_bars_from_squares() -> None:
    answer = pixels_alone("what", BARS[:60], seed=0)
    right = [own.text == due.label for own, due in zip(answer(BARS[60:]), BARS[60:], strict=True)]
    assert sum(right) > 24


def test_of_many_pictures_in_the_order_of_their_labels_all_labels_are_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banyan.tasks.baselines.seen._MAX_PICTURES", 40)
    answer = pixels_alone("what", sorted(BARS, key=lambda one: one.label), seed=0)
    assert {own.text for own in answer(BARS)} == {"0", "1", "2"}


def test_the_commonest_caption_is_said_of_every_picture() -> None:
    train = [PictureExample(caption=caption) for caption in ("a cat", "a dog", "a cat")]
    assert [own.text for own in commonest_caption("say", train)(train)] == ["a cat"] * 3


@pytest.mark.parametrize("kind", SEEING)
def test_kinds_that_see_have_baselines_and_the_first_is_trivial(kind: str) -> None:
    task = SEEING[kind]
    rows = [{"image": GREY, "text": text, "label": label} for text, label in (("oak", "tree"), ("树", "树"))] * 2
    train = [task.parse(row) for row in rows]
    baselines = baselines_for(task, train)
    assert [baseline.is_trivial for baseline in baselines] == [True] + [False] * (len(baselines) - 1)
    for baseline in baselines:
        evaluation = evaluate_task(task, train, baseline.learn(), num_samples=20)
        assert evaluation.main_metric in evaluation.scores
