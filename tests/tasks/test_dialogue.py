from itertools import cycle, islice

import pytest

from banyan.core.errors import ContextLengthError, InputError
from banyan.core.types import NO_TARGET, Completion, Prediction
from banyan.tasks.dialogue import Dialogue, DialogueExample
from banyan.testing.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary(["chat"])
CHAT = Dialogue(name="chat", max_answer_tokens=8)


def talk(*texts: str, system: str | None = None) -> DialogueExample:
    messages = [{"role": "system", "content": system}] if system else []
    roles = islice(cycle(["user", "assistant"]), len(texts))
    messages += [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    return CHAT.parse({"messages": messages}, with_answer=len(texts) % 2 == 0)


def chat_ids(*messages: tuple[str, str]) -> list[int]:
    ids = [VOCABULARY.bos_id]
    for role, text in messages:
        ids += [VOCABULARY.role_id(role), *VOCABULARY.encode(text), VOCABULARY.end_id]
    return [*ids, VOCABULARY.assistant_id]


def test_a_conversation_is_written_in_the_chat_format_without_a_task_token() -> None:
    prompt = CHAT.prompt(talk("hi", "a tree", "and?", system="树"), VOCABULARY, max_tokens=200)
    expected = chat_ids(("system", "树"), ("user", "hi"), ("assistant", "a tree"), ("user", "and?"))
    assert list(prompt.token_ids) == expected
    assert prompt.decoding.stop_token_ids == (VOCABULARY.end_id,)


def test_every_message_of_the_assistant_is_learned_with_its_end_and_nothing_else() -> None:
    sequence = CHAT.render(talk("hi", "a tree", "and?", "一棵树", system="s"), VOCABULARY, max_tokens=200)
    learned = [target for target in sequence.targets if target != NO_TARGET]
    end = VOCABULARY.end_id
    assert learned == [*VOCABULARY.encode("a tree"), end, *VOCABULARY.encode("一棵树"), end]
    follows = [*sequence.token_ids[1:], end]
    assert all(target in (NO_TARGET, after) for target, after in zip(sequence.targets, follows, strict=True))


def test_the_oldest_turns_are_left_out_but_never_the_system_message() -> None:
    example = talk("old question", "old answer", "new question", "new answer", "last", system="s")
    whole = CHAT.prompt(example, VOCABULARY, max_tokens=200)
    short = CHAT.prompt(example, VOCABULARY, max_tokens=len(whole))
    expected = chat_ids(("system", "s"), ("user", "new question"), ("assistant", "new answer"), ("user", "last"))
    assert list(short.token_ids) == expected
    assert short.num_dropped_tokens == len(whole) - len(short)


def test_a_last_message_that_is_too_long_is_cut_at_its_end() -> None:
    prompt = CHAT.prompt(talk("old", "old", "tree " * 50, system="s"), VOCABULARY, max_tokens=40)
    assert len(prompt) == 32
    assert prompt.token_ids[-2:] == (VOCABULARY.end_id, VOCABULARY.assistant_id)
    assert VOCABULARY.decode(prompt.token_ids).startswith("stree tree")


def test_a_system_message_that_is_too_long_leaves_the_question_whole() -> None:
    prompt = CHAT.prompt(talk("why?", system="tree " * 50), VOCABULARY, max_tokens=40)
    assert len(prompt) == 32
    assert VOCABULARY.decode(prompt.token_ids).endswith("why?")


def test_a_strict_chat_refuses_what_does_not_fit() -> None:
    strict = Dialogue(name="chat", max_answer_tokens=8, truncate=False)
    with pytest.raises(ContextLengthError, match="at most 30 fit"):
        strict.prompt(talk("tree " * 50), VOCABULARY, max_tokens=40)
    with pytest.raises(ContextLengthError):
        CHAT.prompt(talk("why?"), VOCABULARY, max_tokens=4)


def test_each_message_of_the_assistant_can_be_asked_for() -> None:
    first, second = CHAT.turns(talk("hi", "a tree", "and?", "一棵树"))
    assert (len(first.history), first.answer) == (1, "a tree")
    assert (len(second.history), second.answer) == (3, "一棵树")


def test_a_fixed_system_message_stands_before_those_that_have_none() -> None:
    fixed = Dialogue(name="chat", system="Be brief.")
    assert fixed.example_from_text("hi").history[0].content == "Be brief."
    own = fixed.parse(
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}, with_answer=False
    )
    assert [message.content for message in own.history] == ["s", "u"]


def test_a_typed_line_is_a_question_unless_it_is_a_conversation() -> None:
    assert CHAT.example_from_text('{"a": 1}').history[0].content == '{"a": 1}'
    typed = '{"messages": [{"role": "user", "content": "hi"}]}'
    assert CHAT.example_from_text(typed).history[0].content == "hi"
    with pytest.raises(InputError, match="blank"):
        CHAT.example_from_text(" ")


def test_answers_are_scored_by_their_words() -> None:
    prompt = CHAT.prompt(talk("hi"), VOCABULARY, max_tokens=100)
    answer = CHAT.read(prompt, Completion(token_ids=tuple(VOCABULARY.encode("a tree"))), VOCABULARY)
    assert answer.text == "a tree"
    scores = CHAT.score([talk("hi", "one tree"), talk("hi", "树")], [answer, Prediction(task="chat", text="树")])
    assert scores == {"token_f1": pytest.approx((2 / 3 + 1) / 2), "exact_match": 0.5}
