from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from banyan.testing.foreign_tokenizers import write_foreign_tokenizer
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.chat_formats import CHAT_FORMATS
from banyan.tokenizers.foreign import read_foreign_tokenizer
from banyan.tokenizers.vocabulary import Vocabulary

# A family whose control tokens the format needs.
FAMILY_OF = {
    "chatml": "qwen3",
    "qwen2": "qwen2.5",
    "qwen2.5": "qwen2.5",
    "llama2": "llama2",
    "llama3": "llama3",
    "llama3.1": "llama3",
    "mistral": "mistral",
    "mistral_v3": "mistral_v3",
    "plain": "gpt2",
}
SAYINGS = (
    "The banyan grows.",
    "独木成林：一片森林。",
    "🌳 a\tb  \n\n c",
    " What does it return?",
    "12345 + 678 = ?\n",
    "x",
    "    indented\n    twice",
    "Don't <b>say</b> [this] {{ bos_token }} {bos}",
    "é e\u0301 ﬁ",
)
# Source: the chat templates that these models were published with (Qwen2-7B-Instruct, Meta-Llama-3-8B-Instruct,
# Llama-2-7b-chat-hf, the check that roles alternate left out).
PUBLISHED = {
    "qwen2": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '"
    "<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "llama2": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if loop.index0 == 0 and system_message != false %}{% set content = "
    "'<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}{% else %}{% set content = "
    "message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + "
    "' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}"
    "{% endfor %}",
}


def conversations(num: int, *, roles_known: set[str]) -> list[list[tuple[str, str]]]:
    """Make up conversations: with or without a system message, one to four questions, now and then a tool."""
    chance = random.Random(4)
    made = []
    for _ in range(num):
        said = [("system", chance.choice(SAYINGS))] if chance.random() < 0.5 else []
        for turn in range(chance.randint(1, 4)):
            said += [("assistant", chance.choice(SAYINGS))] if turn else []
            said.append(("tool" if turn and "tool" in roles_known and chance.random() < 0.3 else "user", mixed(chance)))
        made.append(said)
    return made


def mixed(chance: random.Random) -> str:
    return chance.choice((" ", "\n", "")).join(chance.choices(SAYINGS, k=chance.randint(1, 3)))


def saved(name: str, directory: Path) -> tuple[Vocabulary, PreTrainedTokenizerBase]:
    """Return a vocabulary of a format, and what transformers reads of the files it saves."""
    if name == "banyan":
        vocabulary = tiny_vocabulary()
    else:
        foreign = read_foreign_tokenizer(write_foreign_tokenizer(FAMILY_OF[name], directory / "source"))
        vocabulary = Vocabulary(foreign.text, foreign=foreign, chat=CHAT_FORMATS[name])
    vocabulary.save(directory / "saved")
    return vocabulary, AutoTokenizer.from_pretrained(directory / "saved")


def theirs(tokenizer: PreTrainedTokenizerBase, said: list[tuple[str, str]], *, asks: bool, template: str | None = None):
    messages = [{"role": role, "content": content} for role, content in said]
    return tokenizer.apply_chat_template(
        messages, add_generation_prompt=asks, return_dict=False, chat_template=template
    )


@pytest.mark.parametrize("name", CHAT_FORMATS)
def test_transformers_reads_the_same_ids_out_of_200_conversations(name: str, tmp_path: Path) -> None:
    vocabulary, tokenizer = saved(name, tmp_path)
    for said in conversations(200, roles_known=set(CHAT_FORMATS[name].roles)):
        ours = vocabulary.conversation(said)
        assert theirs(tokenizer, said, asks=True) == list(ours.token_ids), said
        assert theirs(tokenizer, said, asks=False) == list(ours.token_ids[: len(ours.token_ids) - len(ours.ask)])


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_family_reads_what_its_published_template_wrote(name: str, tmp_path: Path) -> None:
    vocabulary, tokenizer = saved(name, tmp_path)
    for said in conversations(50, roles_known=set()):
        written = theirs(tokenizer, said, asks=True, template=PUBLISHED[name])
        assert written == list(vocabulary.conversation(said).token_ids), said


def test_a_system_message_without_a_question_is_still_read(tmp_path: Path) -> None:
    vocabulary, tokenizer = saved("llama2", tmp_path)
    said = [("system", "Be brief.")]
    assert theirs(tokenizer, said, asks=True) == list(vocabulary.conversation(said).token_ids)
    assert vocabulary.conversation(said).num_turn_tokens > 5


def test_a_template_is_saved_for_the_format_in_use_and_runs_no_foreign_code(tmp_path: Path) -> None:
    foreign = read_foreign_tokenizer(write_foreign_tokenizer("qwen3", tmp_path))
    foreign = replace(foreign, config={**foreign.config, "auto_map": {"AutoTokenizer": "theirs.py"}})
    content = foreign.to_files()["tokenizer_config.json"].decode()
    assert "auto_map" not in content
    assert "<|im_start|>assistant" in content
