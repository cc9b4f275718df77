"""Banyan: a GPT that you grow yourself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from banyan.core.types import Image, Prediction

if TYPE_CHECKING:
    from pathlib import Path

    from banyan.runtime.loaded_model import LoadedModel

__all__ = ["Image", "Prediction", "__version__", "load"]

__version__ = "0.1.0"


def load(directory: Path | str, *, device: str = "auto", num_slots: int = 16) -> LoadedModel:
    """Open a model directory and get the model ready to answer.

    >>> import banyan
    >>> with banyan.load("runs/demo/best") as model:
    ...     print(model.generate("def add(", max_tokens=40))

    `device` is auto, cpu or cuda; `num_slots` is how many answers can be written at once.
    Raises: FileError if there is no such directory; CheckpointError in one line for whatever is wrong with it.
    """
    # Here and not above: importing banyan must stay cheap, and this imports torch.
    from banyan.runtime.loading import load as load_directory

    return load_directory(directory, device=device, num_slots=num_slots)
