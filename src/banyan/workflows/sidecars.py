"""The files that every checkpoint of a run carries beside its weights, so that each of them can answer."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import yaml

from banyan.core.config import config_to_mapping
from banyan.core.model_directory import BANYAN_FILE, IMAGE_TOKENIZER_FILE
from banyan.runtime.description import AdapterOrigin, describe_model, description_to_bytes
from banyan.tokenizers.images import save_image_tokenizer
from banyan.workflows.material import Material
from banyan.workflows.recipe import RECIPE_FILE as RECIPE_FILE
from banyan.workflows.recipe import Recipe


def sidecars_of(recipe: Recipe, material: Material, *, adapter: AdapterOrigin | None = None) -> dict[str, bytes]:
    """Return file names and contents: tokenizers, description, and the recipe that names the data.

    Beside an adapter lie no tokenizers: its model has them.
    """
    files = _tokenizers(material) if adapter is None else {}
    parent = material.parent
    description = describe_model(
        material.known_tasks,
        chat=material.vocabulary.chat.name,
        image_tokenizer=material.image_tokenizer,
        sampling=material.sampling,
        dataset_fingerprint=material.fingerprint,
        recipe_sha256=recipe.fingerprint,
        parent=None if parent is None else parent.name,
        parent_sha256=None if parent is None else parent.sha256,
    )
    files[BANYAN_FILE] = description_to_bytes(dataclasses.replace(description, adapter=adapter))
    files[RECIPE_FILE] = yaml.safe_dump(config_to_mapping(recipe), sort_keys=False, allow_unicode=True).encode()
    return files


def _tokenizers(material: Material) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        material.vocabulary.save(directory)
        if material.image_tokenizer is not None:
            save_image_tokenizer(material.image_tokenizer, directory / IMAGE_TOKENIZER_FILE)
        return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
