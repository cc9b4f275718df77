from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from banyan.core.errors import ConfigError, InputError, UnknownNameError
from banyan.testing.vocabulary import tiny_tokenizer, tiny_vocabulary
from banyan.tokenizers.banyan_layout import MAX_TASKS, SPECIAL_TOKENS
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.tokenizers.vocabulary import Vocabulary

TASKS = ("classification", "image_generation")


def test_text_special_and_image_ids_fill_the_space_in_this_order() -> None:
    vocabulary = Vocabulary(BytePairTokenizer.train([], vocab_size=256), task_names=TASKS, num_image_codes=16)
    kinds = [
        (vocabulary.is_text(i), vocabulary.is_special(i), vocabulary.is_image(i)).index(True)
        for i in range(vocabulary.size)
    ]
    assert kinds == sorted(kinds)
    assert [kinds.count(kind) for kind in range(3)] == [256, vocabulary.text_size - 256, 16]
    assert vocabulary.first_image_id == vocabulary.text_size


def test_the_rows_before_the_image_codes_are_a_multiple_of_64() -> None:
    vocabulary = Vocabulary(BytePairTokenizer.train(["aa bb"] * 9, vocab_size=258), num_image_codes=7)
    assert vocabulary.text_size % 64 == 0
    assert vocabulary.text_size - vocabulary.text.vocab_size >= len(SPECIAL_TOKENS)


def test_special_ids_are_all_different_and_outside_the_text() -> None:
    vocabulary = tiny_vocabulary(TASKS)
    named = [value for name, value in vars(vocabulary).items() if name.endswith("_id")]
    ids = named + [vocabulary.task_id(name) for name in TASKS]
    assert len(named) == 12
    assert len(set(ids)) == len(ids)
    assert all(vocabulary.is_special(token_id) for token_id in ids)


def test_no_text_can_write_a_special_token() -> None:
    vocabulary = tiny_vocabulary(TASKS)
    text = "".join(SPECIAL_TOKENS)
    assert all(vocabulary.is_text(token_id) for token_id in vocabulary.encode(text))
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_decoding_drops_everything_that_is_not_text() -> None:
    vocabulary = tiny_vocabulary(TASKS, 8)
    ids = [
        vocabulary.bos_id,
        *vocabulary.encode("树"),
        vocabulary.image_token(3),
        vocabulary.pad_id,
        vocabulary.size - 1,
    ]
    assert vocabulary.decode(ids) == "树"
    assert vocabulary.decode_bytes(ids) == "树".encode()


def test_bytes_of_a_text_are_the_bytes_of_its_tokens() -> None:
    vocabulary = tiny_vocabulary((), 8)
    text = "a forest 森林 🌳"
    ids = [vocabulary.bos_id, *vocabulary.encode(text), vocabulary.image_token(0)]
    assert sum(vocabulary.num_bytes(token_id) for token_id in ids) == len(text.encode())


def test_image_codes_and_their_ids_are_each_others_inverse() -> None:
    vocabulary = tiny_vocabulary((), 8)
    assert [vocabulary.image_code(vocabulary.image_token(code)) for code in range(8)] == list(range(8))
    with pytest.raises(InputError, match="image code 8"):
        vocabulary.image_token(8)
    with pytest.raises(InputError, match="not an image code"):
        vocabulary.image_code(vocabulary.bos_id)


def test_every_id_can_be_described() -> None:
    vocabulary = Vocabulary(tiny_tokenizer(), task_names=TASKS, num_image_codes=3)
    names = [vocabulary.describe(token_id) for token_id in range(vocabulary.size)]
    assert names[vocabulary.task_id("classification")] == "<|task_0|> classification"
    assert names[-1] == "image code 2"
    assert names[vocabulary.encode("a")[0]] == "'a'"
    with pytest.raises(InputError, match="outside the vocabulary"):
        vocabulary.describe(vocabulary.size)


def test_an_unknown_task_or_role_is_refused_by_name() -> None:
    vocabulary = tiny_vocabulary(TASKS)
    with pytest.raises(UnknownNameError, match="did you mean classification"):
        vocabulary.task_id("clasification")
    with pytest.raises(InputError, match="'wizard'"):
        vocabulary.role_id("wizard")


def test_too_many_or_double_tasks_are_refused() -> None:
    with pytest.raises(ConfigError, match="33 tasks"):
        tiny_vocabulary([f"task {index}" for index in range(MAX_TASKS + 1)])
    with pytest.raises(ConfigError, match="must differ"):
        tiny_vocabulary(["a", "a"])


def test_hugging_face_reads_the_files_and_encodes_alike(tmp_path: Path) -> None:
    vocabulary = tiny_vocabulary()
    vocabulary.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    text = "  the banyan\n\n  独木成林! 123"
    assert theirs(text, add_special_tokens=False)["input_ids"] == vocabulary.encode(text)
    assert theirs.bos_token_id == vocabulary.bos_id
    assert theirs.eos_token_id == vocabulary.eos_id
    assert theirs.pad_token_id == vocabulary.pad_id


@pytest.mark.parametrize("ask", [True, False], ids=["asking for an answer", "complete"])
def test_the_chat_template_gives_the_ids_of_the_chat_format(tmp_path: Path, ask: bool) -> None:
    vocabulary = tiny_vocabulary()
    vocabulary.save(tmp_path)
    messages = [
        {"role": "system", "content": " Be brief. \n"},
        {"role": "user", "content": "什么是树？"},
        {"role": "assistant", "content": "A tree."},
        {"role": "user", "content": ""},
    ]
    ours = [vocabulary.bos_id]
    for message in messages:
        ours += [vocabulary.role_id(message["role"]), *vocabulary.encode(message["content"]), vocabulary.end_id]
    ours += [vocabulary.assistant_id] * ask
    theirs = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(
        messages, add_generation_prompt=ask, return_dict=False
    )
    assert theirs == ours
