import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from banyan.cli.outputs import app
from banyan.core.errors import ConfigError, SpaceError, StoreError, UnknownNameError
from banyan.store.keys import change_key, create_key
from banyan.store.sql_store import open_database, open_store
from banyan.store.types import RequestState, StoredAnswer, StoredArtifact, StoredFeedback, StoredOutput
from banyan.testing.store import tiny_request


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("store") / "a.db")
    picture = StoredArtifact(media_type="image/png", data=b"png", width=8, height=8)
    with open_store(path) as store:
        area = {"task": "area", "task_kind": "classification", "body": {"input": "Wrap text"}}
        for at, label in enumerate(("strings", "files")):
            key = store.record(
                tiny_request(**area, source={"text": "Wrap text"}, received_at=at + 1),
                StoredAnswer(outputs=(StoredOutput(text=label),)),
            ).result(10)
        store.add_feedback(StoredFeedback(request_id=key, correction="text")).result(10)
        draw = tiny_request(task="draw", task_kind="image_generation", source={"text": "手写数字七"}, received_at=3)
        store.record(draw, StoredAnswer(outputs=(StoredOutput(artifacts=(picture,)),))).result(10)
        failed = tiny_request(body={"prompt": "\x1b[31mred"}, received_at=4)
        store.record(failed, StoredAnswer(state=RequestState.FAILED, http_status=500)).result(10)
    return path


def run(address: str, *words: str) -> Result:
    result = CliRunner().invoke(app, [*words, "--database", address])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def tasks(result: Result) -> list[str]:
    return [row["task"] for row in json.loads(result.stdout)["outputs"]]


def test_a_list_is_one_json_object_with_the_newest_first(address: str) -> None:
    assert tasks(run(address, "list", "--json")) == ["writing", "draw", "area", "area"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--task", "draw"], ["draw"]),
        (["--state", "failed"], ["writing"]),
        (["--model", "nobody"], []),
        (["--limit", "2"], ["writing", "draw"]),
        (["--since", "1h"], []),
        (["--since", "1970-01-01"], ["writing", "draw", "area", "area"]),
    ],
)
def test_filters_narrow_the_list(address: str, words: list[str], found: list[str]) -> None:
    assert tasks(run(address, "list", "--json", *words)) == found


def test_a_list_for_people_shows_whole_ids_and_no_control_characters(address: str) -> None:
    shown = run(address, "list").stdout
    ids = [row["id"] for row in json.loads(run(address, "list", "--json").stdout)["outputs"]]
    assert all(key in shown for key in ids)
    assert "手写数字七 → [pictures: 1]" in shown and "Wrap text → files" in shown
    assert "\x1b" not in shown


def test_quiet_says_nothing(address: str) -> None:
    for words in (["list"], ["show", "last"], ["search", "Wrap"], ["export"]):
        assert run(address, *words, "--quiet").stdout == ""


def test_a_search_finds_chinese(address: str) -> None:
    assert tasks(run(address, "search", "数字", "--json")) == ["draw"]
    assert run(address, "search", "nowhere to be found").stdout == "nothing stored fits.\n"


def test_a_search_by_meaning_shows_the_nearest_answer_first(address: str, model: Path) -> None:
    words = ["search", "--similar", "files", "--embedder", str(model), "--layer", "0"]
    found = json.loads(run(address, *words, "--json").stdout)["outputs"]
    assert [row["outputs"][0]["text"] for row in found] == ["files", "strings"]
    assert found[0]["similarity"] == pytest.approx(1, abs=1e-5)
    shown = run(address, *words, "--limit", "1").stdout
    assert "similarity 1.000" in shown and "Wrap text → files" in shown and "strings" not in shown


def test_a_search_wants_either_a_text_or_a_meaning(address: str) -> None:
    for words in (["search"], ["search", "files", "--similar", "files"]):
        with pytest.raises(ConfigError, match="either a text or --similar"):
            run(address, *words)


def test_the_other_commands_do_without_torch() -> None:
    program = "import sys, banyan.cli.outputs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_one_request_is_shown_whole(address: str) -> None:
    row = json.loads(run(address, "show", "last", "--json").stdout)
    assert (row["task"], row["state"], row["http_status"]) == ("writing", "failed", 500)
    shown = run(address, "show", row["id"]).stdout
    assert row["id"] in shown and "red" in shown and "\x1b" not in shown


def test_the_feedback_is_shown_with_the_answer(address: str) -> None:
    key = json.loads(run(address, "search", "files", "--json").stdout)["outputs"][0]["id"]
    shown = run(address, "show", key).stdout
    assert "answer   files" in shown and '"correction": "text"' in shown


def test_an_export_holds_every_request_and_picture(address: str, tmp_path: Path) -> None:
    target = tmp_path / "new" / "all.jsonl"
    summary = json.loads(run(address, "export", "--output", str(target), "--json").stdout)
    rows = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert summary == {"file": str(target), "rows": 4, "images": 1, "forbidden": 0}
    assert [row["task"] for row in rows] == ["writing", "draw", "area", "area"]
    picture = rows[1]["outputs"][0]["artifacts"][0]["file"]
    assert (target.parent / picture).read_bytes() == b"png"
    assert sorted(path.name for path in target.parent.iterdir()) == ["all.jsonl", "all.manifest.json", "images"]


def test_an_exported_data_set_is_in_the_tasks_format_with_corrections(address: str) -> None:
    shown = run(address, "export", "--as-dataset", "--task", "area").stdout
    assert [json.loads(line) for line in shown.splitlines()] == [
        {"text": "Wrap text", "label": "text"},
        {"text": "Wrap text", "label": "strings"},
    ]
    assert json.loads(run(address, "export", "--as-dataset", "--limit", "2", "--json").stdout)["rows"]


def test_a_data_set_knows_where_each_row_came_from_and_its_own_hash(address: str, tmp_path: Path) -> None:
    run(address, "export", "--as-dataset", "--task", "area", "--output", str(tmp_path / "more.jsonl"))
    rows, origins = (
        [json.loads(line) for line in (tmp_path / f"more.{ending}").read_text("utf-8").splitlines()]
        for ending in ("jsonl", "lineage.jsonl")
    )
    manifest = json.loads((tmp_path / "more.manifest.json").read_text("utf-8"))
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    assert sorted(manifest["sha256"]) == ["more.jsonl", "more.lineage.jsonl"]
    assert [origin["line"] for origin in origins] == [1, 2] and len(rows) == 2
    asked = [json.loads(run(address, "show", origin["request_id"], "--json").stdout) for origin in origins]
    corrections = [[given["id"] for given in row["feedback"]] for row in asked]
    assert [origin["corrected_by"] for origin in origins] == [ids[0] if ids else None for ids in corrections]
    judged = run(address, "export", "--as-dataset", "--judged", "--task", "area").stdout
    assert [json.loads(line) for line in judged.splitlines()] == [{"text": "Wrap text", "label": "text"}]


def test_every_input_of_a_batch_is_exported_with_its_own_line_of_lineage(tmp_path: Path) -> None:
    own, target = str(tmp_path / "own.db"), tmp_path / "more.jsonl"
    texts = [f"text {n}" for n in range(3)]
    with open_store(own) as store:
        asked = tiny_request(task_kind="classification", num_choices=3, sources=tuple({"text": text} for text in texts))
        answer = StoredAnswer(outputs=tuple(StoredOutput(choice_index=n, text="x") for n in range(3)))
        key = store.record(asked, answer).result(10)
        corrected = StoredFeedback(request_id=key, choice_index=1, correction="y")
        store.add_feedback(corrected).result(10)
        store.add_feedback(StoredFeedback(request_id=key, choice_index=2, rating=1)).result(10)
    judged = run(own, "export", "--as-dataset", "--judged").stdout
    assert [json.loads(line)["text"] for line in judged.splitlines()] == texts[1:]
    run(own, "export", "--as-dataset", "--output", str(target))
    rows = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert rows == [{"text": text, "label": label} for text, label in zip(texts, "xyx", strict=True)]
    origins = [json.loads(line) for line in (tmp_path / "more.lineage.jsonl").read_text("utf-8").splitlines()]
    assert [(origin["line"], origin["index"]) for origin in origins] == [(1, 0), (2, 1), (3, 2)]
    assert [origin["corrected_by"] for origin in origins] == [None, corrected.feedback_id, None]
    assert [origin["rating"] for origin in origins] == [None, None, 1]
    assert {origin["request_id"] for origin in origins} == {key}


def test_what_a_key_does_not_allow_is_never_trained_on(tmp_path: Path) -> None:
    own, target = str(tmp_path / "own.db"), tmp_path / "more.jsonl"
    with open_store(own) as store:
        for name, training_ok, mode in (("no", False, "full"), ("yes", True, "full"), ("hash", True, "hash")):
            key = create_key(store.database, name=name, training_ok=training_ok).key.key_id
            asked = {"task_kind": "classification", "source": {"text": name}, "api_key_id": key, "store_mode": mode}
            store.record(tiny_request(**asked), StoredAnswer(outputs=(StoredOutput(text="x"),))).result(10)
    said = run(own, "export", "--as-dataset", "--output", str(target)).stdout
    assert [json.loads(line) for line in target.read_text().splitlines()] == [{"text": "yes", "label": "x"}]
    assert "2 left out: their keys do not allow training" in said
    database = open_database(own)
    change_key(database, "yes", training_ok=False)
    database.close()
    assert run(own, "export", "--as-dataset").stdout == "", (
        "a permission that is taken back counts for all that is stored"
    )


def test_an_export_never_replaces_a_file(address: str, tmp_path: Path) -> None:
    (tmp_path / "all.jsonl").write_text("precious")
    with pytest.raises(ConfigError, match="exists already"):
        run(address, "export", "--output", str(tmp_path / "all.jsonl"))
    assert (tmp_path / "all.jsonl").read_text() == "precious"


def test_a_place_that_cannot_be_written_is_reported(address: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpaceError, match="cannot write"):
        run(address, "export", "--output", str(tmp_path / "file" / "all.jsonl"))


def test_unusable_words_are_errors_with_a_suggestion(address: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean failed"):
        run(address, "list", "--state", "faild")
    with pytest.raises(ConfigError, match="is not a time"):
        run(address, "list", "--since", "yesterday")
    with pytest.raises(StoreError, match="there is no database"):
        run(str(tmp_path / "none.db"), "list")


@pytest.mark.parametrize("verb", ["list", "search", "show", "export"])
def test_help_gives_an_example(verb: str) -> None:
    assert "Example: banyan outputs" in CliRunner().invoke(app, [verb, "--help"]).stdout


def test_what_is_erased_is_shown_no_more(tmp_path: Path) -> None:
    own = str(tmp_path / "own.db")
    with open_store(own) as store:
        keys = [store.record(tiny_request(), StoredAnswer(outputs=(StoredOutput(text="x"),))).result(10) for _ in "ab"]
    with pytest.raises(ConfigError, match="needs a yes"):
        run(own, "erase", keys[0])
    assert run(own, "erase", keys[0], "--yes").stdout == "1 requests erased\n"
    assert [row["id"] for row in json.loads(run(own, "list", "--json").stdout)["outputs"]] == [keys[1]]
    with pytest.raises(UnknownNameError):
        run(own, "erase", "--key", "nobody", "--yes")
