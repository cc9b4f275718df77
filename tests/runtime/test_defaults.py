import pytest

from banyan.infer.sampling import GREEDY, SamplingConfig
from banyan.runtime.defaults import default_sampling, override, own_seeds
from banyan.tasks.registry import TASK_KINDS
from banyan.testing.prompts import text_prompt


@pytest.mark.parametrize("kind", list(TASK_KINDS))
def test_only_what_has_many_right_answers_is_drawn(kind: str) -> None:
    assert default_sampling(kind).is_greedy == (kind not in {"language_modeling", "image_generation"})


def test_only_the_fields_that_are_given_change() -> None:
    sampling = SamplingConfig(temperature=0.5, top_k=3, seed=9)
    assert override(sampling) == sampling
    changed = override(sampling, max_tokens=4, temperature=0, seed=0)
    assert changed == SamplingConfig(temperature=0, top_k=3, seed=0, max_tokens=4)
    assert override(GREEDY, temperature=0) == GREEDY


def test_a_prompt_keeps_the_seed_and_its_repetitions_get_others_whatever_stands_between() -> None:
    first, second = text_prompt("one"), text_prompt("two")
    seeds = [s.seed for s in own_seeds([first, second, first, first, second], SamplingConfig(seed=7))]
    assert seeds[0] == seeds[1] == 7
    assert seeds[2:4] == [s.seed for s in own_seeds([first] * 3, SamplingConfig(seed=7))][1:]
    assert len(set(seeds)) == 3
