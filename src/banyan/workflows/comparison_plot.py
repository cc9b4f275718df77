"""Generated beside real text as one picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

_GENERATED, _REAL = "tab:green", "tab:blue"
_BARS = ("seq-rep-2", "seq-rep-4")
_TOLD = ("bits_per_byte", "BLEU", "chrF", "ROUGE-L")
_LINES = {"distinct-": "different n-grams", "in real text-": "n-grams that the real text has, too"}
_COPIES = "in training text-"

Values = Mapping[str, tuple[float, float | None]]  # score → (generated, real)


def draw_texts(values: Values, *, lengths: Mapping[str, Sequence[int]]) -> bytes:
    """Return a PNG: variety by n, overlap by n, repetition and copying, and how long the texts are."""
    # Here, for it takes half a second to import. The bare figure draws with Agg and needs no display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    places = figure.subplots(2, 2).flatten()
    for place, (prefix, title) in zip(places, _LINES.items(), strict=False):
        _draw_orders(place, values, prefix, title)
    figure.suptitle(_told(values), fontsize=9)
    _draw_bars(places[2], values)
    _draw_lengths(places[3], lengths)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def _told(values: Values) -> str:
    """Return the scores that are no shares, as a line."""
    parts = [
        f"{name} {generated:.3g}" + ("" if real is None else f" (real {real:.3g})")
        for name in _TOLD
        if name in values
        for generated, real in [values[name]]
    ]
    return "   ".join(parts)


def _draw_orders(place: Any, values: Values, prefix: str, title: str) -> None:
    found = {name.removeprefix(prefix): pair for name, pair in values.items() if name.startswith(prefix)}
    place.plot(list(found), [generated for generated, _ in found.values()], "o-", color=_GENERATED, label="generated")
    if all(real is not None for _, real in found.values()):
        place.plot(list(found), [real for _, real in found.values()], "s--", color=_REAL, label="real")
    place.set_title(title, fontsize=9)
    place.set_xlabel("n", fontsize=8)
    place.set_ylim(0, 1.05)
    place.legend(fontsize=7)


def _draw_bars(place: Any, values: Values) -> None:
    names = [name for name in (*_BARS, *(n for n in values if n.startswith(_COPIES))) if name in values]
    across = range(len(names))
    place.bar([x - 0.2 for x in across], [values[name][0] for name in names], 0.4, color=_GENERATED, label="generated")
    place.bar([x + 0.2 for x in across], [values[name][1] or 0 for name in names], 0.4, color=_REAL, label="real")
    place.set_xticks(list(across), [name.replace(" text-", "\ntext-") for name in names], fontsize=7)
    place.set_title("n-grams that came before", fontsize=9)
    place.legend(fontsize=7)


def _draw_lengths(place: Any, lengths: Mapping[str, Sequence[int]]) -> None:
    highest = max(1, *(max(found, default=1) for found in lengths.values()))
    for name, colour in (("generated", _GENERATED), ("real", _REAL)):
        place.hist(lengths[name], bins=20, range=(0, highest), alpha=0.5, color=colour, label=name)
    place.set_title("length in words (Chinese: characters)", fontsize=9)
    place.legend(fontsize=7)
