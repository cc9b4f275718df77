from typing import Any

import numpy as np
import pytest

from banyan.core.types import HeadKind
from banyan.tasks.augmentation.augmenter import Augmenter, Lexicon, ModelKnowledge, build_lexicon
from banyan.tasks.augmentation.config import Augmentation
from banyan.tasks.classification import Classification, ClassificationExample
from banyan.tasks.question_answering import QuestionExample, ReferenceSpan
from banyan.tasks.tagging import TaggingExample
from banyan.tasks.tags import tags_to_entities
from banyan.testing.tasks import CHINESE, ENGLISH, TASKS, VOCABULARY, example_about

NOISE: dict[str, Any] = {
    "share": 1.0,
    "word_dropout": 0.2,
    "word_replacement": 0.2,
    "insert": 0.2,
    "delete": 0.2,
    "swap": 0.2,
}
KINDS = sorted(kind for kind, task in TASKS.items() if task.augmentations)
SEVERAL = f"{ENGLISH} It has roots. {CHINESE}真的吗？是的。\nAn oak stands alone."


def variants(kind: str, example: Any, num: int = 30, **changes: Any) -> list[Any]:
    task = TASKS[kind]
    values = {name: value for name, value in {**NOISE, **changes}.items() if name in {"share", *task.augmentations}}
    augmenter = Augmenter(task, Augmentation(**values), build_lexicon(task, [example]))
    return [augmenter.vary(example, np.random.default_rng(seed)) for seed in range(num)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_wording_follows_from_the_generator_and_can_be_learned_like_the_example(kind: str) -> None:
    example = example_about(kind, SEVERAL)
    found = variants(kind, example, sentence_permutation=0.5)
    assert found == variants(kind, example, sentence_permutation=0.5)
    assert sum(variant != example for variant in found) >= 25
    task = TASKS[kind]
    for variant in found:
        assert task.reference(variant).replace("_", "") and any(
            task.render(variant, VOCABULARY, max_tokens=2000).loss_weights
        )


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_stays_what_it_was(kind: str) -> None:
    example, task = example_about(kind, SEVERAL), TASKS[kind]
    for variant in variants(kind, example, sentence_permutation=0.5):
        if task.head is not None and task.head.kind is HeadKind.TAGGING:
            assert [entity.text for entity in tags_to_entities(variant.tags, variant.units, variant.text)] == ["oak"]
        else:
            assert task.references(variant) == task.references(example)


def test_answers_stand_where_their_spans_say() -> None:
    context = f"oak, {ENGLISH} 一棵树在北京大学里。 New York (USA) has oaks. {CHINESE}"
    answers = tuple(
        ReferenceSpan(text=text, start=context.index(text))
        for text in ("oak", "北京大学", "京大学里", " New York", "USA", "has oaks. ")
    )
    example = QuestionExample(question="which?", context=context, answers=answers)
    moved = 0
    for variant in variants("question_answering", example, num=60, sentence_permutation=0.5):
        assert variant.question == example.question
        for answer in variant.answers:
            assert variant.context[answer.start : answer.end] == answer.text
        moved += variant.answers != answers
    assert moved > 40


def test_every_word_has_its_tag() -> None:
    row = {
        "tokens": ["Ada", "Lovelace", "of", "London", "and", "Paris", "wrote", "it", "."],
        "tags": ["B-tree", "I-tree", "O", "B-place", "O", "B-place", "O", "O", "O"],
    }
    example = TASKS["tagging"].parse(row)
    for variant in variants("tagging", example, num=60):
        assert isinstance(variant, TaggingExample) and variant.tags is not None
        assert len(variant.tags) == len(variant.units)
        entities = tags_to_entities(variant.tags, variant.units, variant.text)
        assert [(e.text, e.label) for e in entities] == [
            ("Ada Lovelace", "tree"),
            ("London", "place"),
            ("Paris", "place"),
        ]
        assert all(variant.text[unit.start : unit.end].strip() for unit in variant.units)


TOPIC = Classification(name="topic", labels=("neg", "pos"))


def test_words_that_give_the_label_away_are_neither_taken_nor_given() -> None:
    label_of = {"good": "pos", "bad": "neg"}
    examples = [
        ClassificationExample(text=f"a {word} film about place{n % 7}", label=label)
        for n in range(30)
        for word, label in label_of.items()
    ]
    near = {"good": ["bad"], "film": ["movie", "bad"], "a": ["bad"]}
    augment = Augmentation(share=1.0, synonyms=0.5, word_replacement=0.5, insert=0.5)
    augmenter = Augmenter(TOPIC, augment, build_lexicon(TOPIC, examples), knowledge=ModelKnowledge(synonyms=near))
    texts = [augmenter.vary(examples[0], np.random.default_rng(seed)).text for seed in range(60)]
    assert all("good" in text and "bad" not in text for text in texts)
    assert any("movie" in text for text in texts)


def test_a_translated_text_takes_the_place_of_the_whole_one_as_often_as_asked() -> None:
    example = ClassificationExample(text="an old tree", label="pos")
    knowledge = ModelKnowledge(translated={"an old tree": "a tree of age"})
    augmenter = Augmenter(TOPIC, Augmentation(share=0.5, back_translation=0.5), Lexicon(counts={}), knowledge=knowledge)
    texts = [augmenter.vary(example, np.random.default_rng(seed)).text for seed in range(400)]
    assert set(texts) == {"an old tree", "a tree of age"}
    assert texts.count("a tree of age") / len(texts) == pytest.approx(0.25, abs=0.07)
