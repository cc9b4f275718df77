"""The options of every verb that draws its answer."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from banyan.runtime.defaults import SamplingConfig

MAX_SEED = 2**63 - 1  # what a database can hold

TemperatureOption = Annotated[float | None, typer.Option(min=0.0, max=2.0, help="0: always the likeliest token.")]
TopPOption = Annotated[float | None, typer.Option(help="Draw from the likeliest tokens that hold this probability.")]
TopKOption = Annotated[int | None, typer.Option(min=0, help="Draw from the k likeliest tokens; 0: from all.")]
MaxTokensOption = Annotated[int | None, typer.Option(min=1, help="The longest answer, in tokens.")]
BeamsOption = Annotated[
    int | None,
    typer.Option("--num-beams", min=1, help="Look for the best answer with so many beams; 1: take each best token."),
]
LengthPenaltyOption = Annotated[
    float | None, typer.Option(help="Beams: scores are divided by the length to this power; above 1: longer answers.")
]
NoRepeatOption = Annotated[
    int | None, typer.Option("--no-repeat-ngram", min=0, help="No run of so many tokens comes twice; 0: off.")
]
MinTokensOption = Annotated[int | None, typer.Option(min=0, help="The shortest answer, in tokens.")]
LookupOption = Annotated[
    int,
    typer.Option(
        "--prompt-lookup", min=0, help="Guess so many tokens ahead from what was read before; the answer is the same."
    ),
]
GuidanceOption = Annotated[
    float | None, typer.Option("--guidance", min=0.0, help="How strongly to follow the words; 1: plainly.")
]
GuidancePowerOption = Annotated[
    float | None,
    typer.Option("--guidance-power", min=0.0, help="0: guided alike from the first code on; above 0: more and more."),
]
SeedOption = Annotated[int | None, typer.Option(min=0, max=MAX_SEED, help="The same seed gives the same answer.")]


def changed(sampling: SamplingConfig, **options: Any) -> SamplingConfig:
    """Return a task's own sampling with the options that were given."""
    return dataclasses.replace(sampling, **{name: value for name, value in options.items() if value is not None})
