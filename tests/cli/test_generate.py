from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_a_text_goes_on_and_is_stored(banyan: Run, model: Path) -> None:
    spoken = banyan("generate", model, "def f", "--max-tokens", 5, "--json").answer
    assert (spoken["num_completion_tokens"], spoken["finish_reason"]) == (5, "length")
    row = banyan("outputs", "show", spoken["request_id"], "--json").answer
    assert (row["body"], row["outputs"][0]["text"]) == ({"prompt": "def f"}, spoken["text"])
    assert len(row["outputs"][0]["token_ids"]) == 5


def test_what_is_shown_piece_by_piece_is_the_whole_answer(banyan: Run, model: Path) -> None:
    words = ("generate", model, "红色", "--max-tokens", 12, "--seed", 4)
    assert banyan(*words).out == banyan(*words, "--json").answer["text"] + "\n"


def test_quiet_says_nothing_and_stores_all_the_same(banyan: Run, model: Path) -> None:
    ran = banyan("generate", model, "x", "--max-tokens", 2, "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert len(banyan("outputs", "list", "--json").answer["outputs"]) == 1


def test_a_dash_reads_what_is_piped_in(banyan: Run, model: Path) -> None:
    words = ("--max-tokens", 4, "--seed", 2, "--json")
    piped = banyan("generate", model, "-", *words, stdin="def f").answer
    assert piped["text"] == banyan("generate", model, "def f", *words).answer["text"]


def test_nothing_is_a_beginning_too(banyan: Run, model: Path) -> None:
    assert banyan("generate", model, "--max-tokens", 3, "--json").answer["num_prompt_tokens"] == 1


def test_the_draw_can_be_chosen(banyan: Run, model: Path) -> None:
    banyan("generate", model, "x", "--max-tokens", 2, "--top-p", 0.5, "--top-k", 3, "--temperature", 0.25, "-q")
    (row,) = banyan("outputs", "list", "--json").answer["outputs"]
    assert {name: row["params"][name] for name in ("top_p", "top_k", "temperature")} == {
        "top_p": 0.5,
        "top_k": 3,
        "temperature": 0.25,
    }


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["x" * 500], "tokens and at most"),
        (["caf\udce9"], "lone surrogate U+DCE9 at character 3"),
        (["x", "--top-p", "7"], "top_p=7.0"),
        (["x", "--temperature", "9"], "--temperature"),
        (["x", "--max-tokens", "0"], "--max-tokens"),
    ],
)
def test_what_cannot_be_generated_is_one_line(banyan: Run, model: Path, words: list[str], problem: str) -> None:
    ran = banyan("generate", model, *words)
    assert (ran.code, ran.out) == (2, "")
    assert problem in ran.error
