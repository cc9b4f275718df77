import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def stored(banyan: Run) -> list[list[str]]:
    """What was said in each stored request, the oldest first."""
    rows = banyan("outputs", "list", "--json").answer["outputs"][::-1]
    return [[message["content"] for message in row["body"]["messages"]] for row in rows]


def test_one_question_is_answered_and_stored(banyan: Run, model: Path) -> None:
    spoken = banyan("chat", model, "What is red?", "--json").answer
    row = banyan("outputs", "show", spoken["request_id"], "--json").answer
    assert row["outputs"][0]["text"] == spoken["text"]
    assert banyan("chat", model, "What is red?").out == spoken["text"] + "\n"


def test_a_piped_conversation_remembers_what_was_said(banyan: Run, model: Path) -> None:
    ran = banyan("chat", model, stdin="What is red?\nSure?\n/new\nWhat is 蓝色?\n")
    assert ran.code == 0
    assert ran.err == "An empty line or Ctrl-D ends; /new begins a new conversation.\n"
    first, second, third = stored(banyan)
    assert first == ["What is red?"]
    assert second[0] == "What is red?" and second[2] == "Sure?" and second[1] in ran.out
    assert third == ["What is 蓝色?"]


def test_an_empty_line_ends_it(banyan: Run, model: Path) -> None:
    banyan("chat", model, stdin="What is red?\n\nNobody reads this.\n")
    assert stored(banyan) == [["What is red?"]]


def test_a_piped_conversation_is_one_object_for_programs(banyan: Run, model: Path) -> None:
    ran = banyan("chat", model, "--json", stdin="What is red?\nSure?\n")
    assert ran.err == ""
    assert len(ran.answer["answers"]) == 2 and ran.answer["num_failed"] == 0


def test_quiet_answers_into_the_database_alone(banyan: Run, model: Path) -> None:
    ran = banyan("chat", model, "--quiet", stdin="What is red?\n")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert stored(banyan) == [["What is red?"]]


def test_nobody_there_is_no_error(banyan: Run, model: Path) -> None:
    assert (banyan("chat", model, stdin="").code, stored(banyan)) == (0, [])


def test_the_system_message_opens_every_conversation(banyan: Run, model: Path) -> None:
    banyan("chat", model, "--system", "Be short.", stdin="What is red?\n/new\nSure?\n")
    assert stored(banyan) == [["Be short.", "What is red?"], ["Be short.", "Sure?"]]


def test_a_question_that_fails_does_not_end_the_conversation(banyan: Run, model: Path) -> None:
    ran = banyan("chat", model, stdin="What is red?\ncaf\udce9\nSure?\n")
    assert ran.code == 2
    assert "error: the text holds a lone surrogate" in ran.err
    assert "error: 1 of 3 questions were not answered." in ran.err
    assert [said[-1] for said in stored(banyan)] == ["What is red?", "Sure?"]


def test_a_long_conversation_forgets_its_beginning_rather_than_fail(banyan: Run, model: Path) -> None:
    ran = banyan("chat", model, "--json", stdin="".join(f"And what is colour number {n}?\n" for n in range(12)))
    assert (ran.code, len(ran.answer["answers"])) == (0, 12)


@pytest.mark.parametrize("message", ["", "  "])
def test_a_blank_message_is_refused(banyan: Run, model: Path, message: str) -> None:
    ran = banyan("chat", model, message)
    assert ran.code == 2
    assert "a blank message cannot be answered" in ran.error


def test_chinese_comes_through_a_pipe_under_a_plain_locale(banyan: Run, model: Path) -> None:
    plain = {**os.environ, "LC_ALL": "C", "LANG": "C"}
    ran = subprocess.run(
        [sys.executable, "-m", "banyan", "chat", str(model)],
        input="\ufeffWhat is 蓝色?\r\n".encode(),
        capture_output=True,
        env=plain,
        timeout=120,
    )
    assert (ran.returncode, ran.stderr.count(b"\n")) == (0, 1)
    assert stored(banyan) == [["What is 蓝色?"]]
