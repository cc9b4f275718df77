"""Files that belong together are found by their names."""

from pathlib import Path

import pytest

from banyan.core.errors import FileError
from banyan.data.grouping import SourceGroup, group_paths, split_of


def _touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a\tB-x\nb\tO\n")
    return paths


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"),
        ("reviews-dev.jsonl.gz", "validation"),
        ("VAL.csv", "validation"),
        ("my_test_set.tsv", "test"),
        ("my-Train-00001.csv", "train"),
        ("reviews_valid.tsv", "validation"),
        ("contest.txt", None),
        ("constraints.csv", None),
        ("train_test.csv", None),
        ("reviews.csv", None),
    ],
)
def test_the_split_is_read_from_whole_words_of_the_name(name: str, split: str | None) -> None:
    assert split_of(Path(name)) == split


def test_splits_of_one_data_set_are_one_group(tmp_path: Path) -> None:
    train, dev, test, other = _touch(tmp_path, "a.train.csv", "a.dev.csv", "a.test.csv", "b.csv")
    assert group_paths([test, dev, train, other]) == (
        SourceGroup(train=train, validation=dev, test=test),
        SourceGroup(train=other),
    )


def test_files_of_other_folders_or_names_stay_apart(tmp_path: Path) -> None:
    paths = _touch(tmp_path, "x/train.csv", "y/test.csv", "x/other.train.csv")
    assert [group.train for group in group_paths(paths)] == paths


def test_a_folder_of_tables_stands_for_its_tables(tmp_path: Path) -> None:
    train, test, _ = _touch(tmp_path, "train.conll", "test.conll", "README.md")
    assert group_paths([tmp_path]) == (SourceGroup(train=train, test=test),)


def test_a_folder_of_texts_is_one_data_set(tmp_path: Path) -> None:
    _touch(tmp_path, "a.md", "sub/b.md")
    assert group_paths([tmp_path]) == (SourceGroup(train=tmp_path),)


def test_two_languages_become_one_path(tmp_path: Path) -> None:
    english, german = _touch(tmp_path, "corpus.en", "corpus.de")
    assert group_paths([english, german]) == (SourceGroup(train=tmp_path / "corpus.{en,de}"),)


def test_a_folder_of_two_languages_in_splits_is_one_data_set(tmp_path: Path) -> None:
    _touch(tmp_path, "train.en.txt", "train.de.txt", "val.en.txt", "val.de.txt")
    expected = SourceGroup(train=tmp_path / "train.{de,en}.txt", validation=tmp_path / "val.{de,en}.txt")
    assert group_paths([tmp_path]) == (expected,)


def test_a_test_file_alone_is_what_there_is_to_learn_from(tmp_path: Path) -> None:
    [only] = _touch(tmp_path, "test.csv")
    assert group_paths([only]) == (SourceGroup(train=only),)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not found"):
        group_paths([tmp_path / "none"])
