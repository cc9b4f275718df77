import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.tasks.metrics.translations import ScoredTranslation, measure_translations

german = st.lists(st.sampled_from(["Der", "Baum", "wächst", ",", "groß", "im", "Wald", "."]), max_size=10).map(" ".join)


def items(pairs: list[tuple[str, str]], language: str = "de", **fields: object) -> list[ScoredTranslation]:
    return [
        ScoredTranslation(
            **{"target_language": language, "group": f"en>{language}", "references": (due,), "answer": given_, **fields}
        )
        for due, given_ in pairs
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(german.filter(bool), german), min_size=1, max_size=5))
def test_scores_are_sacrebleus_over_the_corpus(pairs: list[tuple[str, str]]) -> None:
    references, answers = [[due for due, _ in pairs]], [given_ for _, given_ in pairs]
    scores = measure_translations(items(pairs)).scores()
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(answers, references, force=True).score)
    assert scores["chrf"] == pytest.approx(sacrebleu.corpus_chrf(answers, references).score)


def test_chinese_is_cut_by_sacrebleus_chinese_tokenizer() -> None:
    pairs = [("一棵树成为一片森林。", "一棵树是一片森林。"), ("今天天气很好", "今天很好")]
    measured = measure_translations(items(pairs, "zh"))
    official = sacrebleu.corpus_bleu([pair[1] for pair in pairs], [[pair[0] for pair in pairs]], tokenize="zh")
    assert measured.scores()["bleu"] == pytest.approx(official.score)
    assert "tok:zh" in measured.signatures["bleu/en>zh"]
    assert "version:" in measured.signatures["chrf/en>zh"]


@pytest.mark.parametrize("language", ["zh-Hant", "zh_CN", "cmn", "Chinese", "ZH"])
def test_chinese_under_any_of_its_names_is_cut_as_chinese(language: str) -> None:
    measured = measure_translations(items([("今天天气很好", "今天很好")], language))
    assert "tok:zh" in measured.signatures["bleu"] and measured.scores()["bleu"] > 0


def test_several_references_may_differ_in_number() -> None:
    scored = [
        *items([("x", "the big tree")], references=("a big tree", "the big tree")),
        *items([("x", "the old wood")], references=("the old forest",)),
    ]
    official = sacrebleu.BLEU(force=True).corpus_score(
        ["the big tree", "the old wood"], [["a big tree", "the old forest"], ["the big tree", None]]
    )
    assert measure_translations(scored).scores()["bleu"] == pytest.approx(official.score)


def test_the_average_is_over_directions_not_over_sentences() -> None:
    scored = [*items([("ja", "ja")] * 3), *items([("是", "否")], "zh")]
    assert measure_translations(scored).scores()["exact_match"] == 0.5


def test_a_group_reported_apart_is_not_in_the_average() -> None:
    scored = [*items([("ja", "ja")]), *items([("Anna", "Ana")], group="en>de/names", is_apart=True)]
    scores = measure_translations(scored).scores()
    assert (scores["exact_match"], scores["exact_match/en>de/names"]) == (1.0, 0.0)


def test_where_all_groups_are_apart_they_are_the_average() -> None:
    scores = measure_translations(items([("Anna", "Anna")], group="en>de/names", is_apart=True)).scores()
    assert scores["exact_match"] == 1.0


def test_a_resampled_corpus_scores_as_its_sentences_do() -> None:
    pairs = [("Der Baum wächst .", "Der Baum ."), ("im Wald", "im Wald"), ("groß", "klein")]
    measured = measure_translations(items(pairs))
    counts = np.array([2.0, 0.0, 1.0])
    drawn = items([pairs[0], pairs[0], pairs[2]])
    assert measured.summarize(counts @ measured.statistics) == pytest.approx(measure_translations(drawn).scores())
