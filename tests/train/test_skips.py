import math
from pathlib import Path

from banyan.testing.training import tiny_batch
from banyan.train.callbacks import StepRecord
from banyan.train.skips import MAX_SKIPPED, SKIP_WINDOW, note_skip
from banyan.train.state import Progress
from banyan.train.step import StepResult, Verdict
from banyan.train.stepper import StepTaken


def taken(signal: str) -> StepTaken:
    record = StepRecord(
        step=1,
        num_steps=9,
        loss=math.nan,
        task_losses={},
        learning_rate=0.1,
        grad_norm=math.nan,
        num_tokens=1,
        tokens_per_second=1.0,
        seconds=1.0,
        is_applied=False,
    )
    verdict = Verdict(update_scale=0.0, signal=signal)
    result = StepResult(loss=math.nan, task_losses=(), grad_norm=math.nan, num_targets=1, num_tokens=1, verdict=verdict)
    return StepTaken(record=record, result=result, batch=tiny_batch(), place={"row": 3}, input_seconds=0.0)


def num_until_the_end(signal: str, *, every: int) -> int | None:
    progress = Progress()
    for count in range(1, 3 * MAX_SKIPPED):
        progress.step += every
        event, end = note_skip(taken(signal), progress, run_directory=Path("run"))
        assert (event.step, event.kind, event.detail["data"]) == (progress.step, "step_skipped", {"row": 3})
        if end is not None:
            return count
    return None


def test_updates_that_no_sound_model_makes_end_the_run_where_they_are_many() -> None:
    assert num_until_the_end("not_finite", every=1) == MAX_SKIPPED
    assert num_until_the_end("not_finite", every=SKIP_WINDOW // MAX_SKIPPED + 2) is None
    assert num_until_the_end("bad_batch", every=1) is None
