import base64
from dataclasses import replace
from typing import Any

import pytest

from banyan.core.errors import DataError
from banyan.core.types import NO_GRID
from banyan.tasks.config import TaskConfig, build_task
from banyan.tasks.dialogue import Dialogue, DialogueExample
from banyan.tasks.picture_talk import cells_of
from banyan.testing.tasks import PIXELS, VOCABULARY
from banyan.tokenizers.patch_codebook import PatchCodebook
from banyan.tokenizers.pictures import image_to_png

URI = "data:image/png;base64," + base64.b64encode(image_to_png(PIXELS)).decode()
PICTURE = {"type": "image_url", "image_url": {"url": URI}}
ROW: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "树 what is it? "}, PICTURE, PICTURE]},
        {"role": "assistant", "content": "A tree."},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Yes."},
    ]
}
TALK = Dialogue(name="chat", max_answer_tokens=16, sees_pictures=True)
CODES = PatchCodebook.train([PIXELS], patch_size=1, num_codes=2, seed=0)


def example() -> DialogueExample:
    [seen] = TALK.see([TALK.parse(ROW)], CODES)
    return seen


def test_pictures_stand_before_the_words_of_their_message() -> None:
    prompt = TALK.prompt(example(), VOCABULARY, max_tokens=200)
    code = CODES.encode([PIXELS])[0]
    shown = VOCABULARY.show_picture(code) * 2
    assert prompt.token_ids[1 : 2 + len(shown)] == (VOCABULARY.role_id("user"), *shown)
    at = prompt.token_ids.index(VOCABULARY.image_id)
    assert prompt.grid_ids[at : at + 6] == (0, 1, 2, 3, NO_GRID, NO_GRID)
    assert prompt.grid_ids == cells_of(prompt.token_ids, VOCABULARY) and len(prompt.grid_ids) == len(prompt)


def test_only_what_the_assistant_says_is_learned_and_it_is_asked_as_it_is_taught() -> None:
    sequence = TALK.render(example(), VOCABULARY, max_tokens=200)
    learned = [target for target, weight in zip(sequence.targets, sequence.loss_weights, strict=True) if weight]
    assert VOCABULARY.decode(learned) == "A tree.Yes." and not any(map(VOCABULARY.is_image, learned))
    asked = TALK.parse({"messages": ROW["messages"][:-1]}, with_answer=False)
    prompt = TALK.prompt(TALK.see([asked], CODES)[0], VOCABULARY, max_tokens=200)
    assert sequence.token_ids[: len(prompt)] == prompt.token_ids
    assert sequence.grid_ids[: len(prompt)] == prompt.grid_ids


def test_a_conversation_that_is_cut_keeps_its_pictures_whole() -> None:
    long = replace(
        TALK.parse(
            {"messages": [{"role": "user", "content": [PICTURE, {"type": "text", "text": "a " * 90}]}]},
            with_answer=False,
        )
    )
    prompt = TALK.prompt(TALK.see([long], CODES)[0], VOCABULARY, max_tokens=50)
    assert prompt.num_dropped_tokens > 0 and sum(map(VOCABULARY.is_image, prompt.token_ids)) == 4


def test_whether_pictures_are_seen_comes_from_the_rows() -> None:
    config = TaskConfig(name="chat", kind="dialogue")
    assert build_task(config, rows=[ROW]) == replace(TALK, max_answer_tokens=256)
    blind = build_task(config, rows=[{"messages": ROW["messages"][2:]}])
    with pytest.raises(DataError, match="not taught to look"):
        blind.parse(ROW)


@pytest.mark.parametrize(
    ("role", "place", "problem"),
    [
        ("user", "https://example.org/cat.png", "never fetched"),
        ("user", "/etc/hostname", "never fetched"),
        ("user", "data:image/png;base64,AAAA", "be read"),
        ("assistant", URI, "only the user"),
    ],
)
def test_only_a_users_own_picture_is_read_and_nothing_is_ever_fetched(role: str, place: str, problem: str) -> None:
    part = {"type": "image_url", "image_url": {"url": place}}
    with pytest.raises(DataError, match=problem):
        TALK.parse({"messages": [{"role": role, "content": [part]}]}, with_answer=False)
