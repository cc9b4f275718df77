from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from banyan.infer.admission import Limits
from banyan.infer.decoding import Decoder
from banyan.infer.requests import Request
from banyan.infer.sampling import SamplingConfig
from banyan.infer.slots import Piece, SlotModel
from banyan.testing.prompts import HEADS, VOCABULARY, make_model, text_prompt

MODEL = make_model(max_seq_len=192)
LIMITS = Limits(config=MODEL.config, heads=HEADS, num_slots=4)


def decoder() -> Decoder:
    return Decoder(MODEL, VOCABULARY, num_slots=4, prefix_cache_bytes=1 << 24)


def asked(prompt: str) -> Request:
    return LIMITS.admit_generation(text_prompt(prompt, max_tokens=3), SamplingConfig(temperature=1.0))


def answers(requests: Sequence[Request], *, num_tokens: int) -> list[tuple[int, ...]]:
    """Read so many tokens between two steps until all have been answered."""
    engine = decoder()
    for request in requests:
        engine.start(request)
    while engine.num_live:
        engine.read(num_tokens)
        engine.step()
    return [request.ticket.result(0).token_ids for request in requests]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The lengths of the pieces of each pass."""
    seen: list[list[int]] = []
    read = SlotModel.read

    def watched(self: SlotModel, pieces: Sequence[Piece]) -> Tensor:
        seen.append([len(piece) for piece in pieces])
        return read(self, pieces)

    monkeypatch.setattr(SlotModel, "read", watched)
    return seen


@torch.inference_mode()
def test_prompts_that_wait_together_are_read_in_one_pass(passes: list[list[int]]) -> None:
    answers([asked("The"), asked("A longer one, " * 6), asked("Why?")], num_tokens=1000)
    assert len(passes) == 1 and len(passes[0]) == 4  # the longer one has two pieces


@torch.inference_mode()
def test_a_piece_that_another_reads_in_the_same_pass_is_waited_for_and_then_known(passes: list[list[int]]) -> None:
    long = "A longer one, " * 6
    requests = [asked(long + "yes"), asked(long + "no"), asked(long + "yes")]
    together = answers(requests, num_tokens=1000)
    assert [request.ticket.result(0).num_cached_tokens for request in requests] == [0, 64, 64]
    assert [max(lengths) for lengths in passes].count(64) == 1
    assert together == [
        answers([request], num_tokens=7)[0] for request in map(asked, (long + "yes", long + "no", long + "yes"))
    ]


@torch.inference_mode()
def test_whose_turn_it_was_waits_behind_the_others(passes: list[list[int]]) -> None:
    engine = decoder()
    for request in (asked("a" * 150), asked("b" * 150)):
        engine.start(request)
    order = [engine._reading[0]]
    for _ in range(3):
        engine.read(1)
        order.append(engine._reading[0])
    assert order[0] is order[2] and order[1] is order[3] and order[0] is not order[1]


@torch.inference_mode()
def test_a_prompt_that_cannot_be_read_takes_no_other_one_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read = SlotModel.read
    bad = asked("bad")

    def broken(self: SlotModel, pieces: Sequence[Piece]) -> Tensor:
        if any(tuple(piece.token_ids) == bad.prompt.token_ids for piece in pieces):
            raise RuntimeError("no room")
        return read(self, pieces)

    expected = answers([asked("good")], num_tokens=1000)
    monkeypatch.setattr(SlotModel, "read", broken)
    good, engine = asked("good"), decoder()
    for request in (bad, good):
        engine.start(request)
    while engine.num_live:
        engine.read(1000)
        engine.step()
    with pytest.raises(RuntimeError, match="no room"):
        bad.ticket.result(0)
    assert [good.ticket.result(0).token_ids] == expected
