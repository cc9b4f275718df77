import pytest

from banyan.core.errors import DataError
from banyan.core.types import Row
from banyan.tasks.conversations import read_messages, split_off_answer, without_answer

ASKED = [("user", "What is 榕树?"), ("assistant", "A tree.")]


def said(row: Row) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in read_messages(row)]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": role, "content": text} for role, text in ASKED]},
        {"conversations": [{"from": "human", "value": "What is 榕树?"}, {"from": "gpt", "value": "A tree."}]},
        {"instruction": "What is 榕树?", "input": "", "output": "A tree."},
        {"prompt": "What is 榕树?", "completion": "A tree."},
        {"prompt": "What is 榕树?", "response": "A tree."},
        {"question": "What is 榕树?", "answer": "A tree."},
        {"messages": [{"role": "user", "content": "What is 榕树?"}], "chosen": "A tree.", "rejected": "A fish."},
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "What is 榕树?"}]}],
            "chosen": {"role": "assistant", "content": "A tree."},
        },
    ],
    ids=["messages", "ShareGPT", "alpaca", "completion", "response", "question", "preference", "parts"],
)
def test_every_format_says_the_same(row: Row) -> None:
    assert said(row) == ASKED


def test_alpacas_input_follows_its_instruction() -> None:
    row = {"instruction": "Translate.", "input": "tree", "output": "树", "system": "Be brief.", "history": [["a", "b"]]}
    assert said(row) == [
        ("system", "Be brief."),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "Translate.\ntree"),
        ("assistant", "树"),
    ]


def test_a_tools_call_is_the_assistants_and_its_result_the_tools() -> None:
    row: Row = {
        "conversations": [
            {"from": "human", "value": "rate?"},
            {"from": "function_call", "value": '{"name": "rate"}'},
            {"from": "observation", "value": "1.1"},
            {"from": "gpt", "value": "1.1"},
        ],
        "tools": [{"name": "rate"}],
    }
    assert [role for role, _ in said(row)] == ["system", "user", "assistant", "tool", "assistant"]
    assert said(row)[0][1] == '[{"name": "rate"}]'


def test_tools_join_the_system_message_there_is() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert said({"messages": messages, "tools": "[]"})[0] == ("system", "Be brief.\n[]")


def test_a_question_without_an_answer_is_a_conversation_too() -> None:
    assert said({"instruction": "Say it.", "input": "tree"}) == [("user", "Say it.\ntree")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x"}, "holds no conversation; its columns: text"),
        ({"messages": []}, "empty"),
        ({"messages": [{"role": "alien", "content": "x"}]}, "role 'alien'"),
        ({"messages": ["x"]}, "must be a mapping"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "must be a data URI"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "must be a text"),
    ],
)
def test_what_is_no_conversation_is_named(row: Row, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_messages(row)


def test_the_last_message_of_the_assistant_is_the_answer() -> None:
    rows = [*ASKED, ("user", "And?"), ("assistant", "It grows."), ("user", "Thanks.")]
    messages = read_messages({"messages": [{"role": role, "content": text} for role, text in rows]})
    history, answer = split_off_answer(messages)
    assert (len(history), answer) == (3, "It grows.")
    assert without_answer(messages) == messages
    assert without_answer(messages[:4]) == messages[:3]


@pytest.mark.parametrize("roles", [["user"], ["assistant"], ["assistant", "user"]])
def test_without_an_answer_to_something_there_is_nothing_to_learn(roles: list[str]) -> None:
    messages = read_messages({"messages": [{"role": role, "content": "x"} for role in roles]})
    with pytest.raises(DataError, match="nothing to learn"):
        split_off_answer(messages)


def test_nothing_said_cannot_be_answered() -> None:
    with pytest.raises(DataError, match="no message to answer"):
        without_answer(read_messages({"messages": [{"role": "assistant", "content": "x"}]}))
