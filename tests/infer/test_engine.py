"""The whole engine: what it answers, and that answers do not depend on company."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace

import pytest
import torch

from banyan.core.errors import BanyanError, ConfigError, ContextLengthError, InputError
from banyan.core.types import (
    NO_GRID,
    Completion,
    FinishReason,
    HeadKind,
    ImageGrid,
    LabelSet,
    MaskKind,
    Prompt,
    Span,
    Tags,
    Text,
    TokenSequence,
)
from banyan.infer.engine import Engine
from banyan.infer.lookup import PromptLookup
from banyan.infer.prefix_cache import PIECE
from banyan.infer.sampling import GREEDY, SamplingConfig
from banyan.model.transformer import Transformer
from banyan.testing.prompts import (
    GRID_SIZE,
    LABELS,
    STOP,
    VOCABULARY,
    make_model,
    picture_prompt,
    scoring_prompts,
    text_prompt,
)
from banyan.testing.vocabulary import tiny_vocabulary

TEXTS = ("The banyan grows", "def add(", "独木成林：", "What?", "It returns the sum of two numbers and more")
DRAWN = SamplingConfig(temperature=1.0, top_p=0.95, seed=3)


@torch.inference_mode()
def plain_logits(
    model: Transformer, prompt_ids: Sequence[int], answer_ids: Sequence[int], *, mask: MaskKind
) -> torch.Tensor:
    """Hidden → logits of every position of prompt and answer, in one pass without a cache."""
    num_prompt, num_all = len(prompt_ids), len(prompt_ids) + len(answer_ids)
    until = [num_prompt - 1 if t < num_prompt and mask is not MaskKind.CAUSAL else t for t in range(num_all)]
    first_image = VOCABULARY.first_image_id
    is_picture = VOCABULARY.image_id in prompt_ids
    grid = [
        t - num_prompt + 1 if is_picture and 0 <= t - num_prompt + 1 < GRID_SIZE**2 else NO_GRID for t in range(num_all)
    ]
    hidden = model(
        torch.tensor([[*prompt_ids, *answer_ids]]),
        attend_until_BT=torch.tensor([until]),
        grid_ids_BT=torch.tensor([grid]),
    )[0]
    assert model.config.text_vocab_size == first_image
    return model.image_logits(hidden) if is_picture else model.logits(hidden)


def plain_greedy(model: Transformer, prompt: Prompt, *, max_tokens: int) -> tuple[list[int], list[float], bool]:
    """Greedy decoding as a beginner would write it; returns tokens, log-probabilities and whether it stopped."""
    answer: list[int] = []
    log_probs: list[float] = []
    for _ in range(max_tokens):
        logits = plain_logits(model, prompt.token_ids, answer, mask=prompt.mask)[-1].double()
        is_picture = isinstance(prompt.decoding, ImageGrid)
        allowed = [is_picture or VOCABULARY.is_text(t) or t in STOP for t in range(len(logits))]
        best = max((value, -token) for token, value in enumerate(logits.tolist()) if allowed[token])
        token = -best[1]
        if not is_picture and token in STOP:
            return answer, log_probs, True
        log_probs.append(float(logits.log_softmax(0)[token]))
        answer.append(token + (VOCABULARY.first_image_id if is_picture else 0))
    return answer, log_probs, False


def softmax(values: Sequence[float]) -> list[float]:
    weights = [math.exp(value - max(values)) for value in values]
    return [weight / math.fsum(weights) for weight in weights]


@pytest.fixture(scope="module")
def model() -> Transformer:
    return make_model()


@pytest.fixture(scope="module")
def engine(model: Transformer) -> Iterator[Engine]:
    with Engine(model, VOCABULARY, num_slots=4) as engine:
        yield engine


@pytest.mark.parametrize("mask", [MaskKind.CAUSAL, MaskKind.PREFIX])
@pytest.mark.parametrize("text", TEXTS)
def test_greedy_text_equals_a_loop_without_cache(engine: Engine, model: Transformer, text: str, mask: MaskKind) -> None:
    prompt = text_prompt(text, mask=mask)
    tokens, log_probs, stopped = plain_greedy(model, prompt, max_tokens=8)
    [completion] = engine.complete([prompt])
    assert list(completion.token_ids) == tokens
    assert completion.token_log_probs == pytest.approx(log_probs, abs=1e-4)
    assert completion.finish_reason == (FinishReason.STOP if stopped else FinishReason.LENGTH)
    assert completion.text == VOCABULARY.decode(tokens)


def test_a_greedy_picture_equals_a_loop_without_cache_and_is_complete(engine: Engine, model: Transformer) -> None:
    prompt = picture_prompt("a seven")
    [completion] = engine.complete([prompt])
    tokens, log_probs, _ = plain_greedy(model, prompt, max_tokens=GRID_SIZE**2)
    assert list(completion.token_ids) == tokens
    assert completion.token_log_probs == pytest.approx(log_probs, abs=1e-4)
    assert completion.finish_reason is FinishReason.STOP


def test_a_guided_picture_equals_the_formula(engine: Engine, model: Transformer) -> None:
    prompt, scale = picture_prompt("a seven"), 2.5
    [completion] = engine.complete([prompt], SamplingConfig(guidance_scale=scale))
    codes: list[int] = []
    for _ in range(GRID_SIZE**2):
        with_wish, without = (
            plain_logits(model, ids, codes, mask=MaskKind.PREFIX)[-1].log_softmax(-1)
            for ids in (prompt.token_ids, prompt.unconditional_token_ids)
        )
        codes.append(VOCABULARY.first_image_id + int((without + scale * (with_wish - without)).argmax()))
    assert list(completion.token_ids) == codes


def mixed_work() -> list[tuple[Prompt, SamplingConfig]]:
    work: list[tuple[Prompt, SamplingConfig]] = []
    for number, text in enumerate(TEXTS):
        work.append((text_prompt(text, max_tokens=4 + number), GREEDY))
        work.append((text_prompt(text, max_tokens=9 - number), replace(DRAWN, seed=number, presence_penalty=0.5)))
        work.append((text_prompt(text, mask=MaskKind.PREFIX), replace(DRAWN, seed=number, top_k=5, temperature=0.7)))
        work.append((picture_prompt(text), replace(DRAWN, guidance_scale=1.0 if number % 2 else 3.0, seed=number)))
        work += [(prompt, GREEDY) for prompt in scoring_prompts(text)]
    return work


def test_an_answer_of_every_kind_has_the_same_bits_alone_and_in_any_company(model: Transformer, engine: Engine) -> None:
    work = mixed_work()
    alone = [engine.complete([prompt], sampling)[0] for prompt, sampling in work]
    assert engine.complete([prompt for prompt, _ in work], [sampling for _, sampling in work]) == alone
    for num_slots, seed in ((2, 1), (7, 2)):
        order = torch.randperm(len(work), generator=torch.Generator().manual_seed(seed)).tolist()
        with Engine(model, VOCABULARY, num_slots=num_slots) as other:
            shuffled = other.complete([work[n][0] for n in order], [work[n][1] for n in order])
        assert shuffled == [alone[n] for n in order]  # probabilities too, to the last digit


def test_neither_remembered_prompts_nor_being_set_aside_change_a_bit() -> None:
    model = make_model(max_seq_len=400)
    beginning = "One tree becomes a whole forest. " * 4
    work = [
        (text_prompt(beginning + text, max_tokens=40), replace(DRAWN, seed=seed)) for seed in range(2) for text in TEXTS
    ]
    work += [(picture_prompt("x"), replace(DRAWN, guidance_scale=2.0))]
    prompts, samplings = [prompt for prompt, _ in work], [sampling for _, sampling in work]
    with Engine(model, VOCABULARY, num_slots=6, prefix_cache_bytes=0) as plain:
        expected = [plain.complete([prompt], sampling)[0] for prompt, sampling in work]
        assert all(completion.num_cached_tokens == 0 for completion in expected)
    with Engine(model, VOCABULARY, num_slots=6) as remembering:
        assert remembering.complete(prompts, samplings) == expected
        again = remembering.complete(prompts, samplings)
        assert again == expected
        assert all(completion.num_cached_tokens >= PIECE for completion in again[:-1])
        [stranger] = remembering.owned_by("b").complete(prompts[:1], samplings[:1])
        assert stranger == expected[0] and stranger.num_cached_tokens == 0
    with Engine(model, VOCABULARY, num_slots=6, max_held_tokens=3 * len(prompts[0])) as narrow:
        assert narrow.complete(prompts, samplings) == expected
        assert narrow.num_set_aside > 0


@pytest.mark.parametrize("settings", [{"num_slots": 6}, {"num_slots": 1}, {"num_slots": 9, "max_held_tokens": 300}])
def test_guessing_ahead_changes_no_bit(monkeypatch: pytest.MonkeyPatch, settings: dict[str, int]) -> None:
    model = make_model(max_seq_len=160)
    ways = [GREEDY, DRAWN, replace(GREEDY, repetition_penalty=1.3), replace(GREEDY, stop=("a",), prompt_lookup=False)]
    prompts = [text_prompt(text, max_tokens=30) for text in TEXTS for _ in ways]
    samplings = [way for _ in TEXTS for way in ways]
    with Engine(model, VOCABULARY, num_slots=6) as plain:
        expected = plain.complete(prompts, samplings)
    known = [(*prompt.token_ids, *answer.token_ids) for prompt, answer in zip(prompts, expected, strict=True)]

    def often_right(read: PromptLookup, max_tokens: int) -> tuple[int, ...]:
        """Guess as one who knows all answers, but with every seventh token wrong."""
        so_far = tuple(read.token_ids)
        behind = next((own[len(so_far) :] for own in known if own[: len(so_far)] == so_far), ())[:max_tokens]
        return tuple(token if (len(so_far) + place) % 7 else 5 for place, token in enumerate(behind))

    monkeypatch.setattr(PromptLookup, "guess", often_right)
    with Engine(model, VOCABULARY, max_lookup_tokens=5, **settings) as guessing:  # type: ignore[arg-type]
        assert guessing.complete(prompts, samplings) == expected
        assert guessing.complete(prompts[:1], samplings[:1]) == expected[:1]  # alone, with all rows for its guesses
        assert 0.5 * guessing.num_guessed < guessing.num_guessed_right < guessing.num_guessed
        assert guessing.num_guessed_right > 20
        right = guessing.num_guessed_right
        guessing.complete(prompts[:4], [replace(way, prompt_lookup=False) for way in ways])
        assert guessing.num_guessed_right == right


def test_a_long_prompt_is_read_between_the_steps_of_a_stream() -> None:
    model = make_model(max_seq_len=1000)
    events: list[str] = []
    with Engine(model, VOCABULARY, num_slots=2) as engine:

        def hear(token: int, log_prob: float) -> None:
            if not events:
                long = text_prompt("The banyan grows. " * 50, max_tokens=1)
                engine.submit(long).future.add_done_callback(lambda _: events.append("long"))
            events.append("token")

        engine.submit(text_prompt("The", max_tokens=40), DRAWN, on_token=hear).result(30)
    num_pieces = -(-len(text_prompt("The banyan grows. " * 50)) // PIECE)
    assert num_pieces > 6 and "token" in events[events.index("long") :] and events.index("long") > num_pieces // 2 - 1


def test_requests_join_and_leave_from_many_threads(engine: Engine) -> None:
    work = mixed_work()
    expected = engine.complete([prompt for prompt, _ in work], [sampling for _, sampling in work])
    found: dict[int, Completion] = {}

    def ask(numbers: range) -> None:
        for number in numbers:
            found[number] = engine.submit(*work[number]).result(timeout_seconds=30)

    threads = [threading.Thread(target=ask, args=(range(start, len(work), 6),)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, completion in enumerate(expected):
        assert found[number] == completion


def test_the_seed_decides_the_answer(engine: Engine) -> None:
    prompt = text_prompt("The banyan", max_tokens=12)
    same = engine.complete([prompt] * 3, DRAWN)
    others = engine.complete([prompt] * 5, [replace(DRAWN, seed=seed) for seed in range(5)])
    assert len({completion.token_ids for completion in same}) == 1
    assert len({completion.token_ids for completion in others}) > 1


def test_an_answer_continues_from_its_own_beginning(engine: Engine) -> None:
    prompt = text_prompt("The banyan", max_tokens=10)
    [whole] = engine.complete([prompt], DRAWN)
    begun = replace(prompt, token_ids=prompt.token_ids + whole.token_ids[:4])
    [rest] = engine.complete([begun], replace(DRAWN, max_tokens=len(whole.token_ids) - 4))
    assert whole.token_ids[:4] + rest.token_ids == whole.token_ids


def test_listeners_hear_exactly_the_answer(engine: Engine) -> None:
    tokens: list[int] = []
    log_probs: list[float] = []
    pieces: list[str] = []

    def hear(token: int, log_prob: float) -> None:
        tokens.append(token)
        log_probs.append(log_prob)

    ticket = engine.submit(text_prompt("独木", max_tokens=20), DRAWN, on_token=hear, on_text=pieces.append)
    completion = ticket.result(30)
    assert (tuple(tokens), tuple(log_probs)) == (completion.token_ids, completion.token_log_probs)
    assert "".join(pieces) == completion.text == VOCABULARY.decode(tokens)


def test_a_stop_text_ends_the_answer_and_is_never_heard(engine: Engine) -> None:
    prompt = text_prompt("The banyan", max_tokens=20)
    [free] = engine.complete([prompt], DRAWN)
    found = re.search(r"(?<=.)[!-~]{2,4}(?=.)", free.text or "")
    assert found and free.text
    stop = found[0]
    pieces: list[str] = []
    tokens: list[int] = []
    stopping = replace(DRAWN, stop=(stop,))
    completion = engine.submit(
        prompt, stopping, on_text=pieces.append, on_token=lambda token, _: tokens.append(token)
    ).result(30)
    assert completion.text == "".join(pieces) == free.text[: free.text.index(stop)]
    assert completion.finish_reason is FinishReason.STOP
    assert tuple(tokens) == completion.token_ids
    assert completion.text.startswith(VOCABULARY.decode(tokens))


def test_an_answer_ends_at_the_context_with_reason_length(engine: Engine, model: Transformer) -> None:
    prompt = text_prompt("The banyan grows", max_tokens=1000)
    completion = engine.complete([prompt], SamplingConfig(temperature=1.0, seed=1))[0]
    assert completion.finish_reason is FinishReason.LENGTH
    assert len(prompt) + len(completion.token_ids) == engine.max_seq_len


def test_the_requests_own_limit_takes_the_place_of_the_tasks(engine: Engine) -> None:
    completion = engine.complete([text_prompt("The", max_tokens=2)], replace(DRAWN, max_tokens=5))[0]
    assert len(completion.token_ids) == 5


def long_prompt(num_tokens: int, decoding: object) -> Prompt:
    return Prompt(task="a", token_ids=(5,) * num_tokens, mask=MaskKind.PREFIX, decoding=decoding)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "decoding", [Text(max_tokens=3, stop_token_ids=()), LabelSet(labels=LABELS, head="sky")], ids=["text", "labels"]
)
def test_a_prompt_beyond_the_context_is_refused_with_both_counts(engine: Engine, decoding: object) -> None:
    with pytest.raises(ContextLengthError) as caught:
        engine.submit(long_prompt(engine.max_seq_len + 1, decoding))
    assert (caught.value.num_prompt_tokens, caught.value.max_seq_len) == (engine.max_seq_len + 1, engine.max_seq_len)


def test_a_picture_that_would_not_be_complete_is_refused(engine: Engine) -> None:
    picture = picture_prompt("x")
    room = engine.max_seq_len - GRID_SIZE**2 + 1
    fits = replace(picture, token_ids=(5,) * (room - 1) + (VOCABULARY.image_id,))
    assert len(engine.complete([fits])[0].token_ids) == GRID_SIZE**2
    with pytest.raises(ContextLengthError):
        engine.submit(replace(picture, token_ids=(5, *fits.token_ids)))


@pytest.mark.parametrize(
    "prompt",
    [
        long_prompt(0, Text(max_tokens=3, stop_token_ids=())),
        replace(text_prompt("x"), token_ids=(1, 10**6)),
        long_prompt(3, LabelSet(labels=LABELS, head="skies")),
        long_prompt(3, LabelSet(labels=("one", "two"), head="sky")),
        long_prompt(3, LabelSet(labels=LABELS, head="names")),
        long_prompt(3, LabelSet(labels=LABELS, label_token_ids=((1,), (2,)))),
        long_prompt(3, LabelSet(labels=("one",), label_token_ids=((),))),
        long_prompt(3, Tags(labels=("O", "B-x", "I-x"), head="names", positions=(3,))),
        long_prompt(3, Span(head="answers", first=2, last=1)),
        replace(picture_prompt("x"), decoding=replace(picture_prompt("x").decoding, num_codes=10**6)),
    ],
)
def test_a_prompt_that_cannot_be_answered_is_refused_at_the_door(engine: Engine, prompt: Prompt) -> None:
    with pytest.raises((InputError, ConfigError)):
        engine.submit(prompt)


def test_guidance_without_a_second_prompt_or_a_second_slot_is_refused(model: Transformer, engine: Engine) -> None:
    guided = SamplingConfig(guidance_scale=2.0)
    with pytest.raises(ConfigError, match="guidance_scale=1"):
        engine.submit(replace(picture_prompt("x"), unconditional_token_ids=()), guided)
    with Engine(model, VOCABULARY, num_slots=1) as small, pytest.raises(ConfigError, match="num_slots"):
        small.submit(picture_prompt("x"), guided)


def test_an_error_in_one_request_reaches_only_its_owner(engine: Engine) -> None:
    def explode(token: int, log_prob: float) -> None:
        raise RuntimeError("not my day")

    prompt = text_prompt("The banyan", max_tokens=10)
    before = engine.complete([prompt], DRAWN)[0]
    good = [engine.submit(prompt, DRAWN) for _ in range(3)]
    bad = engine.submit(prompt, DRAWN, on_token=explode)
    with pytest.raises(RuntimeError, match="not my day"):
        bad.result(30)
    for ticket in good:
        assert ticket.result(30) == before


def test_a_pass_that_breaks_ends_its_own_requests_and_the_engine_goes_on() -> None:
    model = make_model()
    with Engine(model, VOCABULARY, num_slots=2) as engine:
        prompts = [text_prompt("The"), *scoring_prompts("The banyan")]
        expected = engine.complete(prompts)
        broken, model.blocks = model.blocks, torch.nn.ModuleList([torch.nn.Linear(1, 1)])
        tickets = [engine.submit(prompt) for prompt in prompts]
        for ticket in tickets:
            with pytest.raises(Exception):  # noqa: B017 -- whatever a broken model raises
                ticket.result(30)
        model.blocks = broken
        assert engine.complete(prompts) == expected


def test_a_cancelled_request_frees_its_slot_within_a_step(model: Transformer) -> None:
    with Engine(model, VOCABULARY, num_slots=1) as engine:
        begun = threading.Event()
        may_go_on = threading.Event()

        def wait(token: int, log_prob: float) -> None:
            begun.set()
            may_go_on.wait(30)

        endless = engine.submit(text_prompt("The", max_tokens=40), SamplingConfig(temperature=1.0), on_token=wait)
        next_one = engine.submit(text_prompt("What?", max_tokens=2))
        assert begun.wait(30)
        assert endless.cancel()
        may_go_on.set()
        assert next_one.result(30).token_ids
        with pytest.raises(CancelledError):
            endless.result(0)
        deadline = time.monotonic() + 30
        while engine.num_live or engine.num_waiting:
            assert time.monotonic() < deadline


def test_a_waiting_request_that_is_cancelled_is_never_begun(model: Transformer) -> None:
    heard: list[int] = []
    may_go_on = threading.Event()
    with Engine(model, VOCABULARY, num_slots=1) as engine:
        first = engine.submit(text_prompt("The"), on_token=lambda *_: may_go_on.wait(30) and None)
        second = engine.submit(text_prompt("The"), on_token=lambda token, _: heard.append(token))
        second.cancel()
        may_go_on.set()
        first.result(30)
    assert not heard


def test_a_closed_engine_fails_what_it_had_and_takes_no_more(model: Transformer) -> None:
    engine = Engine(model, VOCABULARY, num_slots=1)
    gate = threading.Event()
    running = engine.submit(text_prompt("The", max_tokens=30), on_token=lambda *_: gate.wait(30) and None)
    waiting = [engine.submit(prompt) for prompt in (text_prompt("The"), *scoring_prompts("The"))]
    gate.set()
    engine.close()
    for ticket in (running, *waiting):
        assert ticket.is_done
    with pytest.raises(BanyanError, match="closed"):
        engine.submit(text_prompt("The"))
    engine.close()


def test_label_words_are_scored_as_the_model_would_write_them(engine: Engine, model: Transformer) -> None:
    for prompt in scoring_prompts("What does it return?")[1:3]:
        assert isinstance(prompt.decoding, LabelSet)
        totals = []
        for words in prompt.decoding.label_token_ids:
            logits = plain_logits(model, prompt.token_ids, words, mask=prompt.mask).double().log_softmax(-1)
            scores = [float(logits[len(prompt) - 1 + n, token]) for n, token in enumerate(words)]
            totals.append(sum(scores) / (len(scores) if prompt.decoding.length_normalised else 1))
        assert engine.complete([prompt])[0].label_probs == pytest.approx(softmax(totals), abs=1e-5)


def test_free_text_never_holds_a_special_token(engine: Engine) -> None:
    sampling = SamplingConfig(temperature=5.0)
    prompts = [text_prompt(text, max_tokens=25) for text in TEXTS]
    completions = engine.complete(prompts, [replace(sampling, seed=seed) for seed in range(len(prompts))])
    assert all(VOCABULARY.is_text(token) for completion in completions for token in completion.token_ids)


def test_likelihoods_are_those_of_the_targets_that_count(engine: Engine, model: Transformer) -> None:
    ids = tuple(VOCABULARY.encode("The banyan grows one tree"))
    sequence = TokenSequence(
        task="a",
        token_ids=ids[:-1],
        targets=ids[1:],
        loss_weights=(0.0, 0.0, *[1.0] * (len(ids) - 3)),
        mask=MaskKind.CAUSAL,
    )
    logits = plain_logits(model, ids[:-1], [], mask=MaskKind.CAUSAL).double().log_softmax(-1)
    expected = [float(logits[t, ids[t + 1]]) for t in range(2, len(ids) - 1)]
    assert engine.log_likelihood([sequence])[0] == pytest.approx(expected, abs=1e-5)


def test_image_targets_are_judged_among_image_codes(engine: Engine, model: Transformer) -> None:
    prompt = picture_prompt("a seven")
    codes = tuple(range(VOCABULARY.first_image_id, VOCABULARY.first_image_id + GRID_SIZE**2))
    num_prompt = len(prompt)
    sequence = TokenSequence(
        task="a",
        token_ids=prompt.token_ids + codes[:-1],
        targets=(*[-1] * (num_prompt - 1), *codes),
        loss_weights=(*[0.0] * (num_prompt - 1), *[1.0] * len(codes)),
        mask=MaskKind.PREFIX,
        prefix_len=num_prompt,
        grid_ids=(*[-1] * (num_prompt - 1), *range(len(codes))),
    )
    logits = plain_logits(model, prompt.token_ids, codes[:-1], mask=MaskKind.PREFIX).double().log_softmax(-1)
    expected = [float(logits[num_prompt - 1 + n, n]) for n in range(len(codes))]
    assert engine.log_likelihood([sequence])[0] == pytest.approx(expected, abs=1e-5)


def test_an_engine_needs_a_vocabulary_that_fits_its_model(model: Transformer) -> None:
    other = replace(model.config, vocab_size=model.config.vocab_size + 64)
    with pytest.raises(ConfigError, match="do not belong together"):
        Engine(Transformer(other), tiny_vocabulary())
    with pytest.raises(ConfigError, match="num_slots"):
        Engine(model, VOCABULARY, num_slots=0)
    assert HeadKind.SPAN in {head.kind for head in model.head_specs}


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_the_likelihood_ratio_of_a_picture_is_that_of_its_codes_with_and_without_the_wish(
    engine: Engine, scale: float
) -> None:
    prompt = picture_prompt("a seven")
    [drawn] = engine.complete([prompt], replace(DRAWN, guidance_scale=scale, num_candidates=2))
    logs = []
    for prompt_ids in (prompt.token_ids, prompt.unconditional_token_ids):
        first, codes = len(prompt_ids) - 1, drawn.token_ids
        sequence = TokenSequence(
            task="a",
            token_ids=(*prompt_ids, *codes[:-1]),
            targets=(*[-1] * first, *codes),
            loss_weights=(*[0.0] * first, *[1.0] * len(codes)),
            mask=MaskKind.PREFIX,
            prefix_len=len(prompt_ids),
            grid_ids=(*[NO_GRID] * first, *range(len(codes))),
        )
        logs.append(math.fsum(engine.log_likelihood([sequence])[0]))
    assert drawn.wish_ratio == pytest.approx(logs[0] - logs[1], abs=1e-3)
