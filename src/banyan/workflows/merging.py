"""An adapter and its model made into one: a whole model that needs neither of them any more."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from banyan.core.errors import SpaceError
from banyan.core.files import read_json
from banyan.core.model_directory import IMAGE_TOKENIZER_FILE, new_model_directory
from banyan.model.checkpoint import GENERATION_CONFIG_FILE, save_model
from banyan.model.lora import merge, without_adapter
from banyan.runtime.adapters import find_base
from banyan.runtime.description import write_description
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tokenizers.images import save_image_tokenizer


def merge_adapter(model_directory: Path | None, adapter_directory: Path, out: Path) -> None:
    """Write a model directory that answers as the model does under the adapter, with its tasks and task heads.

    `model_directory` is where the adapter's model lies; None: where the adapter says. The weights are written in
    float32, for a product of two thin matrices is finer than what shorter formats tell apart.
    Raises: FileError or CheckpointError if one of the two cannot be used, or they do not belong together; SpaceError
    if there is no room, or something lies there already.
    """
    if out.exists():
        raise SpaceError(f"cannot write {out}: something lies there already.", hint="name a new folder")
    base = find_base(adapter_directory, given=model_directory)
    with load(adapter_directory, device="cpu", num_slots=1, base=base) as adapted:
        _merge_in_place(adapted)
        with new_model_directory(out) as temporary:
            save_model(adapted.model, temporary, **_special_ids(base))
            adapted.vocabulary.save(temporary)
            if adapted.image_tokenizer is not None:
                save_image_tokenizer(adapted.image_tokenizer, temporary / IMAGE_TOKENIZER_FILE)
            write_description(temporary, dataclasses.replace(adapted.description, adapter=None))


def _merge_in_place(adapted: LoadedModel) -> None:
    """Add the adapter to the matrices, and let its task heads take the place of the model's."""
    assert adapted.adapter is not None
    model = adapted.model
    merge(model, adapted.adapter)
    model.heads = model.heads_under(adapted.adapter)
    without_adapter(model, adapted.adapter)


def _special_ids(directory: Path) -> dict[str, Any]:
    """Return what the model's own files say of the ids that begin, end and fill a text."""
    path = directory / GENERATION_CONFIG_FILE
    stored = read_json(path) if path.is_file() else {}
    eos = stored.get("eos_token_id")
    return {
        "bos_id": stored.get("bos_token_id"),
        "eos_ids": eos if isinstance(eos, list) else [] if eos is None else [eos],
        "pad_id": stored.get("pad_token_id"),
    }
