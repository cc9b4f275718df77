"""`banyan draw MODEL "a cat"`: pictures from words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.base_model import BaseOption
from banyan.cli.output import JsonOption, QuietOption, emit, say
from banyan.cli.sampling import (
    GuidanceOption,
    GuidancePowerOption,
    SeedOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
    changed,
)
from banyan.runtime.loading import load
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.drawing import Drawing, draw

app = typer.Typer(add_completion=False)
FEW_SLOTS, MANY_SLOTS = 16, 128  # of the cache, two for a picture with guidance; many cost time where few are drawn


@app.command(name="draw")
def draw_command(
    model: Annotated[Path, typer.Argument(help="A model directory, for example runs/demo/best")],
    text: Annotated[str, typer.Argument(help="What to draw.")],
    num: Annotated[int, typer.Option("--num", "--n", min=1, max=256, help="How many pictures.")] = 1,
    out: Annotated[
        Path, typer.Option("--output", "-o", "--out", help="A PNG file; several pictures become one sheet.")
    ] = Path("drawing.png"),
    guidance: GuidanceOption = None,
    guidance_power: GuidancePowerOption = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, max=64, help="Draw so many for each picture; keep what fits the words best.")
    ] = None,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    seed: SeedOption = None,
    database: Annotated[str | None, typer.Option(help="Database URL; every picture is stored there.")] = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw pictures of what the words say.

    Example: banyan draw runs/demo/best "手写数字七" --num 8 --out seven.png
    """
    num_slots = FEW_SLOTS if num * (candidates or 1) <= FEW_SLOTS // 2 else MANY_SLOTS
    with (
        load(model, base=base, num_slots=num_slots) as loaded,
        AnswerRecorder(loaded, endpoint="draw", database=database) as recorder,
    ):
        task = loaded.task_of_kind("image_generation")
        sampling = changed(
            loaded.sampling_for(task.name),
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            guidance_scale=guidance,
            guidance_power=guidance_power,
            num_candidates=candidates,
        )
        drawing = draw(loaded, text, out, num=num, sampling=sampling, recorder=recorder)
    emit(drawing, as_json=as_json, quiet=quiet, text=lambda: tell(drawing))


def tell(drawing: Drawing) -> None:
    """Say where the pictures are."""
    pictures = "1 picture" if drawing.num_pictures == 1 else f"{drawing.num_pictures} pictures"
    say(f"{pictures} of {drawing.width}×{drawing.height} pixels: {drawing.output}")
