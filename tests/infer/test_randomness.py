from hypothesis import given
from hypothesis import strategies as st

from banyan.infer.randomness import derive_seed, uniform

SEEDS = st.integers(-(2**63), 2**64)


@given(SEEDS, st.integers(0, 10**6))
def test_a_draw_depends_on_seed_and_position_alone(seed: int, position: int) -> None:
    assert 0 <= uniform(seed, position) < 1
    assert uniform(seed, position) == uniform(seed, position)


def test_draws_are_spread_evenly_over_positions_and_over_seeds() -> None:
    for draws in ([uniform(7, n) for n in range(20_000)], [uniform(n, 3) for n in range(20_000)]):
        counts = [sum(1 for u in draws if tenth <= u * 10 < tenth + 1) for tenth in range(10)]
        assert all(abs(count - 2000) < 200 for count in counts)  # more than 4 standard deviations


def test_neighbouring_seeds_and_positions_never_share_their_numbers() -> None:
    assert len({uniform(seed, position) for seed in range(100) for position in range(100)}) == 10_000


@given(SEEDS, st.integers(1, 100))
def test_a_derived_seed_survives_json_and_differs_from_its_origin(seed: int, choice: int) -> None:
    assert 0 <= derive_seed(seed, choice) < 2**53
    assert derive_seed(seed, choice) != derive_seed(seed, choice + 1)


def test_the_first_choice_keeps_the_seed() -> None:
    assert derive_seed(1234, 0) == 1234
