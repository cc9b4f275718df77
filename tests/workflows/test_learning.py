"""A frozen trunk is computed once, and the run learns the same as if it were computed in every step."""

from typing import Any

import pytest

from banyan.testing.training import tiny_loader
from banyan.testing.transfer_runs import TransferRuns, losses_of
from banyan.workflows.learning import Learning, heard_by, whole_batches
from banyan.workflows.live_model import TASK_SCORES


@pytest.mark.parametrize("last_blocks", [0, 1], ids=["heads alone", "last block"])
def test_losses_from_kept_features_are_those_of_the_whole_model(
    transfer_runs: TransferRuns, monkeypatch: pytest.MonkeyPatch, last_blocks: int
) -> None:
    tasks = [transfer_runs.task("trip"), transfer_runs.task("film"), transfer_runs.task("width", "question_answering")]
    transfer = {"parent": str(transfer_runs.folder / "parent"), "mode": "head", "last_blocks": last_blocks}
    kept = transfer_runs.run(f"kept {last_blocks}", tasks, transfer=transfer, train={"steps": 8})

    def uncached(recipe: Any, model: Any, material: Any, **_: Any) -> Learning:
        return whole_batches(recipe, material)

    monkeypatch.setattr("banyan.workflows.training.prepare_learning", uncached)
    plain = transfer_runs.run(f"plain {last_blocks}", tasks, transfer=transfer, train={"steps": 8})
    losses = losses_of(kept.run_directory)
    assert len(losses) == 8 and losses[-1] != losses[0]
    assert losses == pytest.approx(losses_of(plain.run_directory), abs=1e-5)


def test_a_mixture_hears_the_scores_of_the_tasks_and_no_record_holds_them() -> None:
    loader = tiny_loader()
    heard: list[Any] = []
    loader.hear_scores = heard.append  # type: ignore[method-assign]
    evaluate = heard_by(loader, lambda model, step: {"score": 0.5, TASK_SCORES: {"words": 0.5}})
    assert evaluate(None, 1) == {"score": 0.5} and heard == [{"words": 0.5}]
