import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from banyan.cli.data import app


def run(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words), standalone_mode=False)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BANYAN_DATA", raising=False)


@pytest.fixture
def leaky(tmp_path: Path) -> str:
    (tmp_path / "train.jsonl").write_text('{"text": "Hello!", "label": "x"}\n' * 2)
    (tmp_path / "test.jsonl").write_text('{"text": "hello", "label": "x"}\n')
    return str(tmp_path)


def test_the_catalog_is_listed_without_any_data() -> None:
    assert "BANYAN_DATA is not set" in run("list").stdout
    names = [dataset["name"] for dataset in json.loads(run("list", "--json").stdout)["datasets"]]
    assert len(names) == 33 and "thucnews_titles" in names


def test_a_data_set_is_shown_without_its_files() -> None:
    assert "CC BY-SA 4.0" in run("show", "xquad_zh").stdout
    facts = json.loads(run("show", "xquad_zh", "--json").stdout)
    assert (facts["kind"], facts["languages"], facts["folder"]) == ("question_answering", ["zh"], None)


def test_a_check_reports_duplicates_and_leaks(leaky: str) -> None:
    shown = run("check", leaky).stdout
    assert "2 rows; 1 duplicates" in shown and "leak: 1 rows of test stand in train, too" in shown
    report = json.loads(run("check", leaky, "--json").stdout)
    assert report["leaky"] and report["splits"][0]["num_duplicates"] == 1


def test_near_duplicates_are_shown_in_pairs_and_can_be_left_out(tmp_path: Path) -> None:
    text = "the banyan grows one tree at a time until it is a forest"
    (tmp_path / "train.jsonl").write_text(json.dumps({"text": text}) + "\n")
    (tmp_path / "test.jsonl").write_text(json.dumps({"text": f"{text} indeed"}) + "\n")
    shown = run("check", str(tmp_path)).stdout
    assert "near: 1 rows of test stand nearly so in train" in shown and "forest indeed'" in shown
    assert "no row stands in two splits" in shown
    assert "near: " not in run("check", str(tmp_path), "--near", "0").stdout
    assert json.loads(run("check", str(tmp_path), "--json").stdout)["near_leaks"][0]["num_rows"] == 1


def test_a_strict_check_ends_with_exit_code_5_on_a_leak(leaky: str) -> None:
    assert run("check", leaky, "--strict", "--quiet").return_value == 5
    assert run("check", leaky, "--quiet").return_value == 0
    (Path(leaky) / "test.jsonl").write_text('{"text": "other", "label": "x"}\n')
    result = run("check", leaky, "--strict")
    assert result.return_value == 0 and "no row stands in two splits" in result.stdout


@pytest.mark.parametrize("verb", ["list", "show", "check"])
def test_help_gives_an_example(verb: str) -> None:
    assert "Example: banyan data" in CliRunner().invoke(app, [verb, "--help"]).stdout
