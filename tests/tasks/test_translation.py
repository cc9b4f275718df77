from dataclasses import replace

import pytest

from banyan.core.errors import ConfigError, DataError, InputError, UnknownLanguageError
from banyan.core.types import Completion, Prediction, Row
from banyan.tasks.config import TaskConfig, build_task
from banyan.tasks.registry import task_from_spec
from banyan.tasks.translation import Translation, TranslationExample
from banyan.testing.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary(["mt"])
ANY = Translation(name="mt")
EN_ZH = Translation(name="mt", source_language="en", target_language="zh", both_directions=True)
TAUGHT = Translation(name="mt", directions=("en>de", "en>fr", "zh>en"))
TREE = TranslationExample(text="a tree", source_language="en", target_language="zh", translation="一棵树")


@pytest.mark.parametrize(
    "row",
    [
        {"translation": {"en": "a tree", "zh": "一棵树"}},
        {"en": "a tree", "zh": "一棵树", "source_language": "en", "target_language": "zh"},
        {"source": "a tree", "target": "一棵树", "source_language": "en", "target_language": "zh"},
    ],
    ids=["translation", "columns by language", "source and target"],
)
def test_every_format_is_read(row: Row) -> None:
    assert ANY.parse(row) == TREE


def test_a_row_may_ask_for_the_other_direction() -> None:
    row = {"translation": {"en": "a tree", "zh": "一棵树"}, "source_language": "zh", "target_language": "en"}
    assert ANY.parse(row).text == "一棵树"


def test_both_directions_can_be_learned_from_one_row() -> None:
    forwards, backwards = EN_ZH.examples_from_row({"en": "a tree", "zh": "一棵树"})
    assert forwards == TREE
    assert (backwards.direction, backwards.text, backwards.translation) == ("zh>en", "一棵树", "a tree")


def test_the_direction_is_ordinary_text_before_the_sentence() -> None:
    prompt = ANY.prompt(TREE, VOCABULARY, max_tokens=300)
    assert VOCABULARY.decode(prompt.token_ids) == "en>zh: a tree"


def test_the_direction_is_never_cut() -> None:
    long = TranslationExample(text="tree " * 100, source_language="en", target_language="zh")
    prompt = ANY.prompt(long, VOCABULARY, max_tokens=60)
    assert VOCABULARY.decode(prompt.token_ids).startswith("en>zh: tree")
    assert prompt.num_dropped_tokens > 0


@pytest.mark.parametrize(
    ("text", "direction", "sentence"),
    [
        ("de>en: Guten Tag: Welt", "de>en", "Guten Tag: Welt"),
        ("zh > en:一棵树", "zh>en", "一棵树"),
        ('{"source_language": "fr", "target_language": "en", "text": "arbre"}', "fr>en", "arbre"),
        ("a tree", "en>zh", "a tree"),
        ("note: a > b", "en>zh", "note: a > b"),
    ],
)
def test_a_sentence_typed_on_a_line_names_its_direction_or_takes_the_fixed_one(
    text: str, direction: str, sentence: str
) -> None:
    example = EN_ZH.example_from_text(text)
    assert (example.direction, example.text, example.translation) == (direction, sentence, None)


@pytest.mark.parametrize("text", ["a tree", " ", "{broken", "en>de: "])
def test_a_sentence_without_direction_or_words_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="cannot read what to translate"):
        ANY.example_from_text(text)


def test_a_row_without_its_language_is_named() -> None:
    with pytest.raises(DataError, match="cannot tell the direction"):
        ANY.parse({"en": "a tree", "zh": "一棵树"})
    with pytest.raises(DataError, match="no 'zh'"):
        EN_ZH.parse({"en": "a tree"})


def test_one_language_alone_is_no_direction() -> None:
    with pytest.raises(ConfigError, match="both source_language and target_language"):
        Translation(name="mt", source_language="en")


def test_the_written_text_is_read_without_the_space_around_it() -> None:
    prompt = ANY.prompt(TREE, VOCABULARY, max_tokens=300)
    ids = tuple(VOCABULARY.encode(" 一棵树 "))
    assert ANY.read(prompt, Completion(token_ids=ids), VOCABULARY).text == "一棵树"
    assert ANY.read(prompt, Completion(token_ids=ids, text="一棵"), VOCABULARY).text == "一棵"


def test_directions_and_groups_are_scored_apart() -> None:
    rows: list[Row] = [
        {"translation": {"en": "a tree", "zh": "一棵树"}},
        {"translation": {"zh": "一棵树", "en": "a tree"}},
        {"translation": {"en": "Anna", "zh": "安娜"}, "group": "names"},
    ]
    examples = [ANY.parse(row) for row in rows]
    answers = [Prediction(task="mt", text=text) for text in ["一棵树", "wrong", "安娜"]]
    scores = ANY.score(examples, answers)
    assert scores["exact_match/en>zh"] == scores["exact_match/en>zh/names"] == 1
    assert scores["exact_match/zh>en"] == 0
    assert scores["exact_match"] == 0.5  # the named group does not count


def ask(task: Translation, source_language: str, target_language: str) -> str:
    named = {"source_language": source_language, "target_language": target_language}
    return task.parse({"source": "a tree", **named}, with_answer=False).direction


def test_a_task_remembers_the_directions_of_the_rows_that_it_can_read() -> None:
    rows: list[Row] = [
        {"translation": {"en": "a tree", "zh": "一棵树"}},
        {"translation": {"fr": "arbre", "en": "tree"}, "source_language": "fr", "target_language": "en"},
        {"translation": {"en": "a tree", "de": ""}},
        {"text": "no pair"},
    ]
    assert ANY.taught_by(rows).directions == ("en>zh", "fr>en")
    fixed: list[Row] = [{"en": "a tree", "zh": "一棵树"}]
    assert EN_ZH.taught_by(fixed).directions == ("en>zh", "zh>en")
    assert replace(EN_ZH, both_directions=False).taught_by(fixed).directions == ("en>zh",)


def test_a_recipes_translation_knows_what_its_rows_teach_and_keeps_it_in_its_description() -> None:
    task = build_task(TaskConfig(name="mt", kind="translation"), rows=[{"translation": {"en": "tree", "zh": "树"}}])
    assert task.spec()["directions"] == ["en>zh"] and task_from_spec(task.spec()) == task


@pytest.mark.parametrize(
    ("asked", "field", "message"),
    [
        (("xx", "en"), "source_language", 'from source_language="xx"; it was taught en, zh.'),
        (("de", "en"), "source_language", 'from source_language="de"; it was taught en, zh.'),
        (("en", "zh-TW"), "target_language", 'into target_language="zh-TW"; it was taught de, en, fr.'),
        (("en", "en"), "target_language", 'from "en" into itself; source_language and target_language must differ.'),
    ],
    ids=["unknown source", "known as a target only", "unknown target", "the same"],
)
def test_a_language_that_was_not_taught_on_its_side_is_refused(
    asked: tuple[str, str], field: str, message: str
) -> None:
    with pytest.raises(UnknownLanguageError) as caught:
        ask(TAUGHT, *asked)
    assert caught.value.field == field and message in str(caught.value) and caught.value.hint


def test_a_new_pair_of_known_languages_may_be_tried_and_one_that_was_taught_may_be_the_same_twice() -> None:
    assert ask(TAUGHT, "zh", "de") == "zh>de"
    assert ask(Translation(name="mt", directions=("en>en",)), "en", "en") == "en>en"


def test_a_task_that_does_not_know_its_directions_takes_any_and_so_does_a_row_with_its_answer() -> None:
    assert ask(ANY, "xx", "xx") == "xx>xx"
    assert TAUGHT.parse({"translation": {"it": "albero", "pt": "uma árvore"}}).direction == "it>pt"


def test_a_sentence_that_looks_like_a_language_is_not_repeated() -> None:
    with pytest.raises(UnknownLanguageError, match="source_language=a text of 13 characters") as caught:
        ask(TAUGHT, "my own secret", "en")
    assert "secret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("named", "direction"),
    [
        ({"target_language": "fr"}, "en>fr"),
        ({"target_language": "en"}, "zh>en"),
        ({"source_language": "zh"}, "zh>en"),
        ({"source_language": "fr"}, "fr>en"),
    ],
)
def test_a_row_that_names_one_language_gets_the_other_from_the_task(named: Row, direction: str) -> None:
    assert EN_ZH.parse({"source": "a tree", **named}, with_answer=False).direction == direction
