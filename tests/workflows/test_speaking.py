from collections.abc import Callable

import pytest

from banyan.core.errors import ContextLengthError, InputError
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.store.types import StoredExchange
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.speaking import continue_text, reply

Stored = Callable[[], list[StoredExchange]]
DRAWN = SamplingConfig(temperature=1.0, seed=5, max_tokens=12)


def test_the_pieces_of_a_continuation_are_what_is_stored(loaded: LoadedModel, address: str, stored: Stored) -> None:
    pieces: list[str] = []
    with AnswerRecorder(loaded, endpoint="generate", database=address) as recorder:
        spoken = continue_text(loaded, "def 世", sampling=DRAWN, recorder=recorder, on_text=pieces.append)
        (exchange,) = stored()  # before the recorder is closed
    assert "".join(pieces) == spoken.text == loaded.generate("def 世", sampling=DRAWN)
    assert exchange.request.request_id == spoken.request_id
    assert exchange.request.body == {"prompt": "def 世"}
    assert exchange.answer is not None and exchange.answer.outputs[0].text == spoken.text
    assert len(exchange.answer.outputs[0].token_ids) == spoken.num_completion_tokens
    assert exchange.request.num_prompt_tokens == spoken.num_prompt_tokens


def test_a_reply_is_the_models_next_message(loaded: LoadedModel, address: str, stored: Stored) -> None:
    messages = [{"role": "user", "content": "What is red?"}]
    with AnswerRecorder(loaded, endpoint="chat", database=address) as recorder:
        spoken = reply(loaded, messages, sampling=loaded.sampling_for("dialogue"), recorder=recorder)
    assert spoken.text == loaded.chat(messages)
    (exchange,) = stored()
    assert (exchange.request.task, exchange.request.body) == ("dialogue", {"messages": messages})


def test_what_cannot_be_asked_is_not_stored(loaded: LoadedModel, address: str, stored: Stored) -> None:
    with AnswerRecorder(loaded, endpoint="generate", database=address) as recorder:
        with pytest.raises(ContextLengthError):
            continue_text(loaded, "x" * 500, sampling=DRAWN, recorder=recorder)
        with pytest.raises(InputError, match="lone surrogate"):
            continue_text(loaded, "caf\udce9", sampling=DRAWN, recorder=recorder)
    assert stored() == []


def test_a_listener_that_fails_ends_its_own_answer_only(loaded: LoadedModel, address: str) -> None:
    def leave(piece: str) -> None:
        raise BrokenPipeError

    with AnswerRecorder(loaded, endpoint="generate", database=address) as recorder:
        with pytest.raises(BrokenPipeError):
            continue_text(loaded, "x", sampling=DRAWN, recorder=recorder, on_text=leave)
        assert continue_text(loaded, "x", sampling=DRAWN, recorder=recorder).num_completion_tokens > 0
