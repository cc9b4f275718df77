"""A checkpoint as a model directory of its own, which stays when the run removes the checkpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from banyan.core.model_directory import MANIFEST, new_model_directory
from banyan.train.state import OPTIMIZER_FILE, STATE_FILE

_ONLY_FOR_RESUMING = {OPTIMIZER_FILE, STATE_FILE, MANIFEST}


def copy_model(checkpoint: Path, path: Path, *, beside: Mapping[Path, Sequence[Path]] | None = None) -> None:
    """Write the model of a checkpoint, without what only a resumed run needs; files are shared with it.

    `beside` names further files by the folder, relative to the model's, that they come into.
    Raises: SpaceError if it cannot be written.
    """
    with new_model_directory(path) as temporary:
        for file in checkpoint.iterdir():
            if file.is_file() and file.name not in _ONLY_FOR_RESUMING:
                _link_or_copy(file, temporary / file.name)
        for folder, files in (beside or {}).items():
            (temporary / folder).mkdir(parents=True)
            for file in files:
                _link_or_copy(file, temporary / folder / file.name)


def _link_or_copy(source: Path, target: Path) -> None:
    """Share a file; copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
