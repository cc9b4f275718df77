"""A decision's log-odds are those of the probability that the engine answers with."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from banyan.core.errors import InputError
from banyan.core.types import Completion, LabelSet, Prompt, Span
from banyan.infer.decisions import HeadDecision, SpanDecision, TextDecision, WordLabelDecision, log_odds
from banyan.infer.scoring import ScoringJob, question_of, run_jobs
from banyan.model.transformer import Transformer
from banyan.testing.prompts import VOCABULARY, make_model, scoring_prompts, text_prompt

LABEL, WORDS, MEAN_WORDS, TAGS, SPAN = range(5)


@pytest.fixture(scope="module")
def model() -> Transformer:
    return make_model()


@pytest.fixture(autouse=True)
def _nothing_is_learned() -> Iterator[None]:
    with torch.no_grad():
        yield


def answered(model: Transformer, prompt: Prompt) -> Completion:
    question = question_of(prompt)
    assert question is not None
    job = ScoringJob(question)
    run_jobs(model, [job], max_batch_tokens=512)
    return job.ticket.result()


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def ids_of(prompt: Prompt) -> torch.Tensor:
    return torch.tensor([prompt.token_ids])


@pytest.mark.parametrize("number", [LABEL, WORDS, MEAN_WORDS], ids=["by a head", "by words", "by the mean of words"])
def test_a_label_is_as_likely_as_the_engine_says(model: Transformer, number: int) -> None:
    prompt = scoring_prompts("the banyan, 独木成林")[number]
    assert isinstance(prompt.decoding, LabelSet)
    for chosen, probability in enumerate(answered(model, prompt).label_probs):
        if prompt.decoding.head is None:
            words, by_mean = prompt.decoding.label_token_ids, prompt.decoding.length_normalised
            decision: HeadDecision | WordLabelDecision = WordLabelDecision(
                prompt=prompt, label_token_ids=words, chosen=chosen, length_normalised=by_mean
            )
        else:
            last = len(prompt) - 1
            decision = HeadDecision(prompt=prompt, head="sky", positions=(last,), chosen=(chosen,))
        assert float(decision.log_odds(model, ids_of(prompt))) == pytest.approx(logit(probability), abs=1e-4)


def test_rows_are_decided_each_for_itself(model: Transformer) -> None:
    first, second = (scoring_prompts(text)[SPAN] for text in ("one tree", "the tree"))
    assert len(first) == len(second) and isinstance(first.decoding, Span)
    decision = SpanDecision(prompt=first, decoding=first.decoding, span=(2, 3))
    both = decision.log_odds(model, torch.cat((ids_of(first), ids_of(second))))
    alone = [float(decision.log_odds(model, ids_of(prompt))) for prompt in (first, second)]
    assert both.tolist() == pytest.approx(alone, abs=1e-6) and alone[0] != pytest.approx(alone[1], abs=1e-3)


def test_a_token_of_an_answer_is_judged_behind_those_before_it(model: Transformer) -> None:
    prompt, written = text_prompt("the banyan"), tuple(VOCABULARY.encode("grows"))
    read = torch.tensor([[*prompt.token_ids, *written[:-1]]])
    probs = model.logits(model(read)[0, len(prompt) - 1 :]).softmax(dim=-1)
    expected = [logit(float(row[token_id])) for row, token_id in zip(probs, written, strict=True)]
    for number, odds in enumerate(expected):
        one = TextDecision(prompt=prompt, answer_ids=written, first=number, last=number)
        assert float(one.log_odds(model, ids_of(prompt))) == pytest.approx(odds, abs=1e-4)
    whole = TextDecision(prompt=prompt, answer_ids=written).log_odds(model, ids_of(prompt))
    assert float(whole) == pytest.approx(sum(expected) / len(expected), abs=1e-4)


def test_log_odds_are_the_logit_of_the_softmax() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    probs = logits.double().softmax(dim=-1)[:, range(3), [4, 0, 2]]
    torch.testing.assert_close(log_odds(logits, (4, 0, 2)), (probs / (1 - probs)).log().mean(dim=-1))


def test_where_one_place_is_left_nothing_is_decided() -> None:
    prompt = scoring_prompts("tree")[SPAN]
    with pytest.raises(InputError, match="nothing was decided"):
        SpanDecision(prompt=prompt, decoding=Span(head="answers", first=2, last=2), span=(2, 2))
