"""Text tokens on top of byte-level and SentencePiece tokenizers, with the `tokenizers` package as the judge."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from banyan.testing.vocabulary import tiny_tokenizer
from banyan.transfer.grown_tokenizer import grown_description
from banyan.transfer.new_tokens import TextTokens, TokenLearner

RUSSIAN = "Привет, мир! Это хороший день для прогулки по лесу. Привет, лес! Лес и мир."
CHINESE = "独木成林，一棵树，一片森林。今天天气很好，我们去看森林。"
ENGLISH = "The banyan grows one tree at a time until it is a whole forest."
TEXTS = [f"{RUSSIAN} {number}\n{CHINESE}\n" for number in range(6)]


def byte_level() -> dict[str, Any]:
    description: dict[str, Any] = json.loads(tiny_tokenizer().to_json())
    return description


def sentencepiece() -> dict[str, Any]:
    """A tokenizer of Llama's kind: spaces as U+2581, one put before the text, unknown characters as bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!?"
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=special, initial_alphabet=list(letters), show_progress=False
    )
    tokenizer.train_from_iterator([ENGLISH] * 4, trainer=trainer)
    description: dict[str, Any] = json.loads(tokenizer.to_str())
    description["pre_tokenizer"] = None  # as in the published files of the family
    description["added_tokens"] = description["added_tokens"][:3]
    return description


KINDS = {"byte-level": byte_level(), "SentencePiece": sentencepiece()}
FIRST_ID = 1000


def without_specials(description: dict[str, Any]) -> str:
    return json.dumps({**description, "added_tokens": []})


def learned(kind: str, *, num_tokens: int = 80, words: tuple[str, ...] = ()) -> TextTokens:
    learner = TokenLearner(without_specials(KINDS[kind]), KINDS[kind], first_id=FIRST_ID)
    if num_tokens:
        learner.learn(TEXTS, num_tokens=num_tokens, min_frequency=2)
    for word in words:
        learner.add_word(word)
    return learner.result()


def grown(kind: str, tokens: TextTokens) -> Tokenizer:
    description = grown_description(KINDS[kind], names=tokens.names, merges=tokens.merges, special_tokens={})
    return Tokenizer.from_str(without_specials(description))


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def spelled_out(tokens: TextTokens, ids: list[int]) -> list[int]:
    return list(itertools.chain.from_iterable(tokens.pieces.get(token_id, (token_id,)) for token_id in ids))


BEFORE = {kind: Tokenizer.from_str(without_specials(description)) for kind, description in KINDS.items()}
LEARNED = {kind: learned(kind, words=("banyans", "榕树")) for kind in KINDS}
AFTER = {kind: grown(kind, tokens) for kind, tokens in LEARNED.items()}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=40) | st.lists(st.sampled_from(f"{RUSSIAN}{CHINESE}{ENGLISH}".split())).map(" ".join))
def test_any_text_with_its_new_tokens_spelled_out_has_the_ids_of_before(kind: str, text: str) -> None:
    now = encode(AFTER[kind], text)
    assert spelled_out(LEARNED[kind], now) == encode(BEFORE[kind], text)


@pytest.mark.parametrize("kind", KINDS)
def test_the_new_language_costs_fewer_tokens_and_the_old_one_as_many(kind: str) -> None:
    before, after = BEFORE[kind], grown(kind, learned(kind))
    assert len(encode(after, RUSSIAN)) < 0.5 * len(encode(before, RUSSIAN))
    assert len(encode(after, CHINESE)) < 0.5 * len(encode(before, CHINESE))
    assert encode(after, ENGLISH) == encode(before, ENGLISH)


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_tokens_are_learned_as_were_asked_for(kind: str) -> None:
    tokens = learned(kind, num_tokens=50)
    assert sorted(tokens.names) == list(range(FIRST_ID, FIRST_ID + 50))
    assert tokens.names.keys() == tokens.pieces.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_given_word_becomes_one_token(kind: str) -> None:
    tokens = learned(kind, num_tokens=0, words=("banyans", "榕树", "Лес"))
    tokenizer = grown(kind, tokens)
    assert tokens.unlearned_words == ()
    for text in ("banyans", "Лес"):
        assert len(encode(tokenizer, text)) == 1
        one = encode(tokenizer, f"a {text} b")
        assert len(one) == len(encode(tokenizer, "a b")) + 1
    assert len(encode(tokenizer, "a榕树b")) == 3


def test_a_word_stands_alone_and_behind_a_space() -> None:
    tokenizer = grown("byte-level", learned("byte-level", num_tokens=0, words=("banyans",)))
    alone, behind = encode(tokenizer, "banyans"), encode(tokenizer, "a banyans")
    assert len(alone) == 1 and len(behind) == 2 and alone[0] != behind[1]


def test_a_phrase_cannot_be_one_token_and_is_said_so() -> None:
    tokens = learned("byte-level", num_tokens=0, words=("two words", "tree"))
    assert tokens.unlearned_words == ("two words",)


@pytest.mark.parametrize("kind", KINDS)
def test_words_added_later_leave_the_earlier_ones_whole(kind: str) -> None:
    words = ("grower", "growers", "owe", "regrow", "werg")
    tokenizer = grown(kind, learned(kind, num_tokens=0, words=words))
    assert [len(encode(tokenizer, word)) for word in words] == [1] * len(words)


def test_the_same_text_gives_the_same_tokens() -> None:
    assert learned("byte-level") == learned("byte-level")


def test_characters_a_sentencepiece_tokenizer_lacks_become_tokens() -> None:
    names = set(LEARNED["SentencePiece"].names.values())
    assert {"и", "林", "。"} <= names
    assert all(len(piece) >= 1 for piece in LEARNED["SentencePiece"].pieces.values())
