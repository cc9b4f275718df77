"""docs/guides/flywheel.md keeps its word: serve, correct, export, train again, and the correction is learned."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from banyan.core.paths import default_database_url
from banyan.runtime.loading import load
from banyan.serve.local_model import LocalModel
from banyan.store.sql_store import open_store
from banyan.testing.serving import running_server

Run = Callable[..., Any]
GUIDE = (Path(__file__).parents[2] / "docs/guides/flywheel.md").read_text(encoding="utf-8")
ASKED = "A dull book."
TINY = {
    "reviews": ["train.steps=2", "tokenizer.vocab_size=300"],
    "better": ["train.steps=15", "optimizer.learning_rate=0.01"],
}


def blocks(language: str) -> list[str]:
    """Return the guide's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.M | re.S)


def lines_of(program: str) -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.startswith(program)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The guide's files; the rows say nothing of dull books, and hold no word that the corrections share."""
    for recipe in blocks("yaml"):
        (tmp_path / f"{recipe.split()[1]}.yaml").write_text(recipe)
    rows = "".join(f"{('Lovely', 'Awful')[n % 2]} film number {n},{('good', 'bad')[n % 2]}\n" for n in range(24))
    (tmp_path / "reviews.csv").write_text("text,label\n" + rows)
    (tmp_path / "held-out.csv").write_text(f"text,label\n{ASKED},bad\n{ASKED},bad\n")
    return tmp_path


def curl(line: str, *, url: str, **values: str) -> Any:
    """Do what a line of curl says, at another address."""
    for name, value in values.items():
        line = line.replace(f"'${name}'", value).replace(f"${name}", value)
    words = shlex.split(line)
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    path = words[2].removeprefix("http://127.0.0.1:8000")
    answer = httpx.post(f"{url}{path}", headers=headers, content=words[words.index("-d") + 1], verify=False, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask_and_correct(key: str) -> None:
    """Do the guide's second step at its server."""
    ask, correct = lines_of("curl")
    with (
        load(Path("runs/reviews/best"), device="cpu", num_slots=2) as loaded,
        open_store(default_database_url()) as store,
        running_server(LocalModel(loaded), store) as server,
    ):
        for _ in range(6):  # as many of one kind as make a tiny model listen
            answer = curl(ask, url=server.url, KEY=key)
            curl(correct, url=server.url, KEY=key, ID=answer["id"])


def test_once_around(banyan: Run, folder: Path) -> None:
    lines = [shlex.split(line)[1:] for line in lines_of("banyan")]
    assert [words[0] for words in lines] == [
        "train",
        "keys",
        "serve",
        "outputs",
        "outputs",
        "train",
        "evaluate",
        "evaluate",
    ]
    key = ""
    for words in lines:
        if words[0] == "serve":
            ask_and_correct(key)
            continue
        ran = banyan(*words, *(TINY[Path(words[1]).stem] if words[0] == "train" else []))
        assert ran.code == 0, (words, ran.err)
        key = ran.out.strip() if words[0] == "keys" else key
    rows = [json.loads(line) for line in Path("corrections.jsonl").read_text("utf-8").splitlines()]
    assert rows == [{"text": ASKED, "label": "bad"}] * 6
    said = banyan("predict", "runs/better/best", "sentiment", ASKED, "--json")
    assert said.answer["predictions"][0]["text"] == "bad"
