import pytest

from banyan.core.errors import DataError
from banyan.core.types import Row
from banyan.tasks.captions import captions_of, label_of

NAMES = {"cat": ("cat", "kitten", "猫"), "7": ("七",)}


@pytest.mark.parametrize(
    ("row", "templates", "expected"),
    [
        ({"label": "cat"}, ["{name}"], ("cat", "kitten", "猫")),
        ({"label": "cat"}, ["a {name}", "一只{name}"], ("a cat", "a kitten", "一只猫")),
        ({"label": 3, "label_name": "cat"}, ["my {name}"], ("my cat", "my kitten")),
        ({"label": 7}, ["the digit {name}"], ("the digit 七",)),  # no name in the template's language
        ({"label": "dog"}, ["a {name}"], ("a dog",)),
        ({"name": "blue car", "keywords": ["car", "sky"]}, ["{name}", "{keywords}"], ("blue car", "car, sky")),
        ({"label": "cat", "keywords": []}, ["{keywords}", "a {name}"], ("a cat", "a kitten")),
        ({"label": "cat", "mood": "sad"}, ["{mood} {name}", "{mood}"], ("sad cat", "sad kitten", "sad 猫", "sad")),
    ],
)
def test_captions_are_templates_filled_with_the_names_of_their_language(
    row: Row, templates: list[str], expected: tuple[str, ...]
) -> None:
    assert captions_of(row, templates=templates, names=NAMES) == expected


@pytest.mark.parametrize("row", [{"image": 1}, {"label": "cat", "keywords": []}])
def test_a_row_without_a_caption_says_so(row: Row) -> None:
    with pytest.raises(DataError):
        captions_of(row, templates=["{keywords}"] if "label" in row else ["{name}"], names=NAMES)


def test_the_word_of_a_label_comes_before_its_number() -> None:
    assert [label_of(row) for row in ({"label": 3, "label_name": "cat"}, {"label": 0}, {})] == ["cat", "0", ""]
