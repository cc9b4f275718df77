import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from banyan.train.health.config import HealthConfig
from banyan.train.health.judge import Evidence, UpdateJudge

SOUND, BROKEN = (3.0,), (9.0,)


def evidence(
    loss: float = 3.0, *, grad_norm: float = 0.5, earlier: Sequence[float] = SOUND, **changes: Any
) -> Evidence:
    given: dict[str, Any] = {
        "loss": loss / 7,
        "task_losses": (loss,),
        "grad_norm": grad_norm,
        "num_independent": lambda: (1000.0,),
        "clip_norm": None,
        "has_shifted": False,
        "earlier": lambda: (earlier, (1000.0,)),
    }
    return Evidence(**{**given, **changes})


def experienced(**config: bool) -> UpdateJudge:
    judge, rng = UpdateJudge(num_tasks=1, config=HealthConfig(**config)), np.random.default_rng(0)
    for _ in range(200):
        step = evidence(rng.normal(3, 0.05), grad_norm=float(np.exp(rng.normal(-0.7, 0.1))))
        assert judge.judge(step).finding is None
        judge.learned(step)
    return judge


def outcomes(judge: UpdateJudge, steps: list[Evidence]) -> list[tuple[str, float]]:
    """Judge steps in turn; return the signal and the scale of each update."""
    found = []
    for step in steps:
        judgement = judge.judge(step)
        judge.learned(step)
        found.append((judgement.finding.signal if judgement.finding else "", judgement.verdict.update_scale))
    return found


@pytest.mark.parametrize("bad", [{"loss": math.nan}, {"grad_norm": math.inf}])
def test_what_is_not_a_number_is_never_learned_from(bad: dict[str, float]) -> None:
    for judge in (experienced(), UpdateJudge(num_tasks=1, config=HealthConfig(skip=False))):
        assert outcomes(judge, [evidence(**bad)]) == [("not_finite", 0.0)]


def test_one_bad_batch_is_left_out_and_the_next_one_learned() -> None:
    assert outcomes(experienced(), [evidence(8.0), evidence(3.0)]) == [("bad_batch", 0.0), ("", 1.0)]


def test_bad_batches_in_a_row_from_a_sound_model_are_wrong_targets_and_all_left_out() -> None:
    found = outcomes(experienced(), [evidence(8.0)] * 20 + [evidence(3.0)])
    assert found == [("bad_batch", 0.0)] * 2 + [("wrong_targets", 0.0)] * 18 + [("", 1.0)]


def test_with_other_tokens_too_it_is_the_vocabulary() -> None:
    assert outcomes(experienced(), [evidence(8.0, has_shifted=True)])[0][0] == "wrong_vocabulary"


def test_a_model_that_fails_on_what_it_has_learned_has_diverged() -> None:
    assert outcomes(experienced(), [evidence(8.0, earlier=BROKEN)]) == [("diverged", 0.0)]
    assert outcomes(experienced(rewind=False), [evidence(8.0, earlier=BROKEN)]) == [("diverged", 1.0)]


def test_data_that_stays_different_is_the_data_of_now() -> None:
    found = outcomes(experienced(), [evidence(8.0)] * 40)
    assert found[30] == ("data_changed", 1.0) and found[31:] == [("", 1.0)] * 9


def test_a_gradient_far_too_long_is_shortened_below_the_clip() -> None:
    ((signal, scale),) = outcomes(experienced(), [evidence(grad_norm=50.0)])
    assert signal == "gradient_spike" and 0 < 50 * scale < 5
    assert outcomes(experienced(), [evidence(grad_norm=50.0, clip_norm=0.1)]) == [("gradient_spike", 1.0)]
    assert outcomes(experienced(rescale=False), [evidence(grad_norm=50.0)]) == [("gradient_spike", 1.0)]


def test_without_the_remedy_a_spike_is_only_told() -> None:
    assert outcomes(experienced(skip=False), [evidence(8.0)]) == [("bad_batch", 1.0)]


def test_what_was_saved_in_the_middle_of_an_episode_judges_alike() -> None:
    steps = [evidence(8.0)] * 2
    judge, again = experienced(), UpdateJudge(num_tasks=1, config=HealthConfig())
    outcomes(judge, steps)
    again.restore(json.loads(json.dumps(judge.state())))
    assert outcomes(again, steps) == outcomes(judge, steps)
