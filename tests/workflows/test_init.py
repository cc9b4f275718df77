"""Anybody's files become a recipe that loads as it is."""

import json
from pathlib import Path

import pytest
import yaml

from banyan.core.config import config_to_mapping, read_config
from banyan.core.errors import ConfigError, DataError, FileError, SpaceError
from banyan.workflows.init import InitReport, clean_name, write_recipe
from banyan.workflows.recipe import Recipe


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _file(name: str, content: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def _labelled(name: str, num_rows: int = 10) -> Path:
    return _file(name, "text,label\n" + "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(num_rows)))


def _write(*paths: Path) -> tuple[InitReport, Recipe]:
    report = write_recipe(paths, output=Path("recipe.yaml"), overwrite=True)
    return report, read_config(Recipe, report.recipe)


def test_one_file_is_split_by_fractions_and_not_copied() -> None:
    _, recipe = _write(_labelled("reviews.csv"))
    data = recipe.tasks[0].data
    assert (data.train, data.validation, data.test) == ("reviews.csv", None, None)
    assert data.validation_fraction == data.test_fraction == 0.1
    assert sorted(path.name for path in Path().iterdir()) == ["recipe.yaml", "reviews.csv"]


def test_named_splits_are_used_as_they_are() -> None:
    _, recipe = _write(*(_labelled(f"{split}.csv") for split in ("train", "dev", "test")))
    data = recipe.tasks[0].data
    assert (data.train, data.validation, data.test) == ("train.csv", "dev.csv", "test.csv")
    assert data.validation_fraction == data.test_fraction == 0


def test_only_the_missing_split_is_held_out() -> None:
    _, recipe = _write(_labelled("a_train.csv"), _labelled("a_test.csv"))
    data = recipe.tasks[0].data
    assert (data.validation_fraction, data.test_fraction) == (0.1, 0)


def test_a_file_with_two_rows_holds_nothing_out() -> None:
    _, recipe = _write(_labelled("small.csv", 2))
    assert recipe.tasks[0].data.validation_fraction == 0


def test_one_long_text_is_cut_so_that_some_can_be_held_out() -> None:
    _, recipe = _write(_file("book.txt", "It was a dark and stormy night.\n\n" * 500))
    data = recipe.tasks[0].data
    assert (data.format, data.validation_fraction) == ("text_pieces", 0.1)


def test_tasks_are_named_after_their_files_and_never_alike() -> None:
    report, recipe = _write(
        _labelled("my reviews (1).csv"), _labelled("x/data.csv"), _labelled("y/x.csv"), _labelled("z/x.json.csv")
    )
    assert [task.name for task in recipe.tasks] == ["my_reviews_1", "x", "x_2", "x_3"]
    assert recipe.name == "my_reviews_1"
    assert [task.name for task in report.tasks] == [task.name for task in recipe.tasks]


def test_a_recipe_is_named_after_its_file() -> None:
    report = write_recipe([_labelled("a.csv")], output=Path("hotel.yaml"))
    assert report.name == read_config(Recipe, Path("hotel.yaml")).name == "hotel"
    assert write_recipe([Path("a.csv")], output=Path("b.yaml"), name="inn").name == "inn"


def test_every_key_of_the_recipe_is_explained() -> None:
    _write(_labelled("a.csv"))
    lines = Path("recipe.yaml").read_text(encoding="utf-8").splitlines()
    keys = [line for line in lines if ":" in line and not line.lstrip().startswith("#")]
    assert all("  # " in line or line.endswith(":") for line in keys)


def test_odd_names_columns_and_labels_survive_the_recipe() -> None:
    rows = [{"te: xt #1": f"some text {i}", "label": f"# {i % 2}\n: {{yes}}"} for i in range(6)]
    _file("who's: #1 {a}.jsonl", "\n".join(map(json.dumps, rows)))
    _, recipe = _write(Path("who's: #1 {a}.jsonl"))
    assert recipe.tasks[0].data.train == "who's: #1 {a}.jsonl"
    assert recipe.tasks[0].data.columns == {"text": "te: xt #1"}


def test_what_the_recipe_does_not_say_keeps_its_default() -> None:
    _, recipe = _write(_labelled("a.csv"))
    written = yaml.safe_load(Path("recipe.yaml").read_text(encoding="utf-8"))
    defaults = config_to_mapping(Recipe(name="x", tasks=recipe.tasks))
    for section in ("mixture", "evaluation", "optimizer"):
        assert written[section].items() <= defaults[section].items()


@pytest.mark.parametrize(
    ("num_sentences", "preset", "vocab_size"), [(10, "banyan-nano", 512), (100_000, "banyan-micro", 4096)]
)
def test_more_text_gets_a_larger_model(num_sentences: int, preset: str, vocab_size: int) -> None:
    report, _ = _write(_file("a.txt", "Some words of a text that is long.\n" * num_sentences))
    assert (report.sizes.preset, report.sizes.vocab_size) == (preset, vocab_size)


def test_chinese_gets_room_for_its_characters() -> None:
    english, _ = _write(_file("a.txt", "Some words. " * 30_000))
    chinese, _ = _write(_file("a.txt", "独木成林。" * 60_000))
    assert chinese.sizes.vocab_size > english.sizes.vocab_size


def test_rows_are_as_long_as_the_examples_need() -> None:
    short, _ = _write(_labelled("a.csv"))
    long, _ = _write(_file("a.csv", "text,label\n" + "".join(f"{'word ' * 200},{'ab'[i % 2]}\n" for i in range(6))))
    assert (short.sizes.seq_len, long.sizes.seq_len) == (128, 512)


def test_notes_stand_in_the_recipe() -> None:
    _write(_file("pairs.tsv", "Go.\tGeh.\nStop!\tHalt!\nCome.\tKomm.\n"))
    assert "# Look at this: the languages are a guess" in Path("recipe.yaml").read_text(encoding="utf-8")


def test_nothing_is_written_when_a_file_is_wrong() -> None:
    good = _labelled("a.csv")
    with pytest.raises(FileError, match=r"none\.csv not found"):
        write_recipe([good, Path("none.csv")], output=Path("recipe.yaml"))
    with pytest.raises(DataError, match=r"empty\.csv is empty"):
        write_recipe([good, _file("empty.csv", "")], output=Path("recipe.yaml"))
    with pytest.raises(ConfigError, match="no files are named"):
        write_recipe([], output=Path("recipe.yaml"))
    assert not Path("recipe.yaml").exists()


def test_a_recipe_is_not_overwritten_unasked() -> None:
    Path("recipe.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        write_recipe([_labelled("a.csv")], output=Path("recipe.yaml"))
    assert Path("recipe.yaml").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_one_line() -> None:
    with pytest.raises(SpaceError, match="cannot write"):
        write_recipe([_labelled("a.csv")], output=Path("/proc/recipe.yaml"))


@pytest.mark.parametrize(("text", "name"), [("My file (2)", "My_file_2"), ("独木", "独木"), ("--", "")])
def test_names_hold_letters_digits_and_dashes(text: str, name: str) -> None:
    assert clean_name(text) == name
