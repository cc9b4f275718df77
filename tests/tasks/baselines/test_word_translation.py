import pytest

from banyan.tasks.baselines.word_translation import NO_WORD, learn_lexicon, word_for_word
from banyan.tasks.translation import TranslationExample

PAIRS = [
    (["the", "house"], ["das", "Haus"]),
    (["the", "book"], ["das", "Buch"]),
    (["a", "book"], ["ein", "Buch"]),
    (["a", "a", "red", "house"], ["ein", "rotes", "Haus"]),
]


@pytest.mark.parametrize("num_rounds", [1, 2, 5])
def test_the_lexicon_is_that_of_ibm_model_1(num_rounds: int) -> None:
    translate = pytest.importorskip("nltk.translate")
    known = translate.IBMModel1(
        [translate.AlignedSent(translation, sentence) for sentence, translation in PAIRS], num_rounds
    )
    lexicon = learn_lexicon(PAIRS, num_rounds=num_rounds)
    assert len(lexicon) == 6
    for source, choices in lexicon.items():
        assert sum(choices.values()) == pytest.approx(1)
        for target, prob in choices.items():
            assert prob == pytest.approx(known.translation_table[target][source if source != NO_WORD else None])


def example(text: str, translation: str | None = None, *, direction: str = "en>de") -> TranslationExample:
    source, target = direction.split(">")
    return TranslationExample(text=text, source_language=source, target_language=target, translation=translation)


def test_each_direction_has_a_lexicon_and_unknown_words_stay() -> None:
    train = [example(" ".join(sentence), " ".join(translation)) for sentence, translation in PAIRS]
    train += [example("两棵树", "two trees", direction="zh>en"), example("两本书", "two books", direction="zh>en")]
    answers = word_for_word("mt", train)([
        example("The red book, Anna."),
        example("两人。", direction="zh>en"),
        example("a tree", direction="en>fr"),
    ])  # fmt: skip
    assert [prediction.text for prediction in answers] == ["das rotes Buch, Anna.", "two人。", "a tree"]


def test_a_text_without_words_is_its_own_translation() -> None:
    (prediction,) = word_for_word("mt", [example("a", "ein")])([example(" \n")])
    assert prediction.text == " \n"
