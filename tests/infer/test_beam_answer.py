"""Beam search through the whole engine: beside transformers on the same weights, and beside other requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from banyan.core.errors import ConfigError
from banyan.core.types import FinishReason
from banyan.infer.engine import Engine
from banyan.infer.sampling import GREEDY, SamplingConfig
from banyan.model.checkpoint import save_model
from banyan.model.transformer import Transformer
from banyan.testing.prompts import STOP, VOCABULARY, make_model, picture_prompt, text_prompt

TEXTS = ("The banyan grows", "def add(", "独木成林：", "What?")
BEAMS = SamplingConfig(num_beams=3, length_penalty=1.0)
DRAWN = SamplingConfig(temperature=1.0, seed=3)


@pytest.fixture(scope="module")
def model() -> Transformer:
    return make_model()


@pytest.fixture(scope="module")
def engine(model: Transformer) -> Iterator[Engine]:
    with Engine(model, VOCABULARY, num_slots=5) as engine:
        yield engine


@pytest.fixture(scope="module")
def foreign(model: Transformer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the same weights in transformers."""
    directory: Path = tmp_path_factory.mktemp("hf")
    save_model(model, directory, bos_id=VOCABULARY.bos_id, eos_ids=STOP, pad_id=VOCABULARY.pad_id)
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()


@pytest.mark.parametrize(
    "asked",
    [
        {"num_beams": 2},
        {"num_beams": 4, "length_penalty": 0.0},
        {"num_beams": 5, "length_penalty": 2.0},
        {"num_beams": 3, "length_penalty": -1.0, "min_tokens": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("text", TEXTS)
def test_the_answer_is_that_of_transformers(engine: Engine, foreign: Any, text: str, asked: dict[str, Any]) -> None:
    prompt, sampling = text_prompt(text, max_tokens=10), SamplingConfig(**asked)
    special = [[token] for token in range(VOCABULARY.text_size) if not VOCABULARY.is_text(token) and token not in STOP]
    with torch.inference_mode():
        [expected] = foreign.generate(
            torch.tensor([prompt.token_ids]),
            do_sample=False,
            num_beams=sampling.num_beams,
            length_penalty=sampling.length_penalty,
            min_new_tokens=sampling.min_tokens or None,
            max_new_tokens=10,
            bad_words_ids=special,
        )
    said = [token for token in expected[len(prompt) :].tolist() if token not in (*STOP, VOCABULARY.pad_id)]
    [completion] = engine.complete([prompt], sampling)
    assert list(completion.token_ids) == said
    assert completion.text == VOCABULARY.decode(said)


def test_a_search_has_the_same_bits_alone_and_among_others(engine: Engine) -> None:
    work = [(text_prompt(text, max_tokens=12), sampling) for text in TEXTS for sampling in (BEAMS, DRAWN, GREEDY)]
    work += [(picture_prompt("x"), replace(DRAWN, guidance_scale=2.0)), (text_prompt("a"), replace(BEAMS, num_beams=5))]
    alone = [engine.complete([prompt], sampling)[0] for prompt, sampling in work]
    together = engine.complete([prompt for prompt, _ in work], [sampling for _, sampling in work])
    assert together == alone  # log-probabilities too, to the last digit


def test_a_search_finds_what_is_at_least_as_likely_as_the_greedy_answer(engine: Engine) -> None:
    for text in TEXTS:
        prompt = text_prompt(text, max_tokens=6)
        wide, narrow = engine.complete([prompt, prompt], [replace(BEAMS, num_beams=5, length_penalty=0.0), GREEDY])
        if FinishReason.STOP not in (wide.finish_reason, narrow.finish_reason):
            assert sum(wide.token_log_probs) >= sum(narrow.token_log_probs) - 1e-4


@pytest.mark.parametrize("sampling", [BEAMS, GREEDY], ids=["search", "greedy"])
def test_no_run_of_tokens_comes_twice_and_no_answer_is_too_short(engine: Engine, sampling: SamplingConfig) -> None:
    asked = replace(sampling, no_repeat_ngram=1, min_tokens=7)
    for completion in engine.complete([text_prompt(text, max_tokens=20) for text in TEXTS], asked):
        assert len(set(completion.token_ids)) == len(completion.token_ids) >= 7


def test_listeners_hear_the_whole_answer_at_its_end(engine: Engine) -> None:
    heard: list[tuple[int, float]] = []
    pieces: list[str] = []
    ticket = engine.submit(
        text_prompt("独木", max_tokens=9), BEAMS, on_token=lambda *token: heard.append(token), on_text=pieces.append
    )
    completion = ticket.result(30)
    assert heard == list(zip(completion.token_ids, completion.token_log_probs, strict=True))
    assert pieces == [completion.text]


def test_a_search_that_is_given_up_frees_its_slots(engine: Engine) -> None:
    ticket = engine.submit(text_prompt("The", max_tokens=40), replace(BEAMS, num_beams=5, min_tokens=40))
    ticket.cancel()
    assert len(engine.submit(text_prompt("The", max_tokens=3), replace(BEAMS, num_beams=5)).result(30).token_ids) <= 3
    assert engine.num_live == 0


def test_what_cannot_be_searched_is_refused(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="num_beams=6 cannot be searched at once; the engine has 5 slots"):
        engine.complete([text_prompt("The")], replace(BEAMS, num_beams=6))
    with pytest.raises(ConfigError, match="draws pictures"):
        engine.complete([picture_prompt("x")], BEAMS)
