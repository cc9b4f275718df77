import pytest
from hypothesis import given
from hypothesis import strategies as st

from banyan.infer.sampling import SamplingConfig
from banyan.infer.text_rules import blocked_tokens, repeated_ends

STOP = frozenset({9})


@given(said=st.lists(st.integers(0, 2), max_size=12), num_tokens=st.integers(1, 4))
def test_a_token_is_blocked_exactly_if_it_would_repeat_a_run(said: list[int], num_tokens: int) -> None:
    for token in range(3):
        longer = [*said, token]
        runs = [tuple(longer[start : start + num_tokens]) for start in range(len(longer) - num_tokens + 1)]
        repeats = bool(runs) and runs[-1] in runs[:-1]
        assert (token in repeated_ends(said, num_tokens=num_tokens)) == repeats


@pytest.mark.parametrize(("num_said", "is_blocked"), [(0, True), (2, True), (3, False)])
def test_an_answer_may_not_end_before_its_shortest_length(num_said: int, is_blocked: bool) -> None:
    config = SamplingConfig(min_tokens=3)
    assert blocked_tokens(range(num_said), config, stop_ids=STOP) == (STOP if is_blocked else set())
