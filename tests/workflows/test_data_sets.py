import gzip
import json
from pathlib import Path

import pytest

from banyan.core.errors import ConfigError, DataError, FileError
from banyan.workflows.data_sets import check_data, list_datasets, show_dataset


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BANYAN_DATA", str(tmp_path / "data"))
    for split, text in {"train": "a", "validation": "b", "test": "A!"}.items():
        folder = tmp_path / "data" / "trec"
        folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"text": text, "label": "HUM"}) + "\n"
        (folder / f"{split}.jsonl.gz").write_bytes(gzip.compress(line.encode()))
    return tmp_path


def test_the_list_tells_what_is_here_and_what_is_not(root: Path) -> None:
    here = {dataset.name: dataset.folder is not None for dataset in list_datasets()}
    assert here["trec"] and not here["imdb"]


def test_a_data_set_is_shown_with_its_first_rows(root: Path) -> None:
    facts = show_dataset("trec")
    assert facts.examples == ({"text": "a", "label": "HUM"},)
    assert [file.is_known for file in facts.files] == [False, False, False]


def test_a_data_set_that_is_not_here_is_shown_without_rows(root: Path) -> None:
    facts = show_dataset("imdb")
    assert (facts.folder, facts.examples) == (None, ())
    assert facts.files[0].num_rows == 23778


def test_a_data_set_is_checked_by_name(root: Path) -> None:
    report = check_data("trec")
    assert [split.split for split in report.splits] == ["train", "validation", "test"]
    assert [(leak.split, leak.also_in) for leak in report.leaks] == [("test", "train")]


def test_a_folder_is_checked_by_the_names_of_its_files(root: Path) -> None:
    assert [split.split for split in check_data(str(root / "data" / "trec")).splits] == ["train", "validation", "test"]


def test_a_folder_without_splits_and_a_file_are_one_split(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("a")
    (tmp_path / "notes" / "b.txt").write_text("b")
    for place in (tmp_path / "notes", tmp_path / "notes" / "a.txt"):
        assert [split.split for split in check_data(str(place)).splits] == [place.name]


def test_of_a_table_whose_label_stands_first_the_texts_are_compared(tmp_path: Path) -> None:
    def write(name: str, numbers: range, *, label: str = "") -> None:
        rows = "".join(f"{label or 'ab'[n % 2]},Title {n},Body of number {n} here.\n" for n in numbers)
        (tmp_path / name).write_text(f"class,title,body\n{rows}")

    write("train.csv", range(20))
    write("test.csv", range(19, 23), label="c")  # by itself nothing that could be a label
    report = check_data(str(tmp_path), share=None)
    assert [split.num_duplicates for split in report.splits] == [0, 0]
    assert [(leak.num_rows, leak.examples) for leak in report.leaks] == [(1, ("Title 19 Body of number 19 here.",))]


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(FileError, match="not UTF-8"):
        check_data(str(tmp_path / "latin.txt"))


def test_a_place_that_does_not_exist_suggests_a_data_set(root: Path) -> None:
    with pytest.raises(FileError, match="imdbb not found") as caught:
        check_data("imdbb")
    assert "did you mean imdb" in (caught.value.hint or "")
    with pytest.raises(DataError, match="no rows to check"):
        check_data("stories260K")


def test_of_a_recipe_the_splits_of_each_task_and_of_different_tasks_are_compared(tmp_path: Path) -> None:
    files = {
        "first.csv": "title,body,label\nA,one red oak,x\nB,two green elms,y\nC,three old figs,x\nD,four tall firs,y\n",
        "first-test.csv": "title,body,label\na,One red oak!,x\nE,five blue pines,y\n",
        "second.csv": "review,label\nE five blue pines,x\nsix,y\nseven,x\neight,y\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "recipe.yaml").write_text(
        f"""
name: two
tasks:
  - {{name: first, kind: classification, template: "{{title}} {{body}}",
     data: {{train: {tmp_path}/first.csv, test: {tmp_path}/first-test.csv}}}}
  - {{name: second, kind: classification, data: {{train: {tmp_path}/second.csv, columns: {{text: review}}}}}}
"""
    )
    report = check_data(str(tmp_path / "recipe.yaml"))
    found = {(leak.split, leak.also_in): leak.examples for leak in report.leaks}
    assert found == {
        ("first/test", "first/train"): ("a One red oak!",),
        ("first/test", "second/train"): ("E five blue pines",),
    }
    assert [split.num_rows for split in report.splits] == [4, 0, 2, 4, 0, 0]


@pytest.mark.parametrize("share", [0.5, 1.5, -1.0])
def test_a_share_that_cannot_be_found_reliably_is_refused(tmp_path: Path, share: float) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ConfigError, match="must lie between 0.7 and 1"):
        check_data(str(tmp_path / "a.txt"), share=share)
