import torch
from hypothesis import given
from hypothesis import strategies as st

from banyan.infer.prefix_cache import PIECE, PrefixCache, piece_keys
from banyan.model.kv_cache import KVPart

IDS = tuple(range(3 * PIECE + 5))


def part(start: int = 0) -> KVPart:
    return KVPart(start=start, stored=(torch.zeros(1, PIECE, 2),), token_ids=torch.zeros(0, dtype=torch.int64))


def filled(max_bytes: int = 1 << 20) -> PrefixCache:
    cache = PrefixCache(max_bytes=max_bytes)
    for number, key in enumerate(piece_keys(IDS, salt="a", adapter=None)):
        cache.keep(key, part(number * PIECE))
    return cache


@given(st.integers(0, len(IDS) - 1))
def test_exactly_the_whole_pieces_before_the_first_other_token_are_found(place: int) -> None:
    other = (*IDS[:place], 9999, *IDS[place + 1 :])
    found = filled().find(piece_keys(other, salt="a", adapter=None))
    assert [one.start for one in found] == [PIECE * n for n in range(min(place // PIECE, 3))]


def test_nothing_is_found_under_another_salt_or_adapter() -> None:
    cache = filled()
    assert len(cache.find(piece_keys(IDS, salt="a", adapter=None))) == 3
    assert not cache.find(piece_keys(IDS, salt="b", adapter=None))
    assert not cache.find(piece_keys(IDS, salt="a", adapter="b"))
    assert not cache.find(piece_keys(IDS, salt='a", "b', adapter=None))


def test_what_was_not_used_for_the_longest_time_is_forgotten_first() -> None:
    size = part().num_bytes
    cache = filled(max_bytes=4 * size)
    cache.find(piece_keys(IDS, salt="a", adapter=None))
    for key in piece_keys(tuple(range(7, 7 + 2 * PIECE)), salt="b", adapter=None):
        cache.keep(key, part())
    assert cache.num_bytes == 4 * size
    assert len(cache.find(piece_keys(IDS, salt="a", adapter=None))) == 2  # the end went, the beginning stayed


def test_without_memory_nothing_is_kept() -> None:
    cache = filled(max_bytes=0)
    assert len(cache) == 0 and cache.num_bytes == 0
