import pytest
import torch

from banyan.infer.admission import Limits
from banyan.infer.decoding import Decoder
from banyan.infer.requests import Request
from banyan.infer.sampling import SamplingConfig
from banyan.testing.prompts import HEADS, VOCABULARY, make_model, picture_prompt, text_prompt

MODEL = make_model()
LIMITS = Limits(config=MODEL.config, heads=HEADS, num_slots=3)


def decoder() -> Decoder:
    return Decoder(MODEL, VOCABULARY, num_slots=3)


def picture() -> Request:
    return LIMITS.admit_generation(picture_prompt("x"), SamplingConfig(guidance_scale=2.0))


def text(max_tokens: int = 4) -> Request:
    return LIMITS.admit_generation(text_prompt("The", max_tokens=max_tokens), SamplingConfig(temperature=1.0))


@torch.inference_mode()
def test_a_guided_picture_holds_two_slots_until_it_is_complete() -> None:
    engine, request = decoder(), picture()
    engine.start(request)
    engine.read(100)
    for _ in range(8):
        assert engine.num_free_slots == 1 and not request.is_done
        engine.step()
    assert engine.num_free_slots == 3 and engine.num_live == 0 and request.is_done


@torch.inference_mode()
def test_every_end_gives_the_slots_back() -> None:
    def explode(*_: object) -> None:
        raise RuntimeError

    engine = decoder()
    cancelled, failing, short = (
        text(30),
        LIMITS.admit_generation(text_prompt("The"), SamplingConfig(temperature=1.0), on_token=explode),
        text(1),
    )
    for request in (cancelled, failing, short):
        engine.start(request)
    engine.read(100)
    cancelled.ticket.cancel()
    engine.step()
    assert engine.num_free_slots == 3 and engine.num_live == 0
    with pytest.raises(RuntimeError):
        failing.ticket.result(0)
    assert len(short.ticket.result(0).token_ids) == 1


@torch.inference_mode()
def test_failing_all_ends_all() -> None:
    engine, requests = decoder(), [text(30), text(30)]
    for request in requests:
        engine.start(request)
    engine.read(8)  # one of them has been read, the other has not
    engine.fail_all(RuntimeError("end"))
    assert engine.num_free_slots == 3 and all(request.is_done for request in requests)


@torch.inference_mode()
def test_a_request_that_is_cancelled_while_it_is_read_gives_its_slot_back() -> None:
    engine, request = decoder(), text(30)
    engine.start(request)
    request.ticket.cancel()
    engine.read(100)
    assert engine.num_free_slots == 3 and engine.num_live == 0


def test_a_step_with_nobody_waiting_does_nothing() -> None:
    decoder().step()
