"""A time becomes a number of steps."""

from banyan.workflows.reporter import SilentReporter
from banyan.workflows.run_beginning import steps_within


def test_as_many_steps_as_fit_and_at_least_one() -> None:
    reporter = SilentReporter()
    assert steps_within(1.5, step_seconds=0.4, reporter=reporter) == 225
    assert steps_within(0.1, step_seconds=60, reporter=reporter) == 1
