import pytest

from banyan.core.errors import ConfigError, DataError, InputError
from banyan.core.types import Completion, Prediction, Row
from banyan.tasks.translation import Translation, TranslationExample
from banyan.testing.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary(["mt"])
ANY = Translation(name="mt")
EN_ZH = Translation(name="mt", source_language="en", target_language="zh", both_directions=True)
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
