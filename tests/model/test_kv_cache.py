import random

import pytest
import torch

from banyan.core.errors import ContextLengthError, ShapeError
from banyan.core.types import NO_GRID
from banyan.model.kv_cache import KEY_STRETCH, KVCache
from banyan.testing.models import tiny_model, tiny_model_config

SHAPES = {
    "grouped rope": {},
    "learned positions": {"position": "learned", "norm": "layer", "num_kv_heads": 4, "qk_norm": "none"},
    "sliding window": {"sliding_window": 3},
    "no positions": {"position": "none"},
    "lookback": {"lookback": 3, "tie_embeddings": False},
}


def random_ids(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 320, shape, generator=torch.Generator().manual_seed(seed))


def assert_near(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("chunks", [(12,), (5, 7), (5, 1, 1, 4, 1), (1,) * 12], ids=str)
def test_reading_in_chunks_equals_reading_at_once(shape: str, chunks: tuple[int, ...]) -> None:
    model, token_ids = tiny_model(tiny_model_config(**SHAPES[shape])), random_ids(2, 12)
    cache = KVCache(model.config, num_slots=4)
    pieces = [model(chunk, cache=cache.rows([1, 2])) for chunk in token_ids.split(chunks, dim=1)]
    assert_near(torch.cat(pieces, dim=1), model(token_ids))
    assert cache.lengths.tolist() == [0, 12, 12, 0]


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_slots_of_different_lengths_go_on_together_each_at_its_own_position(shape: str) -> None:
    model = tiny_model(tiny_model_config(**SHAPES[shape]))
    cache = KVCache(model.config, num_slots=4)
    rows = {0: random_ids(3, seed=1), 3: random_ids(8, seed=2), 2: random_ids(5, seed=3)}  # slot 1 stays free
    for slot, prompt in rows.items():
        model(prompt[None], cache=cache.rows([slot]))
    for step in range(4):
        fed = random_ids(4, 1, seed=10 + step)
        hidden = model(fed, cache=cache.rows(range(4), num_tokens=[1, 0, 1, 1]))
        assert hidden.isfinite().all()
        for slot in rows:
            rows[slot] = torch.cat([rows[slot], fed[slot]])
            assert_near(hidden[slot, 0], model(rows[slot][None])[0, -1])
    assert cache.lengths.tolist() == [7, 0, 9, 12]


@torch.no_grad()
@pytest.mark.parametrize("slots", [[0, 1, 2], [3, 0, 2]], ids=["neighbours", "scattered"])
def test_prompts_of_different_lengths_are_read_in_one_pass(slots: list[int]) -> None:
    model, cache = tiny_model(), KVCache(tiny_model_config(), num_slots=4)
    lengths, token_ids = [4, 9, 1], random_ids(3, 9)
    hidden = model(token_ids, cache=cache.rows(slots, num_tokens=lengths))
    following = model(random_ids(3, 2, seed=5), cache=cache.rows(slots))
    for row, length in enumerate(lengths):
        whole = torch.cat([token_ids[row, :length], random_ids(3, 2, seed=5)[row]])
        expected = model(whole[None])[0]
        assert_near(hidden[row, :length], expected[:length])
        assert_near(following[row], expected[length:])


@torch.no_grad()
@pytest.mark.parametrize("is_padded", [False, True])
def test_a_prefix_prompt_reads_itself_in_both_directions_and_the_answer_follows(is_padded: bool) -> None:
    model = tiny_model(tiny_model_config(num_image_codes=16, grid_size=2))
    prompt, answer = random_ids(1, 6), random_ids(1, 4, seed=1)
    cells = torch.tensor([[NO_GRID] * 5 + [0, 1, 2, 3, NO_GRID]])
    until = torch.tensor([[5] * 6 + [6, 7, 8, 9]])
    expected = model(torch.cat([prompt, answer], dim=1), attend_until_BT=until, grid_ids_BT=cells)
    cache = KVCache(model.config, num_slots=2)
    num_tokens = [6] if is_padded else None
    padding = (0, 3) if is_padded else (0, 0)
    hidden = model(
        torch.nn.functional.pad(prompt, padding),
        attend_until_BT=torch.full((1, 6 + padding[1]), 5),
        grid_ids_BT=torch.nn.functional.pad(cells[:, :6], padding, value=NO_GRID),
        cache=cache.rows([1], num_tokens=num_tokens),
    )
    assert_near(hidden[:, :6], expected[:, :6])
    for step in range(4):
        hidden = model(answer[:, step : step + 1], grid_ids_BT=cells[:, [6 + step]], cache=cache.rows([1]))
        assert_near(hidden[:, 0], expected[:, 6 + step])


@torch.no_grad()
@pytest.mark.parametrize("num_neighbour_tokens", [1, 37, 63, 64, 150])
def test_a_slot_gives_the_same_bits_whatever_its_neighbours_hold(num_neighbour_tokens: int) -> None:
    model = tiny_model(tiny_model_config(max_seq_len=200))
    prompt, fed = random_ids(1, 21), random_ids(3, 1, seed=1)

    def answer(num_tokens: list[int]) -> torch.Tensor:
        cache = KVCache(model.config, num_slots=3)
        model(prompt, cache=cache.rows([1]))
        model(random_ids(1, num_neighbour_tokens, seed=2), cache=cache.rows([2]))
        hidden = [model(fed, cache=cache.rows(range(3), num_tokens=num_tokens))[1] for _ in range(3)]
        return torch.cat(hidden)

    assert torch.equal(answer([0, 1, 1]), answer([0, 1, 0]))


@torch.no_grad()
def test_a_cleared_slot_shows_nothing_of_what_it_held() -> None:
    model, token_ids = tiny_model(), random_ids(1, 5)
    cache = KVCache(model.config, num_slots=2)
    model(random_ids(2, 20, seed=9), cache=cache.rows([0, 1]))
    cache.clear([1])
    assert_near(model(token_ids, cache=cache.rows([1])), model(token_ids))
    assert cache.lengths.tolist() == [20, 5]


@torch.no_grad()
def test_a_shortened_slot_goes_on_from_where_it_was_cut() -> None:
    model, token_ids = tiny_model(), random_ids(1, 9)
    cache = KVCache(model.config, num_slots=1)
    model(token_ids, cache=cache.rows([0]))
    cache.truncate(0, 4)
    assert_near(model(token_ids[:, 4:], cache=cache.rows([0])), model(token_ids)[:, 4:])


@torch.no_grad()
def test_a_full_slot_that_waits_keeps_its_last_key() -> None:
    model = tiny_model(tiny_model_config(max_seq_len=8))
    cache = KVCache(model.config, num_slots=2)
    model(random_ids(1, 8), cache=cache.rows([0]))
    kept = cache.keys[0][0, :, :8].clone()
    model(random_ids(2, 1), cache=cache.rows([0, 1], num_tokens=[0, 1]))
    assert torch.equal(cache.keys[0][0, :, :8], kept)


@torch.no_grad()
def test_neighbouring_slots_are_read_where_they_lie() -> None:
    config = tiny_model_config()
    cache = KVCache(config, num_slots=3)
    cache.slot_lengths[:] = [1, 1, 1]
    reading = cache.rows(range(1, 3)).begin(num_rows=2, seq_len=1)
    keys, _ = reading.append(0, torch.ones(2, 1, 2, 8), torch.ones(2, 1, 2, 8))
    assert keys.untyped_storage().data_ptr() == cache.keys[0].untyped_storage().data_ptr()
    assert keys.shape == (2, 2, KEY_STRETCH, 8)


@torch.no_grad()
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", ["grouped rope", "sliding window"])
def test_any_order_of_reading_cutting_and_clearing_equals_the_model_without_a_cache(shape: str, seed: int) -> None:
    model, draw = tiny_model(tiny_model_config(**SHAPES[shape])), random.Random(seed)
    cache = KVCache(model.config, num_slots=4)
    held: list[list[int]] = [[] for _ in range(4)]
    for _ in range(8):
        slots = draw.sample(range(4), draw.randint(1, 4))
        added = [draw.randint(0, 5) for _ in slots]
        token_ids = random_ids(len(slots), 5, seed=draw.randint(0, 99))
        hidden = model(token_ids, cache=cache.rows(slots, num_tokens=added))
        for row, (slot, num_new) in enumerate(zip(slots, added, strict=True)):
            held[slot] += token_ids[row, :num_new].tolist()
            if num_new:
                expected = model(torch.tensor([held[slot]]))[0, -num_new:]
                assert_near(hidden[row, :num_new], expected)
        cut = draw.randrange(4)
        held[cut] = held[cut][: draw.randint(0, len(held[cut]))]
        cache.truncate(cut, len(held[cut]))
    assert cache.lengths.tolist() == [len(tokens) for tokens in held]


def test_more_tokens_than_a_slot_can_hold_are_refused_before_anything_is_stored() -> None:
    model = tiny_model()
    cache = KVCache(model.config, num_slots=2, max_seq_len=10)
    model(random_ids(1, 8), cache=cache.rows([1]))
    with pytest.raises(ContextLengthError, match="11 tokens do not fit in a cache slot of 10"):
        model(random_ids(2, 3), cache=cache.rows([0, 1]))
    assert cache.lengths.tolist() == [0, 8]


def test_a_batch_that_does_not_match_the_rows_is_refused() -> None:
    model = tiny_model()
    cache = KVCache(model.config, num_slots=2)
    with pytest.raises(ShapeError, match="3 rows of tokens were given for 2 slots"):
        model(random_ids(3, 2), cache=cache.rows([0, 1]))
    with pytest.raises(ShapeError, match=r"num_tokens=\(1, 3\) does not fit 2 rows of 2 tokens"):
        model(random_ids(2, 2), cache=cache.rows([0, 1], num_tokens=[1, 3]))
    with pytest.raises(ShapeError, match="each must be named once"):
        cache.rows([1, 1])
    with pytest.raises(ShapeError, match="longer than model.max_seq_len=64"):
        KVCache(model.config, num_slots=1, max_seq_len=65)
    with pytest.raises(ShapeError, match="it cannot be cut to 1"):
        cache.truncate(0, 1)
    with pytest.raises(ShapeError, match="segment_ids"):
        model(random_ids(1, 2), cache=cache.rows([0]), segment_ids_BT=torch.zeros(1, 2))


def test_the_size_of_a_cache_is_known() -> None:
    cache = KVCache(tiny_model_config(), num_slots=3, max_seq_len=15)
    num_layers, num_slots, num_kv_heads, head_dim, float_bytes = 2, 3, 2, 8, 4
    assert cache.num_bytes == 2 * num_layers * num_slots * num_kv_heads * KEY_STRETCH * head_dim * float_bytes


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_a_copied_slot_goes_on_as_the_one_it_was_copied_from(shape: str) -> None:
    model = tiny_model(tiny_model_config(**SHAPES[shape]))
    cache, prompt = KVCache(model.config, num_slots=3), random_ids(1, 7)
    model(random_ids(1, 12, seed=1), cache=cache.rows([2]))
    model(prompt, cache=cache.rows([0]))
    cache.copy(0, 2)
    fed = random_ids(1, 2, seed=2)
    found = model(fed, cache=cache.rows([2]))
    assert_near(found, model(torch.cat([prompt, fed], dim=1))[:, -2:])
    assert cache.lengths.tolist() == [7, 0, 9]


def test_a_chain_holds_one_sequence_and_reads_one_token_in_each_row() -> None:
    cache = KVCache(tiny_model_config(), num_slots=2)
    cache.slot_lengths[0] = 3
    with pytest.raises(ShapeError, match="do not hold the same number"):
        cache.rows([0, 1], chains=[(0, 1)])
    cache.slot_lengths[1] = 3
    with pytest.raises(ShapeError, match="one token in each row"):
        cache.rows([0, 1], chains=[(0, 1)]).begin(num_rows=2, seq_len=2)
