from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from banyan.core.errors import CheckpointError, InputError
from banyan.testing.foreign_tokenizers import FAMILIES, foreign_files, write_foreign_tokenizer
from banyan.tokenizers.foreign import ForeignTokenizer, read_foreign_tokenizer
from banyan.tokenizers.foreign_bpe import SPACE_MARK, ForeignBytePair
from banyan.tokenizers.streaming import IncrementalDecoder
from banyan.tokenizers.vocabulary import Vocabulary

TEXTS = (
    "The banyan grows, don't it? 12345 HELLO",
    "独木成林：今天天气很好。",
    "🌳👩‍👩‍👧 emoji 🏳️‍🌈",
    "a\tb \r\n\n\n  c   \n",
    "<|im_start|>system<|eot_id|></s><s><unk><|endoftext|><0x41><think>",
    "",
    "x",
    "\x00\x7f\u200b\ufeff",
)


@cache
def foreign(family: str) -> ForeignTokenizer:
    with TemporaryDirectory() as directory:
        return read_foreign_tokenizer(write_foreign_tokenizer(family, Path(directory)))


def vocabulary_of(family: str) -> Vocabulary:
    tokenizer = foreign(family)
    return Vocabulary(tokenizer.text, foreign=tokenizer, chat=tokenizer.chat_format)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_gets_the_ids_that_transformers_gives_it(family: str, tmp_path: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(write_foreign_tokenizer(family, tmp_path), split_special_tokens=True)
    ours = foreign(family).text
    for text in TEXTS:
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text
        assert ours.encode_batch([text, text]) == [ours.encode(text)] * 2


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters=SPACE_MARK), max_size=40))
def test_a_text_reads_back_as_it_was(family: str, text: str) -> None:
    vocabulary = vocabulary_of(family)
    # Qwen composes characters, and newer SentencePiece files take a leading space for the one they add.
    expected = unicodedata.normalize("NFC", text) if family.startswith("qwen") else text
    if family == "mistral_v3":
        expected = expected.removeprefix(" ")
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == expected
    decoder = IncrementalDecoder(vocabulary)
    assert "".join(map(decoder.push, ids)) + decoder.flush() == expected


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.sampled_from((*FAMILIES, *TEXTS, "<|", "[INST]", "[/INST]", "<s>", "|>", "</s>")), max_size=5))
def test_no_text_can_become_a_control_token(family: str, parts: list[str]) -> None:
    tokenizer = foreign(family)
    control = set(tokenizer.control_ids.values())
    assert not control & set(tokenizer.text.encode("".join(parts)))
    assert not control & set(tokenizer.text.encode_inside("".join(parts), after_special=True)[0])


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters=SPACE_MARK), max_size=30))
def test_every_token_says_which_characters_it_belongs_to(family: str, text: str) -> None:
    ids, offsets = foreign(family).text.encode_inside(text)
    assert len(ids) == len(offsets)
    assert all(0 <= start <= end <= len(text) for start, end in offsets)
    assert [start for start, _ in offsets] == sorted(start for start, _ in offsets)
    assert {at for start, end in offsets for at in range(start, end)} >= {
        at for at, character in enumerate(text) if not unicodedata.combining(character)
    }


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=40, deadline=None)
@given(words=st.lists(st.text(st.characters(categories=["L", "P"]), min_size=1, max_size=6), min_size=1, max_size=6))
def test_the_words_of_a_text_encoded_one_by_one_still_decode_to_it(family: str, words: list[str]) -> None:
    text = foreign(family).text
    pieces = [words[0], *(f" {word}" for word in words[1:])]
    ids = [token_id for piece in pieces for token_id in text.encode_inside(piece)[0]]
    expected = " ".join(words)
    normal = unicodedata.normalize("NFC", expected)
    assert text.decode_bytes(ids).decode() in {expected, normal} or family.startswith("qwen")


def test_added_tokens_may_stand_anywhere_in_the_id_space() -> None:
    description, _ = foreign_files("gpt2")
    size = len(description["model"]["vocab"])
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    word = {"id": size + 50, "content": "banyanword", "special": False, **flags}
    special = {"id": size + 7, "content": "<|late|>", "special": True, **flags}
    description["added_tokens"] = [*description["added_tokens"], word, special]
    text = ForeignBytePair(description, special_ids={size, size + 7})
    assert text.vocab_size == size + 51
    assert text.encode("banyanword")[-1] == size + 50
    assert text.token_bytes(size + 50) == b"banyanword"
    assert [text.is_text(token_id) for token_id in (size - 1, size, size + 1, size + 7, size + 50, size + 51)] == [
        True,
        False,
        False,
        False,
        True,
        False,
    ]
    assert text.decode_bytes(text.encode("a <|late|> banyanword")) == b"a <|late|> banyanword"


def test_a_marker_is_read_as_text_but_never_written_by_a_user() -> None:
    tokenizer = foreign("qwen3")
    marker = tokenizer.control_ids["<tool_response>"]
    assert tokenizer.text.token_bytes(marker) == b"<tool_response>"
    assert marker not in tokenizer.text.encode("<tool_response>")


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InputError, match="lone surrogate"):
        foreign("llama2").text.encode("\ud800")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model": {"type": "WordPiece", "vocab": {"a": 0}}}, "kind WordPiece"),
        ({"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}, "kind Unigram"),
        ({"model": {"type": "BPE", "vocab": {}, "merges": []}}, "no tokens"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}, "neither byte-level"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "byte_fallback": True}}, "knows 1 of the 256"),
        ({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}, "no token id"),
        ({"model": {"type": "BPE", "vocab": {"a": 10**9}, "merges": []}}, "no token id"),
        ({"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}, "to both 'a' and 'b'"),
        ({"model": None}, "kind None"),
        ({"added_tokens": 3}, "must be a list"),
    ],
)
def test_what_is_no_lossless_bpe_is_refused(change: dict[str, object], problem: str) -> None:
    description, _ = foreign_files("llama2")
    with pytest.raises(CheckpointError, match=problem):
        ForeignBytePair({**description, "added_tokens": [], "pre_tokenizer": None, **change}, special_ids=())
