"""`banyan explain`: a question's words and what each was worth, in the terminal, as JSON and as a page."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
METHODS = ("integrated-gradients", "occlusion")


def asked(model: Path, task: str, *words: object) -> tuple[object, ...]:
    return ("explain", model, "--task", task, *words)


def text_of(explanation: dict[str, Any]) -> str:
    return "".join(word["text"] for part in explanation["parts"] for word in part["words"])


@pytest.mark.parametrize("method", METHODS)
def test_every_word_gets_a_value_in_english_and_chinese(banyan: Run, model: Path, method: str) -> None:
    for text in ("a red thing number 4", "红色 thing"):
        answer = banyan(*asked(model, "classification", text, "--method", method, "--json")).answer
        (explanation,) = answer["explanations"]
        assert text_of(explanation) == text and explanation["about"] == answer["answer"] in ("cold", "warm")
        values = [word["value"] for part in explanation["parts"] for word in part["words"]]
        if method == "integrated-gradients":
            difference = explanation["log_odds"] - explanation["blank_log_odds"]
            assert sum(values) == pytest.approx(difference, abs=abs(explanation["gap"]) + 1e-4)


@pytest.mark.parametrize(
    ("task", "text", "parts"),
    [
        ("question_answering", "What is red? ||| f3(width=3) makes red.", ["question", "context"]),
        ("translation", "zh>en: 3个苹果", ["text"]),
        ("dialogue", "What is 红色?", ["user"]),
        ("language_modeling", "def f3():", ["text"]),
    ],
)
def test_every_kind_that_answers_in_words_is_explained(
    banyan: Run, model: Path, task: str, text: str, parts: list[str]
) -> None:
    words = ("--method", "occlusion", "--max-tokens", 4, "--json")
    (explanation,) = banyan(*asked(model, task, text, *words)).answer["explanations"]
    assert [part["name"] for part in explanation["parts"]] == parts
    assert explanation["gap"] is None


def test_a_person_sees_the_text_and_the_strongest_words(banyan: Run, model: Path) -> None:
    ran = banyan(*asked(model, "classification", "a red thing", "--sanity"))
    assert ran.code == 0 and "\na red thing\n" in ran.out and "nats" in ran.out
    assert "add up to the difference" in ran.out and "5 models with random weights: rank correlation" in ran.out
    tagged = banyan(*asked(model, "tagging", "see blue in Paris", "--about", "Paris"))
    assert "Paris (" in tagged.out and "see blue in Paris" in tagged.out


class Reader(HTMLParser):
    """Collects a page's tags and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_text_cannot_become_markup(banyan: Run, model: Path, tmp_path: Path) -> None:
    hostile = "<script>alert('红色')</script> & \"red\""
    ran = banyan(*asked(model, "classification", hostile, "--method", "occlusion", "--html", "new/page.html"))
    assert ran.code == 0 and "page: new/page.html" in ran.out
    page = (tmp_path / "new/page.html").read_text("utf-8")
    reader = Reader(page)
    assert hostile in reader.text and "script" not in reader.tags
    assert not re.search(r"https?://|<link|<img| src=", page) and "background: rgb(" in page


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("classification",), 2, "either a question or --mistakes"),
        (("classification", "red", "--mistakes", 2), 2, "either a question or --mistakes"),
        (("classification", "red", "--data", "a.csv"), 2, "--data belongs to --mistakes, not to a question"),
        (("classification", "red", "--neighbours", 3), 2, "--neighbours belongs to --mistakes, not to a question"),
        (("classification", "--mistakes", 2, "--method", "occlusion"), 2, "--method belongs to a question, not to"),
        (("classification", "--mistakes", 2, "--sanity"), 2, "--sanity belongs to a question, not to --mistakes"),
        (("classification", "--mistakes", 2, "--data", "nowhere.csv"), 3, "nowhere.csv"),
        (("classification", "--mistakes", 2, "--split", "tset"), 2, "--split=tset is not known"),
        (("language_modeling", "--mistakes", 2), 2, "mistakes are shown where words are answered"),
        (("clasification", "red"), 2, "did you mean classification"),
        (("classification", " "), 2, "cannot label a blank text"),
        (("classification", "red", "--method", "oclusion"), 2, "did you mean occlusion"),
        (("classification", "red", "--about", "wam"), 2, "did you mean warm"),
        (("question_answering", "red? ||| blue", "--about", "x"), 2, "does not stand in the context"),
        (("image_generation", "seven"), 2, "only words can be explained"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    banyan: Run, model: Path, words: tuple[object, ...], code: int, said: str
) -> None:
    ran = banyan(*asked(model, *words))  # type: ignore[arg-type]
    assert ran.code == code and said in ran.error


def test_a_model_or_an_extra_that_is_not_there_is_one_line(
    banyan: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert banyan(*asked(Path("nowhere"), "classification", "red")).code == 3
    monkeypatch.setitem(sys.modules, "captum", None)
    ran = banyan(*asked(model, "classification", "red"))
    assert ran.code == 2 and "needs the package captum" in ran.error and "banyan-gpt[explain]" in ran.err


def test_mistakes_come_with_the_nearest_training_examples(banyan: Run, model: Path, tmp_path: Path) -> None:
    words = ("--mistakes", 2, "--neighbours", 2)
    found = banyan(*asked(model, "classification", *words, "--json")).answer
    assert len(found["mistakes"]) == min(2, found["num_wrong"]) > 0 and found["num_train"] > 100
    sure = [mistake["confidence"] for mistake in found["mistakes"]]
    assert sure == sorted(sure, reverse=True)
    for mistake in found["mistakes"]:
        assert mistake["answer"] != mistake["reference"] and len(mistake["neighbours"]) == 2
        assert -1 <= mistake["neighbours"][1]["similarity"] <= mistake["neighbours"][0]["similarity"] <= 1 + 1e-9
    ran = banyan(*asked(model, "classification", *words, "--html", "page.html"))
    assert "answers are wrong (test)" in ran.out and "answered" in ran.out
    assert "answers are wrong" in Reader((tmp_path / "page.html").read_text("utf-8")).text


def test_mistakes_in_a_file_of_ones_own_and_texts_that_are_no_markup(banyan: Run, model: Path, tmp_path: Path) -> None:
    rows = [f"<b>红色</b> {number},{label}\n" for number in range(3) for label in ("cold", "warm")]
    (tmp_path / "own.csv").write_text("text,label\n" + "".join(rows), "utf-8")
    words = ("--mistakes", 9, "--data", "own.csv", "--max-train", 40, "--html", "page.html", "--json")
    found = banyan(*asked(model, "classification", *words)).answer
    assert found["num_wrong"] == 3 and found["scored_on"] == "own.csv" and found["num_train"] == 40
    reader = Reader((tmp_path / "page.html").read_text("utf-8"))
    assert "<b>红色</b>" in reader.text and "script" not in reader.tags


@pytest.mark.parametrize("task", ["tagging", "question_answering", "translation", "dialogue"])
def test_every_kind_with_right_answers_has_mistakes(banyan: Run, model: Path, task: str) -> None:
    found = banyan(*asked(model, task, "--mistakes", 1, "--max-examples", 4, "--neighbours", 0, "--json")).answer
    assert found["num_examples"] <= 4 and found["num_train"] == 0
    assert all(0 < mistake["confidence"] <= 1 for mistake in found["mistakes"])


def blocks(language: str) -> list[str]:
    page = (Path(__file__).parents[2] / "docs/guides/explain.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)


def test_the_python_of_the_guide_runs(model: Path) -> None:
    names: dict[str, Any] = {}
    exec(blocks("python")[0].replace("runs/demo/best", str(model)), names)  # the guide's own words
    assert names["strongest"] in names["found"].explanations[0].words and names["found"].explanations[0].sanity


def test_every_command_of_the_guide_runs(banyan: Run, model: Path, tmp_path: Path) -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 7
    (tmp_path / "reviews.csv").write_text("text,label\nred thing,cold\n红色,warm\n", "utf-8")
    for command in commands:
        ran = banyan(*shlex.split(command.replace("runs/demo/best", str(model)))[1:])
        assert ran.code == 0, (command, ran.err)
    assert (tmp_path / "page.html").exists() and (tmp_path / "mistakes.html").exists()
