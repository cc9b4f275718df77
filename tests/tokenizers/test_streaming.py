from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.streaming import IncrementalDecoder

VOCABULARY = tiny_vocabulary((), 8)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, VOCABULARY.size - 1), max_size=40))
def test_the_pieces_of_any_stream_join_to_the_whole_text(token_ids: list[int]) -> None:
    decoder = IncrementalDecoder(VOCABULARY)
    pieces = [decoder.push(token_id) for token_id in token_ids]
    assert "".join(pieces) + decoder.flush() == VOCABULARY.decode(token_ids)


def test_a_character_appears_only_when_its_last_byte_has_come() -> None:
    decoder = IncrementalDecoder(VOCABULARY)
    pieces = [decoder.push(token_id) for token_id in VOCABULARY.encode("🌳")]
    assert pieces == ["", "", "", "🌳"]


def test_an_unfinished_character_is_marked_at_the_end() -> None:
    decoder = IncrementalDecoder(VOCABULARY)
    assert decoder.push(VOCABULARY.encode("🌳")[0]) == ""
    assert decoder.flush() == "\ufffd"
