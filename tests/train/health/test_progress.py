import json
import math

from banyan.train.callbacks import EvaluationRecord, StepRecord
from banyan.train.health.progress import LossCourse, Pace, ScoreCourse

SCALE = math.log(1000)


def record(step: int, loss: float, *, num_steps: int = 5000, learning_rate: float = 1.0) -> StepRecord:
    return StepRecord(
        step=step, num_steps=num_steps, loss=loss / SCALE, task_losses={"words": loss}, learning_rate=learning_rate,
        grad_norm=1.0, num_tokens=10, tokens_per_second=1.0, seconds=1.0, is_applied=True,
    )  # fmt: skip


def course() -> LossCourse:
    return LossCourse(nats_per_unit=SCALE, task_scales=[SCALE], task_names=["words"])


def signals(watch: LossCourse, losses: list[float], **changes: float) -> list[str]:
    return [f.signal for step, loss in enumerate(losses, 1) for f in watch.add(record(step, loss, **changes))]  # type: ignore[arg-type]


def test_a_model_that_never_starts_to_learn_is_named_after_three_hundred_steps() -> None:
    assert signals(course(), [SCALE - 0.1] * 300) == ["stuck_start"]
    assert signals(course(), [SCALE - 0.01 * step for step in range(300)]) == []


def test_a_loss_that_stands_still_at_full_rate_is_a_plateau_and_one_that_falls_is_not() -> None:
    falling = [6 * math.exp(-step / 900) for step in range(5000)]
    assert signals(course(), falling) == []
    standing = [6 * math.exp(-step / 200) + 2 + 1e-9 * step for step in range(5000)]
    assert signals(course(), standing) == ["plateau"]


def test_a_rate_that_has_fallen_is_no_plateau() -> None:
    watch = course()
    for step in range(1, 4000):
        assert watch.add(record(step, 2.0, learning_rate=1.0 if step < 1000 else 0.5)) == []


def test_a_course_that_was_broken_off_goes_on_as_it_would_have() -> None:
    losses = [6 * math.exp(-step / 200) + 2 + 1e-9 * step for step in range(5000)]
    whole, first, second = course(), course(), course()
    told = [step for step, loss in enumerate(losses, 1) if whole.add(record(step, loss))]
    for step, loss in enumerate(losses[:1777], 1):
        assert first.add(record(step, loss)) == []
    second.restore(json.loads(json.dumps(first.state())))
    assert told == [step for step, loss in enumerate(losses[1777:], 1778) if second.add(record(step, loss))]


def evaluated(step: int, score: float) -> EvaluationRecord:
    return EvaluationRecord(step=step, score=score, metrics={}, is_best=False, seconds=0.0)


def test_scores_that_fall_while_the_loss_falls_are_over_fit() -> None:
    watch, found = ScoreCourse(), []
    for number, score in enumerate([0.8, 0.7, 0.6, 0.5]):
        for step in range(100):
            watch.add_step(record(step + 1, 3 - number))
        found += watch.add_evaluation(evaluated(number, score))
    assert [finding.signal for finding in found] == ["over_fit"]


def test_scores_that_go_up_and_down_are_not() -> None:
    watch = ScoreCourse()
    for number, score in enumerate([0.8, 0.79, 0.81, 0.78, 0.77, 0.82]):
        watch.add_step(record(1, 3 - 0.1 * number))
        assert watch.add_evaluation(evaluated(number, score)) == []


def test_a_slow_stretch_and_a_hungry_one_are_told_once() -> None:
    pace = Pace()

    def add(num: int, step_seconds: float, input_seconds: float) -> list[str]:
        return [f.signal for _ in range(num) for f in pace.add(step_seconds=step_seconds, input_seconds=input_seconds)]

    assert add(1000, 1.0, 0.01) == []
    assert add(200, 2.0, 0.01) == ["slow_step"]
    assert add(200, 1.0, 0.01) == []
    assert add(200, 1.0, 0.5) == ["slow_input"]
