"""A saved model is scored on the examples that training makes of the same rows."""

import json
from pathlib import Path

from banyan.runtime.loading import load
from banyan.testing.model_directories import save_tiny_model
from banyan.workflows.evaluation import evaluate
from banyan.workflows.reporter import SilentReporter


def test_pictures_without_labels_are_scored_by_how_likely_they_are(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    with load(model) as loaded:
        name = loaded.task_of_kind("image_generation").name
    picture = {"width": 4, "height": 4, "channels": 1, "pixels": list(range(16))}
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"image": picture, "text": f"picture {n}"}) + "\n" for n in range(3)))
    run = evaluate(
        model,
        tasks=(),
        data=(f"{name}={rows}",),
        split="test",
        max_examples=10,
        save_predictions=None,
        database=f"sqlite:///{tmp_path}/scores.db",
        reporter=SilentReporter(),
    )
    assert run.evaluations[name].main_metric == "perplexity"
    assert run.evaluations[name].num_examples == 3
