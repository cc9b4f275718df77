import base64

import pytest

from banyan.core.errors import DataError
from banyan.tasks.config import TaskConfig, build_task
from banyan.tasks.picture_classification import PictureClassification, SeenExample
from banyan.testing.tasks import GREY, PIXELS
from banyan.tokenizers.pictures import image_to_png

URI = "data:image/png;base64," + base64.b64encode(image_to_png(PIXELS)).decode()


def built(rows: list[dict[str, object]], **keys: object) -> PictureClassification:
    task = build_task(TaskConfig(name="what", kind="picture_classification", **keys), rows=rows)  # type: ignore[arg-type]
    assert isinstance(task, PictureClassification)
    return task


def test_labels_and_whether_there_is_text_come_from_the_rows() -> None:
    alone = built([{"image": GREY, "label": 1, "label_name": "cat"}, {"image": GREY, "label": 0, "label_name": "dog"}])
    assert (alone.labels, alone.reads_text) == (("dog", "cat"), False)
    both = built([{"image": GREY, "label": "a", "text": ""}, {"image": GREY, "label": "b", "text": "it"}])
    assert (both.labels, both.reads_text) == (("a", "b"), True)


def test_a_recipe_may_leave_the_text_out() -> None:
    rows: list[dict[str, object]] = [{"image": GREY, "label": label, "text": "x"} for label in "ab"]
    assert built(rows).parse(rows[0]) == SeenExample(text="x", image=PIXELS, label="a")
    assert built(rows, reads_text=False).parse(rows[0]) == SeenExample(image=PIXELS, label="a")


def test_a_typed_question_is_a_picture_and_what_stands_behind_the_bar() -> None:
    task = built([{"image": GREY, "label": label, "text": "x"} for label in "ab"])
    assert task.example_from_text(f"{URI} | a small animal") == SeenExample(text="a small animal", image=PIXELS)
    assert task.example_from_text(URI) == SeenExample(image=PIXELS)


@pytest.mark.parametrize("uri", ["data:image/png;base64,***", "data:text/html;base64,AAAA", "data:image/png,AAAA"])
def test_a_data_uri_that_is_no_picture_is_refused(uri: str) -> None:
    with pytest.raises(DataError):
        built([{"image": GREY, "label": label} for label in "ab"]).parse({"image": uri}, with_answer=False)
