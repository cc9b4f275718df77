from __future__ import annotations

import pytest

from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.inspect import fertility_by_script, script_of, token_pieces

TEXTS = ["the banyan tree 42, 独木成林！\n", "森林 grows 🌳"]


def test_scripts_together_hold_every_character_byte_and_token() -> None:
    vocabulary = tiny_vocabulary()
    found = fertility_by_script(vocabulary, TEXTS)
    assert sum(script.num_characters for script in found) == sum(map(len, TEXTS))
    assert sum(script.num_bytes for script in found) == sum(len(text.encode()) for text in TEXTS)
    assert sum(script.num_tokens for script in found) == pytest.approx(
        sum(map(len, vocabulary.text.encode_batch(TEXTS)))
    )


def test_a_script_without_merges_costs_one_token_a_byte() -> None:
    (han,) = fertility_by_script(tiny_vocabulary(), ["鼎"])
    assert (han.script, han.tokens_per_character, han.bytes_per_token) == ("Han", 3.0, 1.0)


@pytest.mark.parametrize(
    ("characters", "script"),
    [
        ("aß", "Latin"),
        ("林", "Han"),
        ("7٣", "digits"),
        ("，+", "punctuation"),
        ("\t ", "space"),
        ("й", "Cyrillic"),
        ("\x00", "other"),
    ],
)
def test_a_character_belongs_to_its_script(characters: str, script: str) -> None:
    assert {script_of(character) for character in characters} == {script}


def test_pieces_cover_the_text_in_order() -> None:
    pieces = token_pieces(tiny_vocabulary(), "the tree")
    assert [piece.start for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
    assert pieces[-1].end == len("the tree")
