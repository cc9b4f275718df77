"""The results as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from proofs.joint.page import Results, ablation_name, mean_points, runs_of
from proofs.joint.settings import FORMS, Setting


def draw_quality(path: Path, results: Results) -> bool:
    """Draw what each task scored in every form, and the best simple system; False where there is nothing to draw."""
    forms = {form.name: done for form in FORMS if (done := runs_of(results, form))}
    if not forms:
        return False
    names = list(dict.fromkeys(name for done in forms.values() for name in done[0].tasks))
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for label, done in forms.items():
        means = [100 * sum(run.tasks[name].unit for run in done) / len(done) for name in names]
        panel.plot(range(len(names)), means, "o", label=label)
    panel.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    panel.set_ylabel("points of 100")
    panel.grid(alpha=0.3)
    panel.legend()
    figure.savefig(path, dpi=80)
    return True


def draw_ablations(path: Path, results: Results, settings: Sequence[Setting], seeds: Sequence[int]) -> bool:
    """Draw the mean over tasks of every run of every setting; False where there is nothing to draw."""
    found = {
        setting.name: [run for seed in seeds if (run := results(ablation_name(setting, seed))) is not None]
        for setting in settings
    }
    if not any(found.values()):
        return False
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for place, runs in enumerate(reversed(found.values())):
        panel.plot([mean_points(run) for run in runs], [place] * len(runs), "o", color="tab:blue")
    panel.set_yticks(range(len(found)), list(reversed(found)), fontsize=8)
    panel.set_xlabel("mean over tasks, points of 100; one dot for each seed")
    panel.grid(alpha=0.3)
    figure.savefig(path, dpi=80)
    return True
