from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.core.errors import CheckpointError, ConfigError, InputError
from banyan.testing.vocabulary import tiny_tokenizer
from banyan.tokenizers.bpe import BytePairTokenizer

any_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
mixed_text = st.lists(
    st.sampled_from(["tree ", " the", "一棵树", "森", "é", "🌳", "e\u0301", "\r\n", "    ", "<|bos|>", "\x00", "42"])
).map("".join)


@settings(max_examples=200, deadline=None)
@given(any_text | mixed_text)
def test_every_text_comes_back_exactly(text: str) -> None:
    tokenizer = tiny_tokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=200, deadline=None)
@given(any_text | mixed_text)
def test_offsets_are_the_characters_that_a_tokens_bytes_touch(text: str) -> None:
    tokenizer = tiny_tokenizer()
    character_of_byte = [index for index, character in enumerate(text) for _ in character.encode()]
    token_ids, offsets = tokenizer.encode_with_offsets(text)
    position = 0
    for token_id, (start, end) in zip(token_ids, offsets, strict=True):
        touched = character_of_byte[position : position + len(tokenizer.token_bytes(token_id))]
        assert (start, end) == (touched[0], touched[-1] + 1)
        position += len(touched)
    assert position == len(character_of_byte)


def test_text_that_looks_like_a_special_token_is_ordinary_text() -> None:
    token_ids = tiny_tokenizer().encode("<|bos|>")
    assert len(token_ids) > 1
    assert max(token_ids) < tiny_tokenizer().vocab_size


def test_training_twice_on_the_same_texts_gives_the_same_tokenizer() -> None:
    texts = ["to be or not to be", "独木成林 独木成林", "x = x + 1\n" * 3]
    first, second = (BytePairTokenizer.train(iter(texts), vocab_size=290).to_json() for _ in range(2))
    assert first == second


def test_every_single_byte_has_a_token() -> None:
    tokenizer = BytePairTokenizer.train([], vocab_size=256)
    assert {tokenizer.token_bytes(token_id) for token_id in range(256)} == {bytes([byte]) for byte in range(256)}


def test_a_batch_is_encoded_like_its_texts_one_by_one() -> None:
    texts = ["", "the tree", "一棵树 <|eos|>"]
    assert tiny_tokenizer().encode_batch(texts) == [tiny_tokenizer().encode(text) for text in texts]


def test_a_tokenizer_file_can_ask_for_no_cutting_and_no_padding() -> None:
    description = json.loads(tiny_tokenizer().to_json())
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    filled = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None}
    filled |= {"pad_id": 9999, "pad_type_id": 0, "pad_token": "[PAD]"}
    read = BytePairTokenizer.from_json(json.dumps({**description, "truncation": cut, "padding": filled}))
    texts = ["tree", "one tree, a whole forest"]
    assert read.encode_batch(texts) == tiny_tokenizer().encode_batch(texts)


def test_a_tokenizer_read_from_json_encodes_alike() -> None:
    again = BytePairTokenizer.from_json(tiny_tokenizer().to_json())
    assert again.encode("the banyan 独木成林") == tiny_tokenizer().encode("the banyan 独木成林")


def test_half_a_character_decodes_to_the_replacement_mark() -> None:
    tokenizer = tiny_tokenizer()
    token_ids = tokenizer.encode("é")
    assert tokenizer.decode_bytes(token_ids[:1]) == "é".encode()[:1]
    assert tokenizer.decode(token_ids[:1]) == "\ufffd"


@pytest.mark.parametrize("encode", ["encode", "encode_with_offsets", "encode_batch"])
def test_a_lone_surrogate_is_refused_by_position(encode: str) -> None:
    text = "ab\ud800"
    with pytest.raises(InputError, match="U\\+D800 at character 2"):
        getattr(tiny_tokenizer(), encode)([text] if encode == "encode_batch" else text)


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(ConfigError, match="vocab_size=255"):
        BytePairTokenizer.train(["a"], vocab_size=255)


def test_something_that_is_not_a_byte_level_bpe_is_refused() -> None:
    description = json.loads(tiny_tokenizer().to_json())
    description["model"]["vocab"] = {"a": 0}
    panicking = json.loads(tiny_tokenizer().to_json())
    panicking["model"]["continuing_subword_prefix"] = "longer than a token"
    description["model"]["merges"] = []
    for text in ("{", "[]", json.dumps(description), json.dumps(panicking)):
        with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
            BytePairTokenizer.from_json(text)
