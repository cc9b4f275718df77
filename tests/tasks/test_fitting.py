import pytest

from banyan.core.errors import ContextLengthError
from banyan.tasks.fitting import answer_room, end_answer, fit_source


def fit(num_tokens: int, *, max_tokens: int = 20, max_source_tokens: int | None = None, truncate: bool = True):
    return fit_source(
        range(num_tokens),
        task="t",
        max_tokens=max_tokens,
        reserved_tokens=5,
        max_source_tokens=max_source_tokens,
        truncate=truncate,
    )


def test_a_source_that_fits_is_left_whole() -> None:
    assert fit(15) == (tuple(range(15)), 0)


def test_the_end_of_a_source_is_cut_and_counted() -> None:
    assert fit(18) == (tuple(range(15)), 3)
    assert fit(18, max_source_tokens=4) == (tuple(range(4)), 14)


def test_a_strict_task_says_how_many_tokens_there_were() -> None:
    with pytest.raises(ContextLengthError) as caught:
        fit(18, truncate=False)
    assert (caught.value.num_prompt_tokens, caught.value.max_seq_len) == (23, 20)


def test_a_context_without_room_is_refused_even_where_cutting_is_allowed() -> None:
    with pytest.raises(ContextLengthError, match="no room for a source"):
        fit(1, max_tokens=5)


def test_an_answer_gets_at_most_half_of_the_context() -> None:
    assert answer_room(64, max_tokens=1000) == 64
    assert answer_room(64, max_tokens=100) == 50


def test_an_answer_ends_with_its_end_token_where_that_fits() -> None:
    assert end_answer([1, 2], 9, room=3) == (1, 2, 9)
    assert end_answer([1, 2, 3], 9, room=3) == (1, 2, 3)
