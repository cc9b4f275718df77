"""Attributions add up where they must, and agree with plain loops."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest
import torch
from torch.func import functional_call

from banyan.core.errors import MissingExtraError
from banyan.core.types import HeadKind, HeadSpec, LabelSet, MaskKind, Prompt, Span
from banyan.infer.attribution import integrated_gradients, occlusion, require_captum
from banyan.infer.decisions import Decision, HeadDecision, SpanDecision, TextDecision, WordLabelDecision
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.prompts import HEADS, VOCABULARY, make_model, scoring_prompts, text_prompt

BLANK = VOCABULARY.encode(" ")[-1]
TEXT = "the banyan 独木成林"
KINDS = ("label", "label in words", "tags", "span", "text")


@pytest.fixture(scope="module")
def model() -> Transformer:
    return make_model()


def decision_of(kind: str) -> Decision:
    by_head, by_words, _, tags, span = scoring_prompts(TEXT)
    if kind == "label":
        return HeadDecision(prompt=by_head, head="sky", positions=(len(by_head) - 1,), chosen=(1,))
    if kind == "label in words":
        assert isinstance(by_words.decoding, LabelSet)
        return WordLabelDecision(prompt=by_words, label_token_ids=by_words.decoding.label_token_ids, chosen=1)
    if kind == "tags":
        return HeadDecision(prompt=tags, head="names", positions=(2, 3), chosen=(1, 2))
    if kind == "span":
        assert isinstance(span.decoding, Span)
        return SpanDecision(prompt=span, decoding=span.decoding, span=(3, 5))
    return TextDecision(prompt=text_prompt(TEXT), answer_ids=tuple(VOCABULARY.encode("grows")), first=1)


def groups_of(prompt: Prompt) -> list[tuple[int, ...]]:
    """Two tokens to a word; the first and the last token are the format's."""
    return [tuple(range(at, min(at + 2, len(prompt) - 1))) for at in range(1, len(prompt) - 1, 2)]


def blanked(prompt: Prompt, positions: Sequence[int]) -> torch.Tensor:
    return torch.tensor([[BLANK if at in positions else own for at, own in enumerate(prompt.token_ids)]])


@pytest.mark.parametrize("kind", KINDS)
def test_integrated_gradients_add_up_to_the_difference_of_the_scores(model: Transformer, kind: str) -> None:
    decision = decision_of(kind)
    groups = groups_of(decision.prompt)
    found = integrated_gradients(model, decision, groups, blank_id=BLANK)
    with torch.no_grad():
        whole = float(decision.log_odds(model, blanked(decision.prompt, ())))
        blank = float(decision.log_odds(model, blanked(decision.prompt, [at for group in groups for at in group])))
    assert (found.log_odds, found.blank_log_odds) == pytest.approx((whole, blank), abs=1e-6)
    assert sum(found.values) == pytest.approx(whole - blank, abs=0.011 * abs(whole - blank))
    assert found.gap == pytest.approx(sum(found.values) - (whole - blank), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_occlusion_is_what_a_plain_loop_finds(model: Transformer, kind: str) -> None:
    decision = decision_of(kind)
    groups = groups_of(decision.prompt)
    found = occlusion(model, decision, groups, blank_id=BLANK)
    with torch.no_grad():
        whole = decision.log_odds(model, blanked(decision.prompt, ()))
        expected = [float(whole - decision.log_odds(model, blanked(decision.prompt, group))) for group in groups]
    assert found.values == pytest.approx(expected, abs=1e-4)
    assert found.gap is None


def test_integrated_gradients_are_what_a_plain_sum_over_the_way_finds() -> None:
    """Held against a midpoint sum in which the embedding table itself is moved, so no code is shared with ours."""
    vocabulary_rows = tiny_model_config().vocab_size
    model = tiny_model(heads=[HeadSpec(name="sky", kind=HeadKind.CLASSIFICATION, labels=("a", "b"))], std=0.3)
    ids, blank = (5, 6, 7), 9  # every word once, so that a row of the table is a place in the text
    decoding = LabelSet(labels=("a", "b"), head="sky")
    prompt = Prompt(task="t", token_ids=ids, mask=MaskKind.CAUSAL, decoding=decoding)
    decision = HeadDecision(prompt=prompt, head="sky", positions=(2,), chosen=(0,))
    found = integrated_gradients(model, decision, [(0,), (1,), (2,)], blank_id=blank)

    table = model.embedding.weight.detach()
    away = torch.zeros(vocabulary_rows, table.shape[1])
    away[list(ids)] = table[list(ids)] - table[blank]
    summed, num_points = torch.zeros_like(away), 400
    for point in range(num_points):
        moved = (table - away * (1 - (point + 0.5) / num_points)).requires_grad_()
        hidden = functional_call(model, {"embedding.weight": moved}, (torch.tensor([ids]),))
        logits = model.head_logits("sky", hidden[0, 2])
        summed += torch.autograd.grad(logits[0] - logits[1], moved)[0] / num_points
    assert found.values == pytest.approx((summed * away).sum(dim=1)[list(ids)].tolist(), abs=2e-3)


def test_a_model_that_looks_back_before_its_first_layer_adds_up_too() -> None:
    config = tiny_model_config(vocab_size=VOCABULARY.size, num_image_codes=16, grid_size=3, lookback=2)
    model, decision = tiny_model(config, HEADS, std=0.3), decision_of("label")
    found = integrated_gradients(model, decision, groups_of(decision.prompt), blank_id=BLANK)
    difference = found.log_odds - found.blank_log_odds
    assert sum(found.values) == pytest.approx(difference, abs=0.011 * abs(difference))


def test_the_model_is_left_as_it_was(model: Transformer) -> None:
    integrated_gradients(model, decision_of("label"), groups_of(decision_of("label").prompt), blank_id=BLANK)
    assert not model.embedding._forward_hooks
    assert all(weight.grad is None for weight in model.parameters())


def test_without_captum_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(MissingExtraError, match="needs the package captum") as caught:
        require_captum()
    assert caught.value.hint == 'pip install "banyan-gpt[explain]"'
