import pytest

from banyan.core.errors import ConfigError, DataError
from banyan.core.types import NO_TARGET, Completion, Row, Tags
from banyan.tasks.tagging import Tagging, TaggingExample
from banyan.testing.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary(["ner"])
NER = Tagging(name="ner", labels=("place", "tree"))
BY_CHARACTER = Tagging(name="ner", labels=("place", "tree"), unit="character")
TAGS = NER.head.labels


def spoken(example: TaggingExample) -> list[tuple[str, str]]:
    return [(example.text[u.start : u.end], tag) for u, tag in zip(example.units, example.tags or (), strict=True)]


@pytest.mark.parametrize(
    "row",
    [
        {"tokens": ["An", "oak", "in", "New", "York"], "tags": ["O", "B-tree", "O", "B-place", "I-place"]},
        {"tokens": ["An", "oak", "in", "New", "York"], "tags": [0, 3, 0, 1, 2]},
        {"text": "An oak in New  York", "tokens": ["An", "oak", "in", "New", "York"], "tags": [0, 3, 0, 1, 2]},
        {
            "text": "An oak in New York",
            "entities": [{"start": 3, "end": 6, "label": "tree"}, {"start": 10, "end": 18, "type": "place"}],
        },
        {"text": "An oak in New York", "entities": [[3, 6, "tree"], [10, 18, "place"]]},
    ],
    ids=["words", "numbered tags", "words and text", "entities", "entity triples"],
)
def test_every_format_says_the_same(row: Row) -> None:
    assert spoken(NER.parse(row)) == [
        ("An", "O"),
        ("oak", "B-tree"),
        ("in", "O"),
        ("New", "B-place"),
        ("York", "I-place"),
    ]


def test_tags_by_character_are_read_by_character_or_by_word() -> None:
    row: Row = {"text": "去NBA看树", "tags": ["O", "B-place", "I-place", "I-place", "O", "B-tree"]}
    by_character = [("去", "O"), ("N", "B-place"), ("B", "I-place"), ("A", "I-place"), ("看", "O"), ("树", "B-tree")]
    assert spoken(BY_CHARACTER.parse(row)) == by_character
    assert spoken(NER.parse(row)) == [("去", "O"), ("NBA", "B-place"), ("看", "O"), ("树", "B-tree")]


def test_labels_and_units_are_worked_out_from_the_rows() -> None:
    words: list[Row] = [{"tokens": ["a", "b"], "tags": ["O", "S-y"]}, {"tokens": ["a"], "tags": ["B-x"]}]
    assert Tagging.fields_from_rows(words, columns={}) == {"labels": ("x", "y"), "unit": "word"}
    characters: list[Row] = [{"text": "树木", "tags": ["B-x", "I-x"]}]
    assert Tagging.fields_from_rows(characters, columns={}) == {"labels": ("x",), "unit": "character"}


def test_a_words_tag_is_learned_at_its_last_token() -> None:
    example = NER.parse({"tokens": ["森林", "qzx"], "tags": ["B-tree", "B-place"]})
    prompt = NER.prompt(example, VOCABULARY, max_tokens=40)
    sequence = NER.render(example, VOCABULARY, max_tokens=40)
    assert isinstance(prompt.decoding, Tags)
    first, second = prompt.decoding.positions
    assert VOCABULARY.decode(prompt.token_ids[2 : first + 1]) == "森林"
    assert VOCABULARY.decode(prompt.token_ids[first + 1 : second + 1]) == "qzx"
    assert (sequence.targets[first], sequence.targets[second]) == (TAGS.index("B-tree"), TAGS.index("B-place"))
    assert sum(target != NO_TARGET for target in sequence.targets) == 2


def test_words_that_do_not_fit_are_not_learned_and_are_read_as_outside() -> None:
    example = NER.parse({"tokens": ["tree"] * 50, "tags": ["B-tree"] * 50})
    prompt = NER.prompt(example, VOCABULARY, max_tokens=20)
    assert isinstance(prompt.decoding, Tags)
    num_read = len(prompt.decoding.positions)
    assert 0 < num_read < 50
    prediction = NER.read(prompt, Completion(tag_ids=(TAGS.index("B-tree"),) * num_read), VOCABULARY)
    assert prediction.tags == ("B-tree",) * num_read + ("O",) * (50 - num_read)
    sequence = NER.render(example, VOCABULARY, max_tokens=20)
    assert sum(target != NO_TARGET for target in sequence.targets) == num_read


def test_a_prediction_shows_entities_in_characters_of_the_text() -> None:
    prompt = NER.prompt(NER.example_from_text("去New York看 树。"), VOCABULARY, max_tokens=60)
    tags = ["O", "B-place", "I-place", "O", "B-tree", "O"]
    completion = Completion(tag_ids=tuple(map(TAGS.index, tags)), tag_probs=(1.0, 0.5, 0.5, 1.0, 0.9, 1.0))
    prediction = NER.read(prompt, completion, VOCABULARY)
    assert prediction.text == "去[New York](place)看 [树](tree)。"
    assert [(e.start, e.end, e.score) for e in prediction.entities or ()] == [(1, 9, 0.25), (11, 12, 0.9)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "2 words and 1 tags"),
        ({"tokens": ["a"], "tags": ["B-plaice"]}, "did you mean place"),
        ({"tokens": [], "tags": []}, "no word to tag"),
        ({"text": "a b", "entities": [{"start": 2, "end": 9, "label": "tree"}]}, "does not fit a text of 3"),
        ({"text": "a b"}, "no 'entities'"),
    ],
)
def test_a_row_that_cannot_be_learned_from_is_named(row: Row, message: str) -> None:
    with pytest.raises(DataError, match=message):
        NER.parse(row)


@pytest.mark.parametrize("labels", [(), ("x", "x"), ("B-x",), ("O",)])
def test_labels_are_those_of_entities_each_once(labels: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="label"):
        Tagging(name="ner", labels=labels)
