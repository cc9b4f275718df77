"""Words in context, against a float64 loop over single forward passes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from banyan.core.errors import ConfigError
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.testing.foreign_models import save_tiny_foreign_model
from banyan.testing.model_directories import save_tiny_model
from banyan.workflows.word_report import WordReport, report_words

WORDS = ("tree", "独木", "forest tree", "zzz")
CONTEXTS = ("The banyan grows one {word} at a time", "{word}", "今天{word}")


@pytest.fixture(scope="module", params=["banyan", "llama2", "qwen3"])
def model(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[LoadedModel]:
    """A model of our own, and imported ones with a SentencePiece and a byte-level tokenizer."""
    directory = tmp_path_factory.mktemp("models") / "tiny"
    if request.param == "banyan":
        save_tiny_model(directory)
    else:
        save_tiny_foreign_model(request.param, directory, max_seq_len=96)
    with load(directory, device="cpu", num_slots=4) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def report(model: LoadedModel) -> WordReport:
    return report_words(model, WORDS, CONTEXTS, top_k=3, continue_tokens=4)


def log_probs_after(model: LoadedModel, token_ids: list[int]) -> torch.Tensor:
    """Log-probabilities of every next token, in double precision."""
    with torch.inference_mode():
        hidden = model.model(torch.tensor([token_ids]))[0, -1]
        return model.model.logits(hidden).double().log_softmax(dim=-1)


def test_a_words_log_prob_is_the_sum_over_its_pieces_one_pass_each(model: LoadedModel, report: WordReport) -> None:
    vocabulary = model.vocabulary
    for score in report.scores:
        before, after = score.context.split("{word}")
        head = before.rstrip()
        ids = list(model.continuation(head)[0].token_ids)
        expected = rest = 0.0
        cut = vocabulary.encode_inside if head else vocabulary.encode
        for token_id in cut(before[len(head) :] + score.word):
            expected += log_probs_after(model, ids)[token_id].item()
            ids.append(token_id)
        for token_id in vocabulary.encode_inside(after) if after else ():
            rest += log_probs_after(model, ids)[token_id].item()
            ids.append(token_id)
        assert score.log_prob == pytest.approx(expected, abs=1e-4)
        assert (score.rest_log_prob or 0.0) == pytest.approx(rest, abs=1e-4)


def test_the_pieces_joined_are_the_word_with_the_space_before_it(report: WordReport) -> None:
    first = report.scores[0]
    assert "".join(first.pieces) == " tree"
    assert first.log_prob_per_piece == pytest.approx(first.log_prob / len(first.pieces))
    assert first.bits_per_byte == pytest.approx(-first.log_prob / math.log(2) / len(" tree"))


def test_the_rank_counts_what_is_likelier_than_the_first_piece(model: LoadedModel, report: WordReport) -> None:
    score = next(score for score in report.scores if (score.context, score.word) == ("{word}", "zzz"))
    log_probs = log_probs_after(model, list(model.continuation("")[0].token_ids))
    own = log_probs[model.vocabulary.encode("zzz")[0]]
    assert score.first_rank == 1 + sum(value > own for value in log_probs.tolist())


def test_the_models_own_pieces_are_its_likeliest(model: LoadedModel, report: WordReport) -> None:
    ids = list(model.continuation("The banyan grows one")[0].token_ids)
    expected = log_probs_after(model, ids).exp().sort(descending=True).values[:3]
    found = report.next_pieces[CONTEXTS[0]]
    assert [piece.probability for piece in found] == pytest.approx(expected.tolist(), abs=1e-5)


def test_what_follows_a_word_is_what_the_model_generates_greedily(model: LoadedModel, report: WordReport) -> None:
    score = report.scores[0]
    expected = model.generate("The banyan grows one tree", max_tokens=4, temperature=0)
    assert (score.continuation or "").strip() == expected.strip()


def test_without_pieces_to_go_on_with_nothing_is_generated(model: LoadedModel) -> None:
    report = report_words(model, ["tree"], top_k=0, continue_tokens=0)
    assert [score.continuation for score in report.scores] == [None] and not report.next_pieces


def test_a_word_that_does_not_fit_the_context_is_named(model: LoadedModel) -> None:
    report = report_words(model, ["tree", "z" * 500], continue_tokens=2)
    assert report.too_long == ("z" * 500,) and [score.word for score in report.scores] == ["tree"]


@pytest.mark.parametrize("context", ["no place", "{word} and {word}"])
def test_a_context_holds_its_place_once(model: LoadedModel, context: str) -> None:
    with pytest.raises(ConfigError, match="must hold it once"):
        report_words(model, ["tree"], [context])
