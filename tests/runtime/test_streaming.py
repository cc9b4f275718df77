import pytest

from banyan.core.errors import ContextLengthError
from banyan.infer.engine import Engine
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.streaming import stream_text
from banyan.testing.prompts import VOCABULARY, make_model, text_prompt


def test_the_pieces_of_a_stream_are_the_answer_and_an_end_in_error_is_raised() -> None:
    sampling = SamplingConfig(temperature=1.0, seed=2)
    prompt = text_prompt("独木", max_tokens=30)
    with Engine(make_model(), VOCABULARY, num_slots=1) as engine:
        assert "".join(stream_text(engine, prompt, sampling)) == engine.complete([prompt], sampling)[0].text
        with pytest.raises(ContextLengthError):
            stream_text(engine, text_prompt("word " * 100), sampling)
        stream = stream_text(engine, prompt, sampling)
        engine.close()
        with pytest.raises(Exception, match="closed"):
            list(stream)
