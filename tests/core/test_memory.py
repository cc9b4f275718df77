import gc

import psutil
import pytest

from banyan.core.memory import give_back_freed_memory, without_collector

MIB = 1 << 20


def held_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def test_what_was_freed_between_pieces_in_use_goes_back_to_the_system() -> None:
    before = held_bytes()
    pieces = [bytearray(16 << 10) for _ in range(8 << 10)]  # small enough to share pages with what stays
    full, kept = held_bytes(), pieces[::64]
    del pieces
    if held_bytes() < full - 64 * MIB:
        pytest.skip("this C library gives memory back by itself")
    assert give_back_freed_memory()
    assert held_bytes() < before + 40 * MIB
    assert all(len(piece) == 16 << 10 for piece in kept)


@pytest.mark.parametrize("was_on", [True, False])
def test_the_collector_is_left_as_it_was_found(was_on: bool) -> None:
    earlier = gc.isenabled()
    try:
        (gc.enable if was_on else gc.disable)()
        with pytest.raises(KeyError), without_collector():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() is was_on
    finally:
        (gc.enable if earlier else gc.disable)()
