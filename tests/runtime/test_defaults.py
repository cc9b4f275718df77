import pytest

from banyan.infer.sampling import GREEDY, SamplingConfig
from banyan.runtime.defaults import default_sampling, override
from banyan.tasks.registry import TASK_KINDS


@pytest.mark.parametrize("kind", list(TASK_KINDS))
def test_only_what_has_many_right_answers_is_drawn(kind: str) -> None:
    assert default_sampling(kind).is_greedy == (kind not in {"language_modeling", "image_generation"})


def test_only_the_fields_that_are_given_change() -> None:
    sampling = SamplingConfig(temperature=0.5, top_k=3, seed=9)
    assert override(sampling) == sampling
    changed = override(sampling, max_tokens=4, temperature=0, seed=0)
    assert changed == SamplingConfig(temperature=0, top_k=3, seed=0, max_tokens=4)
    assert override(GREEDY, temperature=0) == GREEDY
