"""The files of a tokenizer's checkpoint: the tokenizer as everybody reads it, and the nets that only training needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import yaml
from torch import Tensor

from banyan.core.config import config_to_mapping
from banyan.core.errors import CheckpointError
from banyan.core.model_directory import IMAGE_TOKENIZER_FILE
from banyan.model.tensor_file import TensorFile
from banyan.model.vision.learner import TokenizerLearner
from banyan.tokenizers.images import image_tokenizer_to_bytes
from banyan.tokenizers.learned_pictures import LearnedPictures
from banyan.workflows.picture_tokenizer.pictures import PictureMaterial
from banyan.workflows.picture_tokenizer.recipe import PictureTokenizerRecipe
from banyan.workflows.sidecars import RECIPE_FILE

DESCRIPTION_FILE = "image_tokenizer.json"
JUDGES_FILE = "training_nets.safetensors"
_TOKENIZER = "autoencoder."


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerFiles:
    """Writes and reads the networks of a tokenizer run."""

    def save(self, model: TokenizerLearner, directory: Path) -> None:
        """Write image_tokenizer.safetensors and, beside it, the nets that judged it."""
        content = image_tokenizer_to_bytes(LearnedPictures(model.autoencoder))
        (directory / IMAGE_TOKENIZER_FILE).write_bytes(content)
        others = {
            name: value.detach().cpu().contiguous()
            for name, value in model.state_dict().items()
            if not name.startswith(_TOKENIZER)
        }
        (directory / JUDGES_FILE).write_bytes(safetensors.torch.save(others))

    def load(self, model: TokenizerLearner, directory: Path) -> None:
        """Give the networks of a model of the same shape the weights of a directory.

        Raises: CheckpointError if they do not fit, or a file cannot be used.
        """
        own = {_TOKENIZER + name: value for name, value in _tensors(directory / IMAGE_TOKENIZER_FILE).items()}
        try:
            model.load_state_dict({**own, **_tensors(directory / JUDGES_FILE)})
        except RuntimeError as error:
            raise CheckpointError(
                f"{directory} holds networks of another shape than this recipe asks for.",
                hint="resume with the recipe that is saved in the run directory",
            ) from error


def _tensors(path: Path) -> dict[str, Tensor]:
    return dict(TensorFile(path).items())


def picture_sidecars(
    recipe: PictureTokenizerRecipe, material: PictureMaterial, model: TokenizerLearner
) -> Mapping[str, bytes]:
    """Return the files that every checkpoint carries beside its weights: what it is, and how it was made."""
    config = model.autoencoder.config
    description = {
        **config_to_mapping(config),
        "grid_size": config.grid_size,
        "num_codes": config.codebook_size,
        "label_names": list(material.train.label_names),
        "num_training_pictures": len(material.train),
        "dataset_fingerprint": material.fingerprint,
    }
    return {
        DESCRIPTION_FILE: (json.dumps(description, ensure_ascii=False, indent=2) + "\n").encode(),
        RECIPE_FILE: yaml.safe_dump(config_to_mapping(recipe), sort_keys=False, allow_unicode=True).encode(),
    }
