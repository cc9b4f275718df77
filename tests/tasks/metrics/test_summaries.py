import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from banyan.tasks.metrics.summaries import measure_summaries

NAMES = ["rouge1", "rouge2", "rougeL"]
text = st.lists(st.sampled_from(["The", "trees", "growing", "grow", "a", "Füße", "2024", "well-known", "."])).map(
    " ".join
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(text, text), min_size=1, max_size=4))
def test_english_is_scored_as_rouge_score_does(pairs: list[tuple[str, str]]) -> None:
    official = RougeScorer(NAMES, use_stemmer=True)
    scores = measure_summaries([[due] for due, _ in pairs], [given_ for _, given_ in pairs]).scores()
    for name in NAMES:
        mean = sum(official.score(due, given_)[name].fmeasure for due, given_ in pairs) / len(pairs)
        assert scores[name] == pytest.approx(mean)


def test_of_several_references_the_best_counts_as_in_rouge_score() -> None:
    references = ["the banyan grows", "one tree is a forest"]
    official = RougeScorer(NAMES, use_stemmer=True).score_multi(references, "one tree grows")
    scores = measure_summaries([references], ["one tree grows"]).scores()
    assert scores == {name: pytest.approx(official[name].fmeasure) for name in NAMES}


def test_chinese_is_scored_by_character() -> None:
    scores = measure_summaries([["独木成林"]], ["独木NBA成舟"]).scores()
    # 5 tokens against 4: 独 木 成 are common, the one common pair is 独木
    assert scores["rouge1"] == pytest.approx(2 * 3 / (4 + 5))
    assert scores["rouge2"] == pytest.approx(2 * 1 / (3 + 4))
    assert scores["rougeL"] == pytest.approx(2 * 3 / (4 + 5))
