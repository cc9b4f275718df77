"""Scores of generated text beside real text, against the official scorers called by themselves."""

from __future__ import annotations

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from banyan.workflows.text_samples import TextSamples
from banyan.workflows.text_scores import TextComparison, compare_samples

REAL = ("The cat sat on the mat today.", "A dog ran home, and the cat slept.")
GENERATED = ("The cat sat on a mat.", "A dog ran and a dog ran and a dog ran.")


def compared(real: tuple[str, ...], generated: tuple[str, ...]) -> TextComparison:
    samples = TextSamples(prompts=("",) * len(real), real=real, generated=generated, is_paired=True)
    return compare_samples(samples, likelihoods=None, training=None)


def test_bleu_and_chrf_are_those_of_sacrebleu() -> None:
    found = compared(REAL, GENERATED)
    bleu = sacrebleu.corpus_bleu(list(GENERATED), [list(REAL)])
    assert found.named("BLEU").generated.value == pytest.approx(bleu.score)
    assert found.named("chrF").generated.value == pytest.approx(
        sacrebleu.corpus_chrf(list(GENERATED), [list(REAL)]).score
    )
    assert "tok:13a" in found.signatures["BLEU"]


def test_chinese_bleu_is_by_character() -> None:
    real, generated = ("今天天气很好我们去看树",), ("今天天气不好我们去看花",)
    expected = sacrebleu.corpus_bleu(list(generated), [list(real)], tokenize="zh")
    assert compared(real, generated).named("BLEU").generated.value == pytest.approx(expected.score)


def test_rouge_is_that_of_rouge_score() -> None:
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    pairs = [scorer.score(real, generated) for real, generated in zip(REAL, GENERATED, strict=True)]
    found = compared(REAL, GENERATED)
    for name, key in (("ROUGE-1", "rouge1"), ("ROUGE-2", "rouge2"), ("ROUGE-L", "rougeL")):
        expected = sum(pair[key].fmeasure for pair in pairs) / len(pairs)
        assert found.named(name).generated.value == pytest.approx(expected)


def test_the_same_text_on_both_sides_is_alike_in_everything() -> None:
    found = compared(REAL, REAL)
    assert found.named("BLEU").generated.value == pytest.approx(100)
    assert found.named("in real text-4").generated.value == 1
    assert all(score.real is None or score.real.value == score.generated.value for score in found.scores)


def test_a_text_that_repeats_itself_scores_so() -> None:
    found = compared(REAL, GENERATED)
    repetition = found.named("seq-rep-2")
    assert repetition.real is not None and repetition.generated.value > repetition.real.value
    assert repetition.generated.interval is not None


def test_what_was_learned_is_told_from_what_was_not() -> None:
    samples = TextSamples(prompts=("", ""), real=REAL, generated=GENERATED, is_paired=True)
    found = compare_samples(samples, likelihoods=None, training=iter(["x the cat sat on the mat", "today"]))
    copied = found.named("in training text-4")
    # The cat sat on the mat today . | A dog ran home , and the cat slept . → 3 of 5 + 0 of 7
    assert copied.real is not None and copied.real.value == pytest.approx(3 / (5 + 7))
    assert copied.generated.value == pytest.approx(1 / (4 + 9))
