from pathlib import Path

import pytest

from banyan.core.errors import CheckpointError, ConfigError, DataError, FileError, InputError, SpaceError
from banyan.workflows.tokenizers import inspect_tokenizer, train_tokenizer

TEXT = "The banyan 榕树 has roots. The roots have 42 branches.\n"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.txt").write_text(TEXT * 4, "utf-8")
    return folder


def test_a_trained_tokenizer_is_measured_on_what_it_learned_from(notes: Path, tmp_path: Path) -> None:
    report = train_tokenizer([notes], tmp_path / "out", vocab_size=280)
    assert report.vocab_size == 280
    found = {script["script"]: script for script in report.scripts}
    assert found["Latin"]["tokens_per_character"] < 1.0 < found["Latin"]["bytes_per_token"]
    assert found["Han"]["num_characters"] == 2 * 4 and found["digits"]["num_characters"] == 2 * 4


def test_inspecting_gives_the_pieces_of_a_text_in_order(notes: Path, tmp_path: Path) -> None:
    train_tokenizer([notes], tmp_path / "out", vocab_size=290)
    report = inspect_tokenizer(tmp_path / "out", [], text="roots 世")
    assert [piece["start"] for piece in report.pieces] == sorted(piece["start"] for piece in report.pieces)
    assert report.pieces[0]["start"] == 0 and report.pieces[-1]["end"] == len("roots 世")
    assert {script["script"] for script in report.scripts} == {"Latin", "space", "Han"}


def test_without_text_there_is_only_the_size(notes: Path, tmp_path: Path) -> None:
    train_tokenizer([notes], tmp_path / "out", vocab_size=290)
    report = inspect_tokenizer(tmp_path / "out", [], text=None)
    assert (report.scripts, report.pieces) == ((), ())


def test_nothing_to_learn_from_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    for place, kind in (("empty.txt", DataError), ("none", FileError)):
        with pytest.raises(kind, match=place):
            train_tokenizer([tmp_path / place], tmp_path / "out", vocab_size=290)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_tokenizer_is_told_from_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="tokenizer.json not found"):
        inspect_tokenizer(tmp_path, [], text="x")
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece"}}')
    with pytest.raises(CheckpointError):
        inspect_tokenizer(tmp_path, [], text="x")


def test_a_lone_surrogate_is_refused(notes: Path, tmp_path: Path) -> None:
    train_tokenizer([notes], tmp_path / "out", vocab_size=290)
    with pytest.raises(InputError, match="lone surrogate"):
        inspect_tokenizer(tmp_path / "out", [], text="caf\udce9")


def test_places_that_must_stay_as_they_are_are_refused(notes: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/manifest.json").touch()
    with pytest.raises(ConfigError, match="is a model directory"):
        train_tokenizer([notes], tmp_path / "model", vocab_size=290)
    (tmp_path / "file").touch()
    with pytest.raises(SpaceError, match="cannot write"):
        train_tokenizer([notes], tmp_path / "file", vocab_size=290)
