from dataclasses import replace

import pytest

from banyan.core.errors import ContextLengthError
from banyan.core.types import ImageGrid
from banyan.infer.admission import Limits
from banyan.infer.sampling import GREEDY, SamplingConfig
from banyan.testing.prompts import HEADS, make_model, picture_prompt, scoring_prompts, text_prompt

LIMITS = Limits(config=make_model().config, heads=HEADS, num_slots=4)


@pytest.mark.parametrize(("task", "asked", "expected"), [(5, None, 5), (5, 9, 9), (5, 2, 2), (10**6, None, 45)])
def test_an_answer_may_have_what_the_request_or_the_task_says_and_the_context_holds(
    task: int, asked: int | None, expected: int
) -> None:
    prompt = replace(text_prompt("x", max_tokens=task), token_ids=(5, 6, 7))
    assert LIMITS.admit_generation(prompt, SamplingConfig(max_tokens=asked)).max_tokens == expected


@pytest.mark.parametrize(("scale", "num_slots"), [(1.0, 1), (2.0, 2), (0.0, 2)])
def test_only_a_picture_with_guidance_needs_two_slots(scale: float, num_slots: int) -> None:
    sampling = SamplingConfig(guidance_scale=scale)
    assert LIMITS.admit_generation(picture_prompt("x"), sampling).num_slots == num_slots
    assert LIMITS.admit_generation(text_prompt("x"), sampling).num_slots == 1


def test_a_picture_has_all_its_codes_whatever_is_asked() -> None:
    prompt = picture_prompt("x")
    assert isinstance(prompt.decoding, ImageGrid)
    assert LIMITS.admit_generation(prompt, SamplingConfig(max_tokens=1)).max_tokens == prompt.decoding.num_tokens


def test_a_text_prompt_must_leave_room_for_one_token() -> None:
    limit = LIMITS.config.max_seq_len
    prompt = text_prompt("x")
    assert LIMITS.admit_generation(replace(prompt, token_ids=(5,) * (limit - 1)), GREEDY).max_tokens == 1
    with pytest.raises(ContextLengthError):
        LIMITS.admit_generation(replace(prompt, token_ids=(5,) * limit), GREEDY)


def test_label_words_count_towards_the_context() -> None:
    prompt = scoring_prompts("x")[1]
    limit = LIMITS.config.max_seq_len
    with pytest.raises(ContextLengthError):
        LIMITS.check_scoring(replace(prompt, token_ids=(5,) * limit))
    LIMITS.check_scoring(scoring_prompts("x")[0])
