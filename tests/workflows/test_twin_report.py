"""What a comparison found is told plainly: gains, doubts, and what was not run."""

from banyan.tasks.intervals import Comparison, Interval
from banyan.workflows.kept_scores import TaskScore
from banyan.workflows.twin_report import HELP_NOTE, draw_transfer, help_table, summary_lines, transfer_table
from banyan.workflows.twin_results import Help, JointVsSingle, Scored, TaskTransfer


def _comparison(improvement: float, *, margin: float = 0.01) -> Comparison:
    interval = Interval(low=improvement - margin, high=improvement + margin)
    return Comparison(score="accuracy", improvement=improvement, interval=interval, p_value=0.01)


def _scored(score: float, *, num_seeds: int = 2) -> Scored:
    one = TaskScore(metric="accuracy", score=score, unit=score, num_examples=50, samples=(score,), scores={})
    return Scored(scores=(one,) * num_seeds, rate=0.5)


def _task(name: str, gain: float, *, corrected_p: float) -> TaskTransfer:
    return TaskTransfer(
        task=name,
        joint=_scored(0.5 + gain),
        single=_scored(0.5, num_seeds=1),
        comparison=_comparison(gain),
        corrected_p=corrected_p,
    )


FOUND = JointVsSingle(
    tasks=(_task("hurt", -0.04, corrected_p=0.01), _task("helped", 0.1, corrected_p=0.2)),
    missing=("later",),
    helps=(
        Help(helper="a", helped="b", comparison=_comparison(0.02)),
        Help(helper="b", helped="a", comparison=_comparison(0.0)),
    ),
    num_done=7,
    num_planned=12,
    num_seeds=3,
)


def test_the_table_begins_with_the_best_gain() -> None:
    _, _, first, second = transfer_table(FOUND)
    row = "| helped | accuracy | 50 | 0.600 at ×0.5 | 0.500 at ×0.5 (1 seed) | +10.0 | +9.0 – +11.0 | 0.200 |"
    assert first == f"{row} no difference shown |"
    assert second.startswith("| hurt |") and second.endswith("| worse |")


def test_the_summary_says_what_was_lost_and_what_is_missing() -> None:
    told = " ".join(summary_lines(FOUND))
    assert "7 of 12 runs" in told and "Mean gain +3.00 points over 2 tasks; the worst is hurt, -4.0." in told
    assert "Significantly worse among the others: hurt." in told and "better among the others: none" in told
    assert "Not run yet: later." in told


def test_help_is_a_matrix_with_stars_where_zero_is_left_out() -> None:
    assert help_table(FOUND.helps) == [
        "| helper ↓ helped → | b | a |",
        "|---|---|---|",
        "| a | +2.0* |  |",
        "| b |  | +0.0 |",
        "",
        HELP_NOTE,
    ]


def test_the_gains_are_a_picture() -> None:
    assert draw_transfer(FOUND).startswith(b"\x89PNG")
