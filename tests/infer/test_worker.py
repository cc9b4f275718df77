import gc
import weakref

import pytest

from banyan.core.errors import BanyanError
from banyan.infer.engine import Engine
from banyan.infer.sampling import SamplingConfig
from banyan.testing.engine_threads import engine_threads
from banyan.testing.prompts import VOCABULARY, make_model, scoring_prompts, text_prompt


def test_an_engine_that_is_forgotten_ends_its_thread() -> None:
    before = engine_threads()
    engine = Engine(make_model(), VOCABULARY, num_slots=1)
    [thread] = engine_threads() - before
    watched = weakref.ref(engine)
    del engine
    gc.collect()
    assert watched() is None and not thread.is_alive()


def test_an_engine_can_be_closed_from_its_own_thread() -> None:
    engine = Engine(make_model(), VOCABULARY, num_slots=1)
    ticket = engine.submit(text_prompt("The"), SamplingConfig(temperature=1.0), on_token=lambda *_: engine.close())
    with pytest.raises(BanyanError, match="closed"):
        ticket.result(30)


def test_questions_are_answered_between_the_steps_of_a_stream() -> None:
    events: list[str] = []
    with Engine(make_model(), VOCABULARY, num_slots=1) as engine:

        def hear(token: int, log_prob: float) -> None:
            if not events:
                for prompt in scoring_prompts("The banyan"):
                    engine.submit(prompt).future.add_done_callback(lambda _: events.append("answer"))
            events.append("token")

        sampling = SamplingConfig(temperature=1.0, seed=1)
        engine.submit(text_prompt("The", max_tokens=20), sampling, on_token=hear).result(30)
    assert events[:1] + events[-1:] == ["token", "token"] and events.count("answer") == len(scoring_prompts("x"))


def test_an_unexpected_error_of_the_engine_itself_ends_what_was_live_and_not_the_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Engine(make_model(), VOCABULARY, num_slots=1) as engine:
        monkeypatch.setattr("banyan.infer.worker.run_jobs", _explode)
        ticket = engine.submit(scoring_prompts("x")[0])
        with pytest.raises(RuntimeError, match="our own mistake"):
            ticket.result(30)
        monkeypatch.undo()
        assert engine.submit(scoring_prompts("x")[0]).result(30).label_probs


def _explode(*_: object, **__: object) -> None:
    raise RuntimeError("our own mistake")
