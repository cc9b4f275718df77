import pytest

from banyan.core.types import Image, Row
from banyan.data.catalog_rows import source_text
from banyan.data.checking import SplitReport, check_splits, plain_form


def texts(*values: str) -> list[Row]:
    return [{"text": value, "label": 0} for value in values]


def test_rows_that_agree_after_normalisation_are_duplicates() -> None:
    report = check_splits({"train": texts("Hello, World!", "hello world", "ＨＥＬＬＯ　ｗｏｒｌｄ", "hello worlds")})
    assert report.splits == (SplitReport(split="train", num_rows=4, num_duplicates=2),)
    assert not report.is_leaky


def test_a_duplicate_with_another_answer_is_a_conflict() -> None:
    rows: list[Row] = [{"text": "a", "label": label} for label in (0, 0, 1)]
    (split,) = check_splits({"train": rows}).splits
    assert (split.num_duplicates, split.num_conflicts) == (2, 1)


def test_a_row_of_an_earlier_split_is_a_leak() -> None:
    report = check_splits(
        {"train": texts("a", "b", "c"), "validation": texts("B!", "x"), "test": texts("c.", "C", "x", "y")}
    )
    found = {(leak.split, leak.also_in): (leak.num_rows, leak.examples) for leak in report.leaks}
    assert found == {
        ("validation", "train"): (1, ("B!",)),
        ("test", "train"): (1, ("c.",)),
        ("test", "validation"): (1, ("x",)),
    }
    assert report.is_leaky


ENGLISH = "the quick brown fox jumps over the lazy dog beside the old river bank"
CHINESE = "榕树的根须垂到地面以后又长成新的树干所以一棵树就像一片森林"


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_a_text_with_a_word_more_is_nearly_the_same(text: str) -> None:
    longer = f"{text} 了" if text == CHINESE else f"Yes: {text}!"
    report = check_splits({"train": texts("a b c d e", text), "test": texts(longer, "f g h i j", text)})
    (near,) = report.near_leaks
    assert (near.split, near.also_in, near.num_rows) == ("test", "train", 1)
    (pair,) = near.examples
    assert (pair.text, pair.other) == (longer, text) and 0.9 < pair.share < 1
    assert [leak.num_rows for leak in report.leaks] == [1]  # the text itself, which counts once
    assert [split.num_near_duplicates for split in report.splits] == [0, 1]
    assert not check_splits({"train": texts(text), "test": texts(longer)}, share=None).near_leaks


def test_signs_alone_are_told_apart() -> None:
    (split,) = check_splits({"train": texts("!!!", "???", "!!!")}).splits
    assert split.num_duplicates == 1


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("caf\ufffd", "num_replacement"),
        ("a\0b", "num_control"),
        ("cafÃ©", "num_mojibake"),
        ("itâ€™s", "num_mojibake"),
        ("ä¸\xad", "num_mojibake"),
        ("   ", "num_blank"),
    ],
)
def test_what_is_wrong_with_a_text_is_counted(text: str, finding: str) -> None:
    (split,) = check_splits({"train": texts(text)}).splits
    assert split == SplitReport(split="train", num_rows=1, **{finding: 1})


@pytest.mark.parametrize("text", ["café ÃO", "it’s “fine” – 100 €", "独木成林\n\t榕树", "naïve Ærø çà", "a\r\nb"])
def test_ordinary_text_of_any_script_is_fine(text: str) -> None:
    (split,) = check_splits({"train": texts(text)}).splits
    assert split == SplitReport(split="train", num_rows=1)


def test_the_encoding_of_answers_is_looked_at_too() -> None:
    rows: list[Row] = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "\ufffd"}]}]
    (split,) = check_splits({"train": rows}).splits
    assert split.num_replacement == 1


@pytest.mark.parametrize(
    ("row", "source"),
    [
        ({"text": "a", "label": "b"}, "a"),
        ({"context": "a", "question": "b", "answers": []}, "a\nb"),
        ({"document": "a", "summary": "b"}, "a"),
        ({"tokens": ["a", "b"], "tags": ["O", "O"]}, "a b"),
        ({"translation": {"en": "a", "de": "b"}}, "a"),
        ({"messages": [{"content": "a"}, {"content": "b"}]}, "a\nb"),
        ({"instruction": "a", "input": "b", "output": "c"}, "a\nb"),
        ({"image": b"png", "text": "a"}, b"png"),
        ({"image": {"bytes": b"png"}, "text": "a"}, b"png"),
        ({"image": Image(width=1, height=1, channels=1, pixels=b"\0"), "text": "a"}, b"\0"),
        ({"review": "a", "stars": 3}, "a"),
        ({"stars": "3", "review": "a"}, "a"),
        ({"queue": "b", "subject": "a", "body": "c"}, "b\na\nc"),
        ({"target_language": "de", "source_language": "en", "target": "b", "source": "a"}, "a"),
        ({"en": "a", "de": "b"}, "a"),
        ({"label": "b"}, "b"),
        ({"stars": 3}, None),
    ],
)
def test_the_source_of_a_row_is_what_a_model_is_asked(row: Row, source: str | bytes | None) -> None:
    assert source_text(row) == source


def test_the_plain_form_keeps_words_of_every_script() -> None:
    assert plain_form("  Él_Niño — “ＯＫ”，独木成林！ ") == "él niño ok 独木成林"
