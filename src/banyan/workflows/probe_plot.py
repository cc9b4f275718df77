"""The accuracy of a linear probe over the layers of a model, as a picture."""

from __future__ import annotations

import io

from banyan.workflows.probing import Probe


def draw_probe(found: Probe) -> bytes:
    """Return a PNG: accuracy with its 95 % interval over the layers, beside always answering the commonest label."""
    # Here, for it takes half a second to import. The bare figure draws with Agg and needs no display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 3.6))
    panel = figure.subplots()
    layers = [score.layer for score in found.layers]
    low, high = ([getattr(score.interval, side) for score in found.layers] for side in ("low", "high"))
    panel.fill_between(layers, low, high, color="tab:green", alpha=0.2, linewidth=0)
    panel.plot(layers, [score.accuracy for score in found.layers], marker=".", color="tab:green", label="linear probe")
    panel.axhline(found.majority.accuracy, linestyle="--", color="tab:gray", label="commonest label")
    panel.axvline(found.best, linewidth=0.8, color="tab:orange", label=f"best: layer {found.best}")
    panel.set_xticks(layers)
    panel.set_xlabel("layer (0: embeddings)", fontsize=8)
    panel.set_ylabel("accuracy", fontsize=8)
    # A name may hold a dollar, which would begin a formula.
    panel.set_title(f"{found.data}: {found.num_test} examples".replace("$", r"\$"), fontsize=9)
    panel.legend(fontsize=7)
    panel.grid(alpha=0.2)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120, bbox_inches="tight")
    return picture.getvalue()
