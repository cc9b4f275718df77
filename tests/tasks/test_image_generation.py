import pytest

from banyan.core.errors import ConfigError, ContextLengthError, DataError, InputError
from banyan.core.types import NO_GRID, Completion, Image, ImageGrid, Prediction, Row
from banyan.tasks.image_generation import (
    ImageGeneration,
    PictureExample,
    encode_pictures,
    judge_pictures,
    picture_fields,
    show_picture,
)
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.patch_codebook import PatchCodebook

VOCABULARY = tiny_vocabulary(["draw"], num_image_codes=4)
BLACK, WHITE = (Image(width=4, height=4, channels=1, pixels=bytes([value] * 16)) for value in (0, 255))
HALF = Image(width=4, height=4, channels=1, pixels=bytes(([0] * 2 + [255] * 2) * 4))
CODES = PatchCodebook.train([BLACK, WHITE, HALF], patch_size=2, num_codes=2, seed=0)
DRAW = ImageGeneration(name="draw", **picture_fields(CODES))
SEVEN = PictureExample(caption="手写数字七 seven", codes=(1, 0, 1, 1), label="7")


def test_the_picture_follows_its_caption_code_by_code() -> None:
    prompt = DRAW.prompt(SEVEN, VOCABULARY, max_tokens=100)
    sequence = DRAW.render(SEVEN, VOCABULARY, max_tokens=100)
    codes = tuple(VOCABULARY.image_token(code) for code in (1, 0, 1, 1))
    assert prompt.token_ids[-2:] == (VOCABULARY.sep_id, VOCABULARY.image_id)
    assert sequence.token_ids == prompt.token_ids + codes
    assert sequence.targets[len(prompt) - 1 :] == (*codes, VOCABULARY.end_image_id)


def test_each_position_knows_the_cell_it_predicts() -> None:
    prompt = DRAW.prompt(SEVEN, VOCABULARY, max_tokens=100)
    grid = DRAW.render(SEVEN, VOCABULARY, max_tokens=100).grid_ids
    assert grid == (NO_GRID,) * (len(prompt) - 1) + (0, 1, 2, 3, NO_GRID)


def test_without_the_wish_the_prompt_and_the_training_sequence_are_the_same_too() -> None:
    prompt = DRAW.prompt(SEVEN, VOCABULARY, max_tokens=100)
    sequence = DRAW.render(SEVEN, VOCABULARY, max_tokens=100, drop_source=True)
    without = prompt.unconditional_token_ids
    assert VOCABULARY.null_id in without
    assert sequence.token_ids[: len(without)] == without
    assert sequence.prefix_len == len(without)
    assert sequence.grid_ids[len(without) - 1 :] == (0, 1, 2, 3, NO_GRID)


def test_a_picture_is_asked_for_as_a_complete_grid() -> None:
    decoding = DRAW.prompt(SEVEN, VOCABULARY, max_tokens=100).decoding
    assert decoding == ImageGrid(grid_size=2, first_code_id=VOCABULARY.first_image_id, num_codes=2)


def test_codes_make_the_picture_they_came_from() -> None:
    (example,) = encode_pictures([PictureExample(caption="half", image=HALF)], CODES)
    prompt = DRAW.prompt(example, VOCABULARY, max_tokens=100)
    tokens = tuple(VOCABULARY.image_token(code) for code in example.codes or ())
    prediction = show_picture(DRAW.read(prompt, Completion(token_ids=tokens), VOCABULARY), CODES)
    assert prediction.image_codes == example.codes
    assert prediction.image == HALF


def test_pictures_of_another_size_are_scaled_before_they_are_encoded() -> None:
    large = Image(width=8, height=8, channels=3, pixels=bytes(8 * 8 * 3))
    (example,) = encode_pictures([PictureExample(caption="black", image=large)], CODES)
    assert example.codes == CODES.encode([BLACK])[0]


@pytest.mark.parametrize(
    "row",
    [
        {"text": "seven"},
        {"caption": "seven"},
        {"captions": ["seven"]},
        {"text": ["seven"]},
    ],
)
def test_every_spelling_of_a_caption_is_read(row: Row) -> None:
    example = DRAW.parse({**row, "image": BLACK, "label": 7})
    assert (example.caption, example.image, example.label) == ("seven", BLACK, "7")


def test_of_several_captions_one_is_chosen_and_stays_chosen() -> None:
    row: Row = {"captions": ["seven", "七", "sieben"]}
    example = DRAW.parse(row, with_answer=False)
    assert example.caption in example.captions == ("seven", "七", "sieben")
    assert DRAW.parse(row, with_answer=False) == example
    assert {DRAW.with_caption(example, number).caption for number in range(3, 6)} == {"seven", "七", "sieben"}


def test_different_pictures_choose_different_captions() -> None:
    chosen = {DRAW.parse({"captions": [f"seven {n}", f"七 {n}"]}, with_answer=False).caption[0] for n in range(20)}
    assert chosen == {"s", "七"}


def test_a_template_makes_the_caption() -> None:
    task = ImageGeneration(name="draw", grid_size=2, num_codes=4, template="a picture of {name}")
    assert task.parse({"name": "a tree"}, with_answer=False).caption == "a picture of a tree"


@pytest.mark.parametrize("row", [{}, {"text": " "}, {"captions": []}, {"captions": [1]}])
def test_a_picture_needs_a_caption(row: Row) -> None:
    with pytest.raises(DataError):
        DRAW.parse(row, with_answer=False)


@pytest.mark.parametrize(("image", "where"), [({"path": "a.png"}, r" \(a\.png\)"), ("data:image/png;base64,AAAA", "")])
def test_a_blank_caption_is_named_by_its_picture(image: object, where: str) -> None:
    with pytest.raises(DataError, match=f"^column 'text'{where} is blank: a picture needs a caption"):
        DRAW.parse({"image": image, "text": " "}, with_answer=False)


def test_what_is_missing_is_named_with_the_next_step() -> None:
    with pytest.raises(DataError, match="without codes") as caught:
        DRAW.render(PictureExample(caption="x"), VOCABULARY, max_tokens=100)
    assert caught.value.hint == "call encode_pictures first"
    with pytest.raises(DataError, match="3 codes, its grid 4"):
        DRAW.render(PictureExample(caption="x", codes=(1, 1, 1)), VOCABULARY, max_tokens=100)
    with pytest.raises(DataError, match="no picture to encode"):
        encode_pictures([PictureExample(caption="x")], CODES)
    with pytest.raises(ContextLengthError, match="do not fit 8"):
        DRAW.prompt(SEVEN, VOCABULARY, max_tokens=8)
    with pytest.raises(ConfigError, match="make no picture"):
        ImageGeneration(name="draw", grid_size=0, num_codes=4)
    with pytest.raises(InputError, match="blank"):
        DRAW.example_from_text(" ")
    with pytest.raises(InputError, match="no image codes"):
        show_picture(Prediction(task="draw", text=""), CODES)


def test_pictures_are_scored_by_what_a_classifier_sees_in_them() -> None:
    examples = [PictureExample(caption="x", label=label) for label in ("black", "white")]
    drawn = [Prediction(task="draw", text="", image=BLACK)] * 2
    seen = judge_pictures(drawn, lambda images: ["white" if image.pixels[0] else "black" for image in images])
    assert DRAW.score(examples, seen)["accuracy"] == 0.5
    with pytest.raises(InputError, match="cannot be judged"):
        judge_pictures([Prediction(task="draw", text="")], lambda images: [])
