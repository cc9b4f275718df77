from __future__ import annotations

import pytest

from banyan.core.errors import ConfigError, InputError
from banyan.testing.foreign_models import foreign_vocabulary
from banyan.testing.foreign_tokenizers import FAMILIES
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.chat_formats import CHAT_FORMATS
from banyan.tokenizers.layout import ChatLayout

TALK = (("user", "What is it?"), ("assistant", "A tree."), ("user", "独木成林？"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_parts_of_a_message_join_to_what_was_said(family: str) -> None:
    vocabulary = foreign_vocabulary(family)
    conversation = vocabulary.conversation(TALK)
    said = [turn for turn in conversation.turns if turn.role != "system"]
    for turn, (_, text) in zip(said, TALK, strict=True):
        assert text in vocabulary.decode_bytes(turn.token_ids).decode()
        assert text.endswith(vocabulary.decode_bytes(turn.content).decode().strip())  # the first word may belong before
    assert [turn.role for turn in said] == [role for role, _ in TALK]
    joined = (*conversation.begin, *(n for turn in conversation.turns for n in turn.token_ids), *conversation.ask)
    assert conversation.token_ids == joined


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_stands_behind_its_prompt_as_in_the_whole_conversation(family: str) -> None:
    vocabulary = foreign_vocabulary(family)
    prompt = vocabulary.conversation(TALK[:1]).token_ids
    whole = vocabulary.conversation(TALK[:2])
    answered = (*prompt, *vocabulary.encode_answer("A tree."))
    assert whole.token_ids[: len(answered)] == answered
    assert whole.turns[-1].closing[-1] == vocabulary.end_reply_id or vocabulary.end_reply_id in whole.turns[-1].closing


def test_a_default_system_text_is_said_only_where_no_other_is() -> None:
    vocabulary = foreign_vocabulary("qwen2.5")
    with_default, with_own = (
        vocabulary.decode(vocabulary.conversation(said).token_ids) for said in (TALK, (("system", "Be brief."), *TALK))
    )
    assert "created by Alibaba" in with_default
    assert "created by Alibaba" not in with_own
    assert "Be brief." in with_own


def test_a_role_that_a_format_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match=r"role 'tool' is not part of the chat format llama2; known: user, assistant"):
        foreign_vocabulary("llama2").conversation([("tool", "42")])


def test_our_own_format_begins_a_task_with_its_token() -> None:
    vocabulary = tiny_vocabulary(["topic"])
    ids = (vocabulary.bos_id, vocabulary.task_id("topic"))
    assert vocabulary.open_task("topic", instruction="not needed") == ids
    assert vocabulary.open_task("topic", preface="en>de: ") == (*ids, *vocabulary.encode("en>de: "))
    assert vocabulary.ask_answer() == vocabulary.separate() == (vocabulary.sep_id,)
    assert vocabulary.answer_stop_ids == vocabulary.text_stop_ids == (vocabulary.eos_id,)
    assert vocabulary.reply_stop_ids == (vocabulary.end_id,)


def test_a_foreign_model_has_no_task_tokens_and_no_pictures() -> None:
    vocabulary = foreign_vocabulary("llama3", task_names=["topic"])
    with pytest.raises(ConfigError, match="no task tokens"):
        vocabulary.task_id("topic")
    with pytest.raises(ConfigError, match="cannot draw"):
        vocabulary.ask_picture()


def test_holes_and_unused_rows_are_never_text() -> None:
    vocabulary = foreign_vocabulary("llama2")
    assert vocabulary.text_size == vocabulary.text.vocab_size + 5
    assert vocabulary.describe(vocabulary.text_size - 1) == f"unused row {vocabulary.text_size - 1}"
    assert vocabulary.describe(1) == "<s>"
    assert not vocabulary.is_text(vocabulary.text_size - 1)
    assert vocabulary.is_special(vocabulary.text_size - 1)
    assert vocabulary.num_bytes(vocabulary.text_size - 1) == 0


@pytest.mark.parametrize("name", [name for name in CHAT_FORMATS if name != "banyan"])
def test_every_format_can_be_laid_out(name: str) -> None:
    vocabulary = foreign_vocabulary("gpt2")
    layout = ChatLayout(CHAT_FORMATS[name], vocabulary.text, vocabulary.layout.special)
    assert layout.conversation(TALK).token_ids
    assert layout.open_task("topic", "Say what it is.", "") != layout.open_task("topic", "Say it again.", "")
