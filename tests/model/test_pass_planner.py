import pytest
import torch

from banyan.core.errors import ContextLengthError, ShapeError
from banyan.model.kv_cache import KVCache
from banyan.model.pass_planner import PassPlanner
from banyan.testing.models import tiny_model_config

CONFIG = tiny_model_config()
TOKENS = torch.zeros(2, 3, dtype=torch.int64)


def test_positions_count_from_zero_unless_they_are_given() -> None:
    planner, given = PassPlanner(CONFIG), torch.tensor([[5, 6, 7]] * 2)
    counted, plan = planner.plan(TOKENS, None, None, None, dtype=torch.float32)
    assert counted.tolist() == [[0, 1, 2]]
    assert plan.mask is None and plan.cache is None
    assert planner.plan(TOKENS, given, None, None, dtype=torch.float32)[0] is given


def test_a_cache_counts_on_from_what_each_slot_holds() -> None:
    cache = KVCache(CONFIG, num_slots=2)
    first, plan = PassPlanner(CONFIG).plan(TOKENS, None, None, None, dtype=torch.float32, cache=cache.rows([0, 1]))
    assert first.tolist() == [[0, 1, 2]] * 2
    assert plan.cache is not None


def test_positions_beside_a_cache_are_refused() -> None:
    rows = KVCache(CONFIG, num_slots=2).rows([0, 1])
    with pytest.raises(ShapeError, match="each slot is one segment"):
        PassPlanner(CONFIG).plan(TOKENS, TOKENS, None, None, dtype=torch.float32, cache=rows)


def test_more_tokens_than_positions_are_refused() -> None:
    with pytest.raises(ContextLengthError, match="max_seq_len=64"):
        PassPlanner(CONFIG).plan(torch.zeros(1, 65), None, None, None, dtype=torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angles_come_in_the_number_format_of_the_weights(dtype: torch.dtype) -> None:
    _, plan = PassPlanner(CONFIG).plan(TOKENS, None, None, None, dtype=dtype)
    assert plan.rope is not None
    assert {table.dtype for table in plan.rope} == {dtype}
