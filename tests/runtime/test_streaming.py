import threading

import pytest

from banyan.core.errors import BanyanError, ContextLengthError
from banyan.infer.engine import Engine
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.streaming import stream_text
from banyan.testing.prompts import VOCABULARY, make_model, text_prompt

PROMPT = text_prompt("独木", max_tokens=30)
DRAWN = SamplingConfig(temperature=1.0, seed=2)


def test_the_pieces_of_a_stream_are_the_answer() -> None:
    with Engine(make_model(), VOCABULARY, num_slots=1) as engine:
        assert "".join(stream_text(engine, PROMPT, DRAWN)) == engine.complete([PROMPT], DRAWN)[0].text


def test_a_prompt_that_cannot_be_answered_is_refused_before_the_first_piece() -> None:
    with Engine(make_model(), VOCABULARY, num_slots=1) as engine, pytest.raises(ContextLengthError):
        stream_text(engine, text_prompt("word " * 100), DRAWN)


def test_a_stream_that_does_not_end_well_raises() -> None:
    may_close = threading.Event()
    engine = Engine(make_model(), VOCABULARY, num_slots=1)

    def close(token: int, log_prob: float) -> None:
        may_close.wait(30)
        engine.close()

    engine.submit(PROMPT, DRAWN, on_token=close)
    stream = stream_text(engine, PROMPT, DRAWN)  # waits for the only slot
    may_close.set()
    with pytest.raises(BanyanError, match="closed"):
        list(stream)
