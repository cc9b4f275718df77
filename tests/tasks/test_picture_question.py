"""What holds for every kind of question about a picture."""

from dataclasses import replace
from typing import Any

import pytest

from banyan.core.errors import ContextLengthError, DataError, InputError
from banyan.core.types import NO_GRID, NO_TARGET, MaskKind
from banyan.tasks.image_generation import ImageGeneration
from banyan.testing.tasks import CHINESE, GREY, HOSTILE, SEEING, TASKS, VOCABULARY, example_about

CODES = (3, 1, 4, 1)
ROW = {"image": GREY, "text": CHINESE, "label": "tree"}


def seen(kind: str, **changes: Any) -> Any:
    return replace(SEEING[kind].parse({**ROW, **changes}), codes=CODES)


@pytest.mark.parametrize("kind", SEEING)
def test_what_is_taught_is_what_is_asked(kind: str) -> None:
    task = SEEING[kind]
    asked = replace(task.parse({"image": GREY, "text": CHINESE}, with_answer=False), codes=CODES)
    prompt = task.prompt(asked, VOCABULARY, max_tokens=100)
    sequence = task.render(seen(kind), VOCABULARY, max_tokens=100)
    assert sequence.token_ids[: len(prompt)] == prompt.token_ids
    assert (sequence.mask, sequence.prefix_len) == (MaskKind.PREFIX, len(prompt))
    assert sequence.grid_ids[: len(prompt)] == prompt.grid_ids and set(sequence.grid_ids[len(prompt) :]) <= {NO_GRID}
    first = next(place for place, target in enumerate(sequence.targets) if target != NO_TARGET)
    assert first == len(prompt) - 1  # the picture itself is not learned here


@pytest.mark.parametrize("kind", SEEING)
def test_a_picture_is_read_as_it_is_drawn(kind: str) -> None:
    drawn = TASKS["image_generation"]
    assert isinstance(drawn, ImageGeneration)
    taught = drawn.render(example_about("image_generation", "a tree"), VOCABULARY, max_tokens=100)
    prompt = SEEING[kind].prompt(seen(kind), VOCABULARY, max_tokens=100)
    at, drawn_at = prompt.token_ids.index(VOCABULARY.image_id), taught.token_ids.index(VOCABULARY.image_id)
    assert prompt.token_ids[at : at + 5] == taught.token_ids[drawn_at : drawn_at + 5]
    assert prompt.grid_ids[at : at + 5] == taught.grid_ids[drawn_at : drawn_at + 5] == (0, 1, 2, 3, NO_GRID)


def test_words_beside_a_picture_are_cut_and_the_picture_is_not() -> None:
    task = SEEING["picture_classification"]
    whole, cut = (task.prompt(seen(task.kind, text="a tree " * 50), VOCABULARY, max_tokens=n) for n in (5000, 30))
    assert len(whole) == len(cut) + cut.num_dropped_tokens and len(cut) == 30
    assert VOCABULARY.end_image_id in cut.token_ids
    with pytest.raises(ContextLengthError):
        task.prompt(seen(task.kind, text=""), VOCABULARY, max_tokens=8)


def test_text_beside_a_picture_never_becomes_a_special_token() -> None:
    task = SEEING["picture_classification"]
    plain, hostile = (task.prompt(seen(task.kind, text=text), VOCABULARY, max_tokens=3000) for text in ("x", HOSTILE))
    assert [*filter(VOCABULARY.is_special, hostile.token_ids)] == [*filter(VOCABULARY.is_special, plain.token_ids)]


@pytest.mark.parametrize("kind", SEEING)
def test_a_picture_without_codes_and_a_file_that_is_none_are_refused(kind: str) -> None:
    with pytest.raises(DataError, match="without codes"):
        SEEING[kind].prompt(replace(seen(kind), codes=None), VOCABULARY, max_tokens=100)
    for typed in ("", "nothing.png", "data:text/plain,x"):
        with pytest.raises(InputError):
            SEEING[kind].example_from_text(typed)
