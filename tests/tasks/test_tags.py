import pytest
from hypothesis import given
from hypothesis import strategies as st

from banyan.core.errors import DataError
from banyan.core.types import Entity
from banyan.tasks.tags import entities_to_tags, entity_labels, mark_entities, tag_set, tags_to_entities, to_iob2
from banyan.tasks.units import split_units

legal_tags = st.lists(st.sampled_from(tag_set(["x", "y"])), min_size=1, max_size=12).map(to_iob2)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-x I-x O S-y B-y E-y", "O B-x I-x O B-y B-y I-y"),
        ("B-x M-x E-x O S-y O O", "B-x I-x I-x O B-y O O"),
        ("B-x I-x L-x O U-y O O", "B-x I-x I-x O B-y O O"),
        ("I-x I-x I-y O I-y O O", "B-x I-x B-y O B-y O O"),
    ],
    ids=["BIOES", "BMES", "BILOU", "IOB1"],
)
def test_every_known_scheme_becomes_iob2(tags: str, expected: str) -> None:
    assert to_iob2(tags.split()) == tuple(expected.split())


@given(legal_tags)
def test_iob2_stays_as_it_is(tags: tuple[str, ...]) -> None:
    assert to_iob2(tags) == tags


@given(legal_tags)
def test_tags_and_entities_are_two_ways_to_say_the_same(tags: tuple[str, ...]) -> None:
    text = " ".join("w" * len(tags))
    units = split_units(text)
    assert entities_to_tags(tags_to_entities(tags, units, text), units) == tags


def test_entities_carry_exact_characters() -> None:
    text = "In New York 下雪 了"
    entities = tags_to_entities(["O", "B-place", "I-place", "B-w", "I-w", "O"], split_units(text), text)
    assert [(e.label, e.start, e.end, e.text) for e in entities] == [
        ("place", 3, 11, "New York"),
        ("w", 12, 14, "下雪"),
    ]


def test_an_entity_is_as_sure_as_all_its_tags_together() -> None:
    (entity,) = tags_to_entities(["B-x", "I-x", "O"], split_units("a b c"), "a b c", probs=[0.5, 0.5, 0.9])
    assert entity.score == 0.25


def test_of_overlapping_entities_the_longer_is_kept() -> None:
    short, long = (Entity(label=label, start=0, end=end, text="") for label, end in [("s", 3), ("l", 7)])
    assert entities_to_tags([short, long], split_units("one two")) == ("B-l", "I-l")


def test_an_entity_without_a_word_is_refused() -> None:
    with pytest.raises(DataError, match="holds no word"):
        entities_to_tags([Entity(label="x", start=1, end=2, text=" ")], split_units("a b"))


@pytest.mark.parametrize("tag", ["X", "B", "B-", "Q-x", "b-x"])
def test_an_unknown_tag_is_named(tag: str) -> None:
    with pytest.raises(DataError, match=repr(tag)):
        to_iob2(["O", tag])


def test_labels_are_collected_without_their_prefixes() -> None:
    assert entity_labels(["O", "B-y", "I-x", "B-x"]) == ("x", "y")


def test_marked_text_shows_every_entity() -> None:
    entities = [Entity(label="place", start=3, end=11, text="New York")]
    assert mark_entities("In New York.", entities) == "In [New York](place)."
