import json

from banyan.train.health.ledger import FOLLOW_UP, Ledger
from banyan.train.health.signals import Finding

SPIKE = Finding(signal="bad_batch", value=9.0, threshold=6.0)


def tell(ledger: Ledger, *, step: int, finding: Finding = SPIKE, is_decisive: bool = True) -> None:
    ledger.tell(
        finding, step=step, action="skipped", usual_loss=0.5, samples={"data": {"row": 1}}, is_decisive=is_decisive
    )


def test_an_episode_is_one_event_and_one_more_fifty_steps_later() -> None:
    ledger = Ledger()
    ledger.note_step(step=9, loss=float("nan"), grad_norm=1.0)
    for step in (10, 11, 20):
        tell(ledger, step=step)
    (alarm,) = ledger.take()
    assert (alarm.kind, alarm.step, alarm.detail["signal"]) == ("alarm", 10, "bad_batch")
    assert alarm.detail["recent"] == [[9, None, 1.0]] and alarm.detail["data"] == {"row": 1}
    json.dumps(alarm.detail, allow_nan=False)
    ledger.follow_up(step=20 + FOLLOW_UP - 1, usual_loss=0.4)
    assert ledger.take() == []
    ledger.follow_up(step=20 + FOLLOW_UP, usual_loss=0.4)
    (later,) = ledger.take()
    assert (later.detail["since"], later.detail["count"]) == (10, 3)
    assert (later.detail["loss_before"], later.detail["loss_after"]) == (0.5, 0.4)


def test_the_same_signal_elsewhere_is_another_episode() -> None:
    ledger = Ledger()
    for where in ("a", "b"):
        tell(ledger, step=1, finding=Finding(signal="frozen_layer", value=0, threshold=0, where=where))
    assert len(ledger.take()) == 2


def test_open_episodes_outlive_a_resume_unless_they_rest_on_this_process() -> None:
    ledger, again = Ledger(), Ledger()
    tell(ledger, step=10)
    tell(ledger, step=10, finding=Finding(signal="slow_step", value=2, threshold=1), is_decisive=False)
    again.restore(json.loads(json.dumps(ledger.state())))
    again.follow_up(step=100, usual_loss=0.3)
    assert [event.detail["signal"] for event in again.take()] == ["bad_batch"]
