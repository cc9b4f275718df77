import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from banyan.core.errors import CheckpointError, ConfigError
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.banyan_layout import SPECIAL_TOKENS
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.tokenizers.vocabulary_loading import load_vocabulary
from banyan.transfer.gguf_tokenizer import TokenKind, gguf_tokenizer

VOCABULARY = tiny_vocabulary()
SPACE = "▁"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    VOCABULARY.save(tmp_path)
    return read_files(tmp_path)


def read_files(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")}


def changed(files: Mapping[str, bytes], **parts: Any) -> dict[str, bytes]:
    tokenizer = {**json.loads(files["tokenizer.json"]), **parts}
    return {**files, "tokenizer.json": json.dumps(tokenizer).encode()}


@pytest.fixture
def llama(tmp_path: Path) -> tuple[dict[str, bytes], Vocabulary]:
    """A tokenizer in the manner of Llama 2, and what our vocabulary makes of it."""
    for name, content in sentencepiece_files().items():
        (tmp_path / name).write_bytes(content)
    return read_files(tmp_path), load_vocabulary(tmp_path, chat="plain", text_size=270)


def sentencepiece_files() -> dict[str, bytes]:
    """3 control tokens, 256 bytes, and pieces made by four merges."""
    pieces = ["a", "b", SPACE, "ab", SPACE + "a", SPACE + "ab", "aa"]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    merges = [["a", "b"], [SPACE, "a"], [SPACE, "ab"], [SPACE + "a", "b"]]
    vocab = {name: row for row, name in enumerate(names)}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": row, "content": names[row], **special} for row in range(3)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": SPACE},
                {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": None,
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "vocab": vocab, "merges": merges},
    }
    tokens = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "unk_token": "<unk>"}
    return {"tokenizer.json": json.dumps(tokenizer).encode(), "tokenizer_config.json": json.dumps(tokens).encode()}


def test_every_row_is_named_and_has_its_kind(files: dict[str, bytes]) -> None:
    found = gguf_tokenizer(files, VOCABULARY)
    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    num_text = VOCABULARY.text.vocab_size
    assert list(found.tokens[: tokenizer.get_vocab_size()]) == [
        tokenizer.id_to_token(row) for row in range(tokenizer.get_vocab_size())
    ]
    assert set(found.kinds[:num_text]) == {TokenKind.NORMAL}
    assert found.kinds[num_text:] == (TokenKind.CONTROL,) * len(SPECIAL_TOKENS)
    assert len(set(found.tokens)) == len(found.tokens) == len(found.kinds) == VOCABULARY.text_size


def test_ours_cuts_words_as_qwen2_and_begins_with_bos(files: dict[str, bytes]) -> None:
    found = gguf_tokenizer(files, VOCABULARY)
    assert (found.model, found.pre, found.add_bos) == ("gpt2", "qwen2", True)
    names = {"bos": "bos", "eos": "eos", "pad": "pad", "eot": "end"}
    assert found.special_ids == {name: getattr(VOCABULARY, f"{ours}_id") for name, ours in names.items()}
    assert found.chat_template == json.loads(files["tokenizer_config.json"])["chat_template"]
    assert len(found.merges) == VOCABULARY.text.vocab_size - 256 and not found.scores


def test_gpt2s_own_way_of_cutting_is_known(files: dict[str, bytes]) -> None:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    assert gguf_tokenizer(changed(files, pre_tokenizer=byte_level), VOCABULARY).pre == "gpt-2"


@pytest.mark.parametrize(
    "parts",
    [
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        {"normalizer": {"type": "Lowercase"}},
    ],
    ids=["other words", "a space before", "other letters"],
)
def test_a_tokenizer_llama_cpp_would_read_otherwise_is_refused(files: dict[str, bytes], parts: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="llama.cpp has no pre-tokenizer"):
        gguf_tokenizer(changed(files, **parts), VOCABULARY)


def test_more_tokens_than_rows_are_refused(files: dict[str, bytes]) -> None:
    added = [{"id": VOCABULARY.text_size, "content": "<|more|>", "special": True}]
    with pytest.raises(
        CheckpointError, match=f"has id {VOCABULARY.text_size}, and the model has {VOCABULARY.text_size}"
    ):
        gguf_tokenizer(changed(files, added_tokens=added), VOCABULARY)


def test_a_tokenizer_of_another_kind_is_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ConfigError, match="join pairs, and this one is Unigram"):
        gguf_tokenizer(changed(files, model={"type": "Unigram", "vocab": []}), VOCABULARY)


def test_a_file_that_is_no_tokenizer_is_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(CheckpointError):
        gguf_tokenizer({**files, "tokenizer.json": b"[]"}, VOCABULARY)
    with pytest.raises(CheckpointError, match="not laid out as a tokenizer"):
        gguf_tokenizer(changed(files, model={"type": "BPE", "vocab": 3}), VOCABULARY)


def test_scores_join_pairs_in_the_order_of_the_merges(llama: tuple[dict[str, bytes], Vocabulary]) -> None:
    found = gguf_tokenizer(*llama)
    assert (found.model, found.pre, found.add_bos, found.add_space_prefix) == ("llama", "default", True, True)
    score = dict(zip(found.tokens, found.scores, strict=True))
    assert score["ab"] > score[SPACE + "a"] > score[SPACE + "ab"] > score["aa"], "aa comes of no merge"
    assert found.special_ids == {"bos": 1, "eos": 2, "pad": 2, "unk": 0} and not found.merges


def test_bytes_and_the_unknown_token_are_told_from_text(llama: tuple[dict[str, bytes], Vocabulary]) -> None:
    found = gguf_tokenizer(*llama)
    kinds = dict(zip(found.tokens, found.kinds, strict=True))
    assert (kinds["<unk>"], kinds["<s>"], kinds["<0x0A>"]) == (TokenKind.UNKNOWN, TokenKind.CONTROL, TokenKind.BYTE)
    assert kinds["ab"] is TokenKind.NORMAL
    assert found.kinds[-4:] == (TokenKind.UNUSED,) * 4


def test_of_several_chat_templates_the_default_one_goes_along(files: dict[str, bytes]) -> None:
    config = {"chat_template": [{"name": "tools", "template": "T"}, {"name": "default", "template": "D"}]}
    with_templates = {**files, "tokenizer_config.json": json.dumps(config).encode()}
    assert gguf_tokenizer(with_templates, VOCABULARY).chat_template == "D"
