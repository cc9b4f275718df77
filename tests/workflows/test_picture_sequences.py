from collections import Counter

import pytest

from banyan.core.errors import ContextLengthError
from banyan.tasks.image_generation import ImageGeneration, PictureExample
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.workflows.picture_sequences import PictureSequences

VOCABULARY = tiny_vocabulary(["draw"], num_image_codes=4)
CAT, DOG = (
    PictureExample(caption=words[0], captions=words, codes=codes, other_codes=(codes[::-1],))
    for words, codes in ((("cat", "kitten", "猫"), (0, 1, 1, 1)), (("dog",), (2, 3, 3, 3)))
)


def sequences(*, dropout: float) -> PictureSequences:
    task = ImageGeneration(name="draw", grid_size=2, num_codes=4, caption_dropout=dropout)
    return PictureSequences(task, [CAT, DOG], VOCABULARY, max_tokens=40)


def test_every_picture_is_learned_under_its_captions_and_with_its_copies() -> None:
    source = sequences(dropout=0.0)
    learned = [source[index] for index in range(len(source))]
    wishes = Counter(VOCABULARY.decode(one.token_ids[2 : one.prefix_len - 2]) for one in learned)
    assert wishes == {"cat": 1, "kitten": 1, "猫": 1, "dog": 3}
    assert len({one.targets[one.prefix_len - 1 :] for one in learned}) == 4  # two pictures, two copies each
    with pytest.raises(IndexError):
        source[len(source)]


@pytest.mark.parametrize("dropout", [0.1, 0.4])
def test_the_share_without_a_wish_is_what_the_recipe_says(dropout: float) -> None:
    source = sequences(dropout=dropout)
    is_wishless = [VOCABULARY.null_id in source[index].token_ids for index in range(len(source))]
    assert sum(is_wishless) == round(dropout * len(source))
    first = is_wishless.index(True)
    assert source[first].token_ids == source[first].token_ids and all(is_wishless[first:])


def test_a_context_without_room_for_a_picture_is_found_out_at_once() -> None:
    task = ImageGeneration(name="draw", grid_size=2, num_codes=4)
    with pytest.raises(ContextLengthError):
        PictureSequences(task, [CAT], VOCABULARY, max_tokens=7)
