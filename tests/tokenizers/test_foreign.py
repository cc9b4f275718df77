from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, GPT2Tokenizer

from banyan.core.errors import CheckpointError
from banyan.testing.foreign_tokenizers import FAMILIES, foreign_files, write_foreign_tokenizer
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.foreign import read_foreign_tokenizer
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.tokenizers.vocabulary_loading import load_vocabulary

DATA = Path(os.environ.get("BANYAN_DATA", ""))
needs_data = pytest.mark.skipif("BANYAN_DATA" not in os.environ, reason="BANYAN_DATA is not set")
TEXTS = ("Once upon a time, there was a girl.", "独木 🌳", "a\n\n  b <s>", "", "  two")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_vocabulary_loads_the_same(family: str, tmp_path: Path) -> None:
    foreign = read_foreign_tokenizer(write_foreign_tokenizer(family, tmp_path / "source"))
    before = Vocabulary(foreign.text, task_names=["topic"], foreign=foreign, chat=foreign.chat_format)
    before.save(tmp_path / "saved")
    after = load_vocabulary(tmp_path / "saved", chat=foreign.chat_format.name, task_names=["topic"])
    source, saved = (tmp_path / name / "tokenizer.json" for name in ("source", "saved"))
    assert source.read_bytes() == saved.read_bytes()
    assert read_foreign_tokenizer(tmp_path / "saved").chat_format == foreign.chat_format
    assert [after.describe(n) for n in range(after.size)] == [before.describe(n) for n in range(before.size)]
    assert (after.pad_id, after.bos_id, after.eos_ids, after.start_ids) == (
        before.pad_id,
        before.bos_id,
        before.eos_ids,
        before.start_ids,
    )


@needs_data
def test_gpt2_reads_from_its_two_files() -> None:
    ours = read_foreign_tokenizer(DATA / "gpt2_tokenizer")
    assert ours.text.encode("Hello world") == [15496, 995]
    assert (ours.vocab_size, ours.bos_id, ours.eos_ids, ours.pad_id) == (50257, 50256, (50256,), 50256)
    assert ours.chat_format.name == "plain"
    assert not ours.starts_with_bos
    assert 50256 not in ours.text.encode("<|endoftext|>")


@needs_data
def test_gpt2_made_of_two_files_is_the_same_for_transformers(tmp_path: Path) -> None:
    folder = DATA / "gpt2_tokenizer"
    theirs = GPT2Tokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    for name, content in read_foreign_tokenizer(folder).to_files().items():
        (tmp_path / name).write_bytes(content)
    saved, ours = AutoTokenizer.from_pretrained(tmp_path), read_foreign_tokenizer(tmp_path).text
    for text in TEXTS:
        assert ours.encode(text) == saved(text)["input_ids"] == theirs(text)["input_ids"]
        assert ours.decode_bytes(ours.encode(text)).decode() == text


@needs_data
def test_the_stories_of_llama2c_read_as_they_were_told() -> None:
    ours = read_foreign_tokenizer(DATA / "stories260K")
    reference = json.loads((DATA / "stories260K" / "reference.json").read_text())
    vocabulary = Vocabulary(ours.text, foreign=ours, chat=ours.chat_format)
    assert vocabulary.decode(reference["greedy_ids"]) == reference["greedy_text"]
    assert [ours.bos_id, *vocabulary.encode(reference["greedy_text"])] == reference["greedy_ids"]
    assert (ours.bos_id, ours.eos_ids, ours.starts_with_bos) == (1, (2,), True)


def reference_encoding(text: str, pieces: list[tuple[str, float]]) -> list[int]:
    """Encode as run.c does: a space in front, characters or bytes, then the best-scored neighbours joined."""
    number = {piece: index for index, (piece, _) in enumerate(pieces)}
    ids: list[int] = [number[" "]] if text else []
    for character in text:
        ids += [number[character]] if character in number else [3 + byte for byte in character.encode()]
    while True:
        joined = [(pieces[a][0] + pieces[b][0], at) for at, (a, b) in enumerate(zip(ids, ids[1:], strict=False))]
        known = [(-pieces[number[whole]][1], at, number[whole]) for whole, at in joined if whole in number]
        if not known:
            return ids
        _, at, whole = min(known)
        ids[at : at + 2] = [whole]


def llama2c_pieces() -> list[tuple[str, float]]:
    words = (" t", "he", " a", " the", "ed", " to", "in", " in", "ing", " and", "an", "d ", "  ", "to", " tow")
    letters = sorted({*" abcdefghijklmnopqrstuvwxyzT.,!树", *"".join(words)})
    first = [("<unk>", 0.0), ("\n<s>\n", 0.0), ("\n</s>\n", 0.0), *((f"<0x{n:02X}>", 0.0) for n in range(256))]
    return [*first, *((piece, -float(rank)) for rank, piece in enumerate((*words, *letters)))]


def write_llama2c(path: Path, pieces: list[tuple[str, float]]) -> None:
    entries = [(score, piece.encode()) for piece, score in pieces]
    data = b"".join(struct.pack("<fi", score, len(piece)) + piece for score, piece in entries)
    path.write_bytes(struct.pack("<i", max(len(piece) for _, piece in entries)) + data)


@pytest.fixture(scope="module")
def llama2c_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("llama2c") / "tok307.bin"
    write_llama2c(path, llama2c_pieces())
    return path


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from("thean dgiTo w.树🌳\n é"), max_size=30))
def test_scores_become_merges_that_join_the_same_pieces(llama2c_file: Path, text: str) -> None:
    ours = read_foreign_tokenizer(llama2c_file).text
    assert ours.encode(text) == reference_encoding(text, llama2c_pieces())


def test_what_llama2c_wrote_is_the_same_for_transformers(llama2c_file: Path, tmp_path: Path) -> None:
    ours = read_foreign_tokenizer(llama2c_file)
    for name, content in ours.to_files().items():
        (tmp_path / name).write_bytes(content)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert theirs(text)["input_ids"] == [1, *ours.text.encode(text.replace("<s>", ""))] or "<s>" in text
        assert theirs.decode(ours.text.encode(text)) == text


def test_end_tokens_of_all_files_end_an_answer(tmp_path: Path) -> None:
    write_foreign_tokenizer("qwen3", tmp_path)
    (tmp_path / "config.json").write_text('{"bos_token_id": 423, "eos_token_id": -1, "pad_token_id": 10000000}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [424, 422]}')
    (tmp_path / "config.json").write_text('{"bos_token_id": 422, "model_type": "qwen3"}')
    ours = read_foreign_tokenizer(tmp_path)
    ids = ours.control_ids
    assert ours.eos_ids == (ids["<|im_end|>"], *(n for n in (424, 422) if n != ids["<|im_end|>"]))
    assert ours.bos_id == 422
    assert not ours.starts_with_bos


def test_a_pad_token_that_nobody_named_is_the_end_token(tmp_path: Path) -> None:
    ours = read_foreign_tokenizer(write_foreign_tokenizer("llama2", tmp_path))
    assert ours.pad_id == ours.eos_ids[0] == 2


def test_tokens_that_only_the_config_lists_are_control_tokens_too(tmp_path: Path) -> None:
    description, config = foreign_files("llama2")
    size = len(description["model"]["vocab"])
    listed = {str(size + 3): {"content": "<|extra|>", "special": True, "lstrip": False, "rstrip": False}}
    write_foreign_tokenizer("llama2", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "added_tokens_decoder": listed}))
    ours = read_foreign_tokenizer(tmp_path)
    assert ours.control_ids["<|extra|>"] == size + 3
    assert ours.vocab_size == size + 4


def test_a_sentencepiece_file_alone_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x0e")
    with pytest.raises(CheckpointError, match="SentencePiece file") as caught:
        read_foreign_tokenizer(tmp_path)
    assert "save_pretrained" in (caught.value.hint or "")


def test_a_folder_without_a_tokenizer_or_with_several_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        read_foreign_tokenizer(tmp_path)
    for name in ("tok1.bin", "tok2.bin"):
        write_llama2c(tmp_path / name, llama2c_pieces())
    with pytest.raises(CheckpointError, match=r"several tokenizers of llama2.c: tok1.bin, tok2.bin"):
        read_foreign_tokenizer(tmp_path)


def test_a_vocabulary_of_two_files_that_is_not_gpt2s_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(CheckpointError, match="not GPT-2's") as caught:
        read_foreign_tokenizer(tmp_path)
    assert "tokenizer.json" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("tokenizer.json", "[]", "must be a JSON object"),
        ("tokenizer.json", "{", "not valid JSON"),
        ("tokenizer_config.json", "{}", "no end token"),
        ("tokenizer_config.json", '{"eos_token": "<|nowhere|>"}', "no such token"),
        ("tokenizer_config.json", '{"eos_token": "</s>", "added_tokens_decoder": 1}', "must be a mapping"),
        ("tokenizer_config.json", "3", "must be a JSON object"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(name: str, content: str, problem: str, tmp_path: Path) -> None:
    write_foreign_tokenizer("llama2", tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=problem) as caught:
        read_foreign_tokenizer(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("length", [3, 9, 40, 3000])
def test_a_tokenizer_of_llama2c_that_is_cut_off_is_refused(length: int, llama2c_file: Path, tmp_path: Path) -> None:
    (tmp_path / "tok.bin").write_bytes(llama2c_file.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="llama2.c"):
        read_foreign_tokenizer(tmp_path)


def test_our_own_tokenizer_is_recognised_when_it_comes_back(tmp_path: Path) -> None:
    ours = tiny_vocabulary()
    ours.save(tmp_path / "exported")
    back = read_foreign_tokenizer(tmp_path / "exported")
    assert back.chat_format.name == "banyan"
    (tmp_path / "imported").mkdir()
    for name, content in back.to_files().items():
        (tmp_path / "imported" / name).write_bytes(content)
    again = load_vocabulary(tmp_path / "imported", chat="banyan")
    assert [again.describe(n) for n in range(again.size)] == [ours.describe(n) for n in range(ours.size)]


def test_a_number_that_means_none_makes_no_word_special(tmp_path: Path) -> None:
    write_foreign_tokenizer("gpt2", tmp_path)
    (tmp_path / "config.json").write_text('{"pad_token_id": 0, "bos_token_id": [1, -1]}')
    ours = read_foreign_tokenizer(tmp_path)
    assert ours.pad_id == ours.bos_id == ours.eos_ids[0]
    assert ours.text.is_text(0)


def test_an_end_token_that_is_only_numbered_is_a_control_token(tmp_path: Path) -> None:
    _, config = foreign_files("llama2")
    write_foreign_tokenizer("llama2", tmp_path)
    config = {key: value for key, value in config.items() if key != "eos_token"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_text('{"eos_token_id": 2}')
    assert read_foreign_tokenizer(tmp_path).eos_ids == (2,)
