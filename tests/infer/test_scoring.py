import dataclasses

import pytest
import torch

from banyan.core.types import Completion, HeadKind, HeadSpec, LabelSet, Span, Text
from banyan.infer.forward import Row
from banyan.infer.scoring import ScoringJob, question_of, run_jobs
from banyan.infer.spans import best_span
from banyan.model.matches import match_features
from banyan.model.ngrams import ReadTokens
from banyan.testing.models import tiny_model
from banyan.testing.prompts import LABELS, make_model, scoring_prompts, text_prompt

MODEL = make_model()


def jobs() -> list[ScoringJob]:
    questions = [question_of(prompt) for text in ("The banyan", "def add(") for prompt in scoring_prompts(text)]
    return [ScoringJob(question) for question in questions if question is not None]


def test_every_closed_decoding_is_a_question_and_free_text_is_none() -> None:
    assert len(jobs()) == len(scoring_prompts("x")) * 2
    prompt = text_prompt("x")
    assert isinstance(prompt.decoding, Text) and question_of(prompt) is None


@torch.inference_mode()
def test_a_question_that_breaks_the_batch_fails_alone() -> None:
    class Broken:
        rows = (Row(token_ids=(10**9,), mask=text_prompt("x").mask, prefix_len=0, positions=(0,)),)

    good, bad = jobs(), ScoringJob(Broken())  # type: ignore[arg-type]
    run_jobs(MODEL, [*good[:3], bad, *good[3:]], max_batch_tokens=1000)
    with pytest.raises(IndexError):
        bad.ticket.result(0)
    assert all(isinstance(job.ticket.result(0), Completion) for job in good)


@torch.inference_mode()
def test_a_question_whose_answer_cannot_be_read_fails_alone() -> None:
    class Unreadable:
        rows = (Row(token_ids=(5,), mask=text_prompt("x").mask, prefix_len=0, positions=(0,)),)

        def answer(self, *_: object) -> None:
            raise KeyError("no such head")

    good, bad = jobs(), ScoringJob(Unreadable())  # type: ignore[arg-type]
    run_jobs(MODEL, [bad, *good], max_batch_tokens=1000)
    with pytest.raises(KeyError):
        bad.ticket.result(0)
    assert all(job.ticket.result(0) for job in good)


def test_a_job_costs_the_tokens_of_all_its_rows_and_no_slot() -> None:
    for job in jobs():
        assert (job.num_tokens, job.num_slots) == (sum(len(row) for row in job.rows), 0)


@torch.inference_mode()
def test_a_label_can_be_read_from_the_mean_of_the_whole_prompt() -> None:
    asked = scoring_prompts("The banyan")[0]
    prompt = dataclasses.replace(asked, decoding=LabelSet(labels=LABELS, head="sky", pooling="mean"))
    question = question_of(prompt)
    assert question is not None
    run_jobs(MODEL, [job := ScoringJob(question)], max_batch_tokens=1000)
    length = len(prompt)
    hidden_TD = MODEL(torch.tensor([prompt.token_ids]), attend_until_BT=torch.full((1, length), length - 1))[0]
    expected_L = MODEL.head_logits("sky", hidden_TD.double().mean(dim=0).float()).double().softmax(-1)
    torch.testing.assert_close(
        torch.tensor(job.ticket.result(0).label_probs).double(), expected_L, rtol=1e-5, atol=1e-6
    )


@torch.inference_mode()
def test_a_head_with_a_table_is_asked_with_the_tokens_of_the_prompt() -> None:
    asked = scoring_prompts("The banyan")[0]
    wide = HeadSpec(name="sky", kind=HeadKind.CLASSIFICATION, labels=LABELS, pooling="mean", ngram_buckets=32)
    model = tiny_model(MODEL.config, (wide,), std=0.3)
    question = question_of(dataclasses.replace(asked, decoding=LabelSet(labels=LABELS, head="sky", pooling="mean")))
    assert question is not None
    run_jobs(model, [job := ScoringJob(question)], max_batch_tokens=1000)
    ids = torch.tensor([asked.token_ids])
    mean_1D = model(ids, attend_until_BT=torch.full_like(ids, len(asked) - 1)).mean(dim=1)
    expected = model.head_logits("sky", mean_1D, tokens=ReadTokens.of_rows(ids))[0].double().softmax(-1)
    torch.testing.assert_close(torch.tensor(job.ticket.result(0).label_probs).double(), expected, rtol=1e-5, atol=1e-6)


@torch.inference_mode()
def test_a_head_that_looks_for_matches_is_told_where_the_context_lies() -> None:
    asked = next(prompt for prompt in scoring_prompts("The banyan and the") if isinstance(prompt.decoding, Span))
    reader = HeadSpec(name="answers", kind=HeadKind.SPAN, reads_matches=True)
    model = tiny_model(MODEL.config, (reader,), std=0.3)
    question = question_of(asked)
    assert question is not None and isinstance(asked.decoding, Span)
    run_jobs(model, [job := ScoringJob(question)], max_batch_tokens=1000)
    ids, context = torch.tensor([asked.token_ids]), (asked.decoding.first, asked.decoding.last)
    hidden_TD = model(ids, attend_until_BT=torch.full_like(ids, len(asked) - 1))[0]
    features_TF = match_features(ReadTokens.of_rows(ids, context=context))
    layer = model.heads["answers"]
    assert layer.matches is not None
    both_T2 = (layer(hidden_TD) + layer.matches(features_TF)) / 2
    span, prob = best_span(both_T2, asked.decoding)
    found = job.ticket.result(0)
    assert found.span == span and found.span_prob == pytest.approx(prob, rel=1e-4)
