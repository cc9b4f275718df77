"""One engine, several adapters: each request is answered by its own, the same alone and among others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.types import Completion, HeadKind, HeadSpec, LabelSet, MaskKind, Prompt
from banyan.infer.engine import Engine
from banyan.infer.sampling import GREEDY, SamplingConfig
from banyan.model.lora import merge
from banyan.model.transformer import Transformer
from banyan.testing.adapters import give_random_adapter
from banyan.testing.prompts import HEADS, VOCABULARY, make_model, picture_prompt, scoring_prompts, text_prompt

DRAWN = SamplingConfig(temperature=1.0, top_p=0.95, seed=3)
SEA = HeadSpec(name="sky", kind=HeadKind.CLASSIFICATION, labels=("calm", "rough"))  # the name of another head
NAMES = (None, "a", "b", "c")


def model_with_adapters() -> Transformer:
    model = make_model()
    give_random_adapter(model, "a", seed=1)
    give_random_adapter(model, "b", seed=2, rank=2, targets=("qkv",))
    give_random_adapter(model, "c", seed=3, heads=[SEA])
    return model


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(model_with_adapters(), VOCABULARY, num_slots=6) as engine:
        yield engine


def under(engine: Engine, name: str | None) -> Engine:
    return engine if name is None else engine.under(name)


def prompts() -> list[Prompt]:
    return [text_prompt("The banyan grows"), text_prompt("def add(", mask=MaskKind.PREFIX), picture_prompt("a seven")]


def together(engine: Engine, prompt: Prompt, sampling: SamplingConfig) -> dict[str | None, Completion]:
    """Ask all adapters the same thing at once."""
    tickets = {name: under(engine, name).submit(prompt, sampling) for name in NAMES}
    return {name: ticket.result(30) for name, ticket in tickets.items()}


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_an_adapter_answers_as_the_model_does_that_it_is_merged_into(engine: Engine, name: str) -> None:
    merged = model_with_adapters()
    merge(merged, name)
    with Engine(merged, VOCABULARY, num_slots=6) as alone:
        for prompt in prompts():
            [ours], [expected] = engine.under(name).complete([prompt]), alone.complete([prompt])
            assert ours.token_ids == expected.token_ids
            assert ours.token_log_probs == pytest.approx(expected.token_log_probs, abs=1e-4)


def test_a_search_under_an_adapter_has_the_same_bits_alone_and_among_others(engine: Engine) -> None:
    prompt, sampling = text_prompt("The banyan grows"), SamplingConfig(num_beams=3)
    alone = {name: under(engine, name).complete([prompt], sampling)[0] for name in NAMES}
    assert together(engine, prompt, sampling) == alone
    assert len({completion.token_log_probs for completion in alone.values()}) == len(NAMES)


@pytest.mark.parametrize("sampling", [GREEDY, replace(DRAWN, guidance_scale=2.0)], ids=["greedy", "drawn"])
def test_an_answer_under_an_adapter_has_the_same_bits_alone_and_among_others(
    engine: Engine, sampling: SamplingConfig
) -> None:
    for prompt in prompts():
        alone = {name: under(engine, name).complete([prompt], sampling)[0] for name in NAMES}
        assert together(engine, prompt, sampling) == alone  # log-probabilities too, to the last digit
        assert len({completion.token_log_probs for completion in alone.values()}) == len(NAMES)


def test_a_slot_never_goes_on_with_what_another_adapter_has_read(engine: Engine) -> None:
    prompt = text_prompt("The banyan grows")
    expected = {name: under(engine, name).complete([prompt])[0] for name in NAMES}
    for name in ("a", None, "a", "b", None, "c"):  # one after the other in the same slot
        assert under(engine, name).complete([prompt])[0] == expected[name]


def test_a_further_adapter_does_not_change_an_answer_by_one_bit() -> None:
    model = make_model()
    give_random_adapter(model, "a", seed=1)
    with Engine(model, VOCABULARY, num_slots=4) as engine:
        before = [under(engine, name).complete([text_prompt("What?")])[0] for name in (None, "a")]
        give_random_adapter(model, "z", seed=9, rank=16)  # while the engine is at work
        assert [under(engine, name).complete([text_prompt("What?")])[0] for name in (None, "a")] == before


def test_chosen_answers_and_likelihoods_go_through_the_adapter(engine: Engine) -> None:
    for prompt in scoring_prompts("The banyan"):
        tickets = {name: under(engine, name).submit(prompt) for name in (None, "a", "b")}
        found = {name: ticket.result(30) for name, ticket in tickets.items()}
        merged = make_model()
        give_random_adapter(merged, "a", seed=1)
        merge(merged, "a")
        with Engine(merged, VOCABULARY, num_slots=1) as alone:
            [expected] = alone.complete([prompt])
        for field in ("label_probs", "tag_probs", "span_prob"):
            assert getattr(found["a"], field) == pytest.approx(getattr(expected, field), abs=1e-4)
        assert found["a"] != found[None] != found["b"]
    texts = ["The banyan grows", "独木成林"]
    assert engine.under("a").bits(texts) != engine.bits(texts)


def test_an_adapter_answers_through_its_own_heads(engine: Engine) -> None:
    [prompt, *others] = scoring_prompts("The banyan")
    own = replace(prompt, decoding=LabelSet(labels=SEA.labels, head="sky"))
    [found] = engine.under("c").complete([own])
    assert found.label_probs is not None and len(found.label_probs) == 2
    with pytest.raises(ConfigError, match="2 outputs; the question needs"):
        engine.under("c").complete([prompt])
    with pytest.raises(ConfigError, match="no head 'names'"):
        engine.under("c").complete([others[2]])
    assert {head.name for head in HEADS} == {"sky", "names", "answers"}
    assert engine.under("a").complete([prompt])[0].label_probs is not None  # it brings none, so the model's answer


def test_an_unknown_adapter_says_which_is_near(engine: Engine) -> None:
    with pytest.raises(UnknownNameError, match="no adapter 'aa'"):
        engine.under("aa")
