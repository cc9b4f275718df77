"""Where the model of an adapter lies: an option of every verb that opens a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

BaseOption: TypeAlias = Annotated[
    Path | None, typer.Option("--base", help="If MODEL is an adapter: where its model lies now, if that has moved.")
]
