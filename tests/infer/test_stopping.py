from hypothesis import given
from hypothesis import strategies as st

from banyan.infer.stopping import AnswerText
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.streaming import IncrementalDecoder

# Few letters, so that stop texts occur, overlap and almost occur; 好 and 妈 share their first byte.
TEXTS = st.text(alphabet="abc 好妈é", max_size=40)
STOPS = st.lists(st.text(alphabet="abc 好妈é", min_size=1, max_size=4), max_size=4)


def cut(text: str, stops: list[str]) -> str:
    """Read character by character and end where the first stop text is complete."""
    for end in range(len(text) + 1):
        if found := [stop for stop in stops if text[:end].endswith(stop)]:
            return text[: end - max(map(len, found))]
    return text


def byte_ids(text: str) -> list[int]:
    """Cut a text into single bytes: the hardest cutting there is."""
    vocabulary = tiny_vocabulary()
    by_bytes = {vocabulary.decode_bytes((token,)): token for token in range(vocabulary.text.vocab_size)}
    return [by_bytes[bytes([byte])] for byte in text.encode()]


@given(TEXTS, STOPS)
def test_an_answer_ends_before_the_first_complete_stop_text_however_it_is_cut(text: str, stops: list[str]) -> None:
    for ids in (tiny_vocabulary().encode(text), byte_ids(text)):
        answer = AnswerText(tiny_vocabulary(), stop=stops)
        shown = ""
        for token in ids:
            shown += answer.push(token)
            assert cut(text, stops).startswith(shown)  # nothing shown is ever taken back
            if answer.is_stopped:
                break
        shown += answer.finish()
        assert shown == answer.text == cut(text, stops)
        assert answer.is_stopped == (cut(text, stops) != text or any(text.endswith(stop) for stop in stops))
        assert answer.text.startswith(tiny_vocabulary().decode(ids[: answer.num_released_tokens]))


@given(TEXTS)
def test_without_stop_texts_every_piece_comes_as_soon_as_it_is_complete(text: str) -> None:
    answer, decoder = AnswerText(tiny_vocabulary()), IncrementalDecoder(tiny_vocabulary())
    for number, token in enumerate(byte_ids(text), start=1):
        assert answer.push(token) == decoder.push(token)
        assert answer.num_released_tokens == number
    assert answer.finish() == decoder.flush()


def test_half_a_character_at_the_end_is_shown_as_a_replacement() -> None:
    answer = AnswerText(tiny_vocabulary())
    assert answer.push(byte_ids("é")[0]) == ""
    assert answer.finish() == "\ufffd"
