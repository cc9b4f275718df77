import pytest
import torch

from banyan.core.errors import ShapeError
from banyan.core.types import MaskKind
from banyan.infer.slots import Piece, SlotModel
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.prompts import make_model

MODEL = make_model()
LONG = tiny_model(tiny_model_config(max_seq_len=192))


def read(slots: SlotModel, slot: int, token_ids: list[int], *, mask: MaskKind = MaskKind.CAUSAL) -> torch.Tensor:
    return slots.read([Piece(slot=slot, token_ids=token_ids, mask=mask)])


@torch.inference_mode()
def test_a_piece_has_the_same_bits_alone_and_among_others() -> None:
    pieces = [list(range(5, 5 + length)) for length in (64, 3, 40, 1, 17)]
    together = SlotModel(LONG, num_slots=5)
    found = together.read([Piece(slot=slot, token_ids=piece) for slot, piece in enumerate(pieces)])
    for slot, piece in enumerate(pieces):
        alone = SlotModel(LONG, num_slots=5)
        assert torch.equal(read(alone, slot, piece)[0], found[slot])
        assert torch.equal(alone.advance({slot: (9, -1)})[slot], together.advance({slot: (9, -1)})[slot])


@torch.inference_mode()
def test_the_number_of_threads_changes_no_bit() -> None:
    model = tiny_model(tiny_model_config(ffn_dim=4096))  # wide enough for threads to share an operation
    most = torch.get_num_threads()
    found = []
    try:
        for num_threads in (1, 2, 4):
            torch.set_num_threads(num_threads)
            slots = SlotModel(model, num_slots=11)
            read_at_first = slots.read([Piece(slot=slot, token_ids=range(5, 20 - slot)) for slot in range(11)])
            found.append((read_at_first, slots.advance({slot: (slot, -1) for slot in range(11)})))
    finally:
        torch.set_num_threads(most)
    assert all(torch.equal(one, other) for own in found[1:] for one, other in zip(found[0], own, strict=True))


@torch.inference_mode()
def test_pieces_of_one_slot_in_one_pass_have_the_bits_of_a_pass_each() -> None:
    prompt = [token % 250 for token in range(3, 153)]
    pieces = [prompt[:64], prompt[64:128], prompt[128:]]
    slots = SlotModel(LONG, num_slots=2)
    at_once = slots.read([Piece(slot=1, token_ids=piece) for piece in pieces])
    apart = torch.cat([read(slots, 0, piece) for piece in pieces])
    assert torch.equal(at_once, apart)
    torch.testing.assert_close(at_once[-1], LONG(torch.tensor([prompt]))[0, -1], atol=2e-5, rtol=2e-5)


@torch.inference_mode()
def test_slots_advance_each_at_its_own_place_and_idle_ones_stay_as_they_are() -> None:
    slots = SlotModel(MODEL, num_slots=3)
    first, second = [5, 6, 7, 8], [9, 10]
    read(slots, 0, first)
    read(slots, 2, second)
    slots.advance({0: (11, -1)})  # slot 2 is left alone
    hidden = slots.advance({0: (12, -1), 2: (13, -1)})
    torch.testing.assert_close(hidden[0], MODEL(torch.tensor([[*first, 11, 12]]))[0, -1], atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(hidden[2], MODEL(torch.tensor([[*second, 13]]))[0, -1], atol=2e-5, rtol=2e-5)


@torch.inference_mode()
def test_a_slot_forgets_what_it_held_when_a_new_prompt_comes() -> None:
    slots = SlotModel(MODEL, num_slots=1)
    fresh = read(slots, 0, [5, 6], mask=MaskKind.PREFIX).clone()
    slots.begin(0)
    read(slots, 0, list(range(20)))
    slots.begin(0)
    torch.testing.assert_close(read(slots, 0, [5, 6], mask=MaskKind.PREFIX), fresh)


@torch.inference_mode()
def test_what_one_slot_remembers_can_be_put_into_another_bit_by_bit() -> None:
    slots = SlotModel(MODEL, num_slots=2)
    read(slots, 0, [5, 6, 7])
    part = slots.part(0, start=0, end=3)
    slots.append(1, part)
    assert torch.equal(read(slots, 0, [8, 9]), read(slots, 1, [8, 9]))
    with pytest.raises(ShapeError, match="the part begins at 0"):
        slots.append(1, part)


def test_slots_are_handed_out_once_until_they_come_back() -> None:
    slots = SlotModel(MODEL, num_slots=3)
    pair, one = slots.take(2), slots.take(1)
    assert slots.num_free == 0 and len({*pair, *one}) == 3
    slots.give_back(pair)
    assert slots.num_free == 2 and set(slots.take(2)) == set(pair)


@torch.inference_mode()
@pytest.mark.parametrize("lookback", [0, 2])
def test_guesses_in_idle_rows_are_read_as_if_they_were_fed_one_by_one(lookback: int) -> None:
    model = tiny_model(tiny_model_config(lookback=lookback))

    def begun() -> SlotModel:
        slots = SlotModel(model, num_slots=4)
        slots.take(2)
        read(slots, 0, [5, 6, 7])
        read(slots, 1, [8, 9])
        return slots

    singly, again, guessing = begun(), begun(), begun()
    expected = [singly.advance({0: (token, -1)})[0] for token in (10, 11, 12)]
    hidden = guessing.advance({0: (10, -1), 1: (20, -1)}, guesses={0: [11, 12]})
    assert torch.equal(hidden[list(guessing.rows_of(0))], torch.stack(expected))
    guessing.keep(0, num_guesses=1)
    after = [again.advance({0: (token, -1)})[0] for token in (10, 11, 13, 14)][-2:]
    hidden = guessing.advance({0: (13, -1)}, guesses={0: [14]})  # in rows that hold a copy already
    assert torch.equal(hidden[list(guessing.rows_of(0))], torch.stack(after))
