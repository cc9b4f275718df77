import pytest

from banyan.core.errors import ConfigError, ContextLengthError, DataError
from banyan.core.types import NO_TARGET, Completion, HeadKind, LabelSet
from banyan.tasks.classification import Classification, ClassificationExample
from banyan.testing.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary(["topic"])
TOPIC = Classification(name="topic", labels=("sports", "体育", "trees"))
WORDS = Classification(name="topic", labels=("sports", "体育", "trees"), answer="words")


@pytest.mark.parametrize(
    "row",
    [
        {"text": "a goal", "label": "sports"},
        {"text": "a goal", "label": 0},
        {"text": "a goal", "label": 7, "label_name": "sports"},
    ],
    ids=["word", "number", "label_name"],
)
def test_every_spelling_of_a_label_is_read(row: dict[str, object]) -> None:
    assert TOPIC.parse(row) == ClassificationExample(text="a goal", label="sports")


def test_a_template_makes_one_text_of_several_columns() -> None:
    task = Classification(name="topic", labels=("a", "b"), template="{title}. {body} {}")
    assert task.parse({"title": "T", "body": "B", "label": "a"}).text == "T. B {}"


def test_the_users_column_names_are_followed_for_questions_without_answers_too() -> None:
    task = Classification(name="topic", labels=("a", "b"), columns={"text": "review", "label": "stars"})
    assert task.parse({"review": "good", "stars": "a"}).label == "a"
    assert task.parse({"review": "good"}, with_answer=False).text == "good"


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ({"label": "sports"}, "'text'"),
        ({"text": "a goal"}, "'label'"),
        ({"text": "a goal", "label": "sprots"}, "did you mean sports"),
        ({"text": " ", "label": "sports"}, "blank"),
    ],
)
def test_a_row_that_cannot_be_learned_from_is_named(row: dict[str, object], word: str) -> None:
    with pytest.raises(DataError, match=word):
        TOPIC.parse(row)


def test_labels_keep_the_order_of_their_numbers() -> None:
    rows = [{"text": "x", "label": 1, "label_name": "a"}, {"text": "x", "label": 0, "label_name": "z"}]
    assert Classification.fields_from_rows(rows, columns={}) == {"labels": ("z", "a")}
    words = [{"text": "x", "label": "b"}, {"text": "x", "label": "a"}]
    assert Classification.fields_from_rows(words, columns={}) == {"labels": ("a", "b")}


def test_the_head_learns_the_label_at_the_separator() -> None:
    sequence = TOPIC.render(ClassificationExample(text="a tree", label="trees"), VOCABULARY, max_tokens=32)
    assert sequence.token_ids[-1] == VOCABULARY.sep_id
    assert sequence.targets[-1] == 2
    assert set(sequence.targets[:-1]) == {NO_TARGET}
    assert TOPIC.head is not None and TOPIC.head.kind is HeadKind.CLASSIFICATION


def test_words_are_learned_as_text_and_scored_as_text() -> None:
    example = ClassificationExample(text="一棵树", label="体育")
    sequence = WORDS.render(example, VOCABULARY, max_tokens=64)
    decoding = WORDS.prompt(example, VOCABULARY, max_tokens=64).decoding
    assert WORDS.head is None
    assert isinstance(decoding, LabelSet)
    assert tuple(t for t in sequence.targets if t != NO_TARGET) == decoding.label_token_ids[1]
    assert decoding.label_token_ids[1][-1] == VOCABULARY.eos_id


def test_the_likeliest_label_is_read_with_all_probabilities() -> None:
    prompt = TOPIC.prompt(ClassificationExample(text="a tree"), VOCABULARY, max_tokens=32)
    prediction = TOPIC.read(prompt, Completion(label_probs=(0.1, 0.3, 0.6)), VOCABULARY)
    assert (prediction.text, prediction.score) == ("trees", 0.6)
    assert prediction.labels == {"trees": 0.6, "体育": 0.3, "sports": 0.1}


def test_a_long_text_is_cut_and_counted_or_refused() -> None:
    example = ClassificationExample(text="tree " * 100)
    prompt = TOPIC.prompt(example, VOCABULARY, max_tokens=20)
    assert len(prompt) == 20
    assert prompt.num_dropped_tokens == len(VOCABULARY.encode(example.text)) - 17
    strict = Classification(name="topic", labels=("a", "b"), truncate=False)
    with pytest.raises(ContextLengthError, match="at most 17 fit"):
        strict.prompt(example, VOCABULARY, max_tokens=20)


def test_one_label_is_not_a_choice() -> None:
    with pytest.raises(ConfigError, match="at least two"):
        Classification(name="topic", labels=("a",))
