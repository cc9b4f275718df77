"""An image tokenizer that was trained: a convolutional autoencoder with finite scalar or vector quantisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from banyan.core.config import config_from_mapping, config_to_mapping
from banyan.core.errors import BanyanError, CheckpointError, InputError
from banyan.core.types import Image
from banyan.model.vision.autoencoder import Autoencoder, AutoencoderConfig, as_pixels, as_samples
from banyan.tokenizers.pictures import image_from_array, image_to_array

_CHUNK = 256  # pictures in one pass


class LearnedPictures:
    """Pictures through a trained autoencoder, on the CPU.

    Shapes: codes (grid_size²,) for each picture, row by row.
    """

    kind = "autoencoder"

    def __init__(self, autoencoder: Autoencoder) -> None:
        self._net = autoencoder
        config = autoencoder.config
        self.image_size, self.channels = config.image_size, config.channels
        self.grid_size, self.num_codes = config.grid_size, config.codebook_size

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything of the config but the sizes of the pictures."""
        plain: dict[str, Any] = config_to_mapping(self._net.config)
        return {name: value for name, value in plain.items() if name not in ("image_size", "channels")}

    def encode(self, images: Sequence[Image]) -> list[tuple[int, ...]]:
        """Return grid_size² codes for each picture, row by row.

        Raises: InputError for a picture of another size.
        """
        return [tuple(row) for chunk in _chunks(images) for row in self._encode(chunk)]

    def _encode(self, images: Sequence[Image]) -> list[list[int]]:
        for image in images:
            if (image.width, image.height, image.channels) != (self.image_size, self.image_size, self.channels):
                raise InputError(
                    f"a picture of {image.width}×{image.height} with {image.channels} channels does not fit an image "
                    f"tokenizer for {self.image_size}×{self.image_size} with {self.channels}."
                )
        pixels = torch.from_numpy(np.stack([image_to_array(image) for image in images])).permute(0, 3, 1, 2)
        codes: list[list[int]] = self._net.encode(as_samples(pixels)).flatten(1).tolist()
        return codes

    def decode(self, codes: Sequence[Sequence[int]]) -> list[Image]:
        """Return the picture of each row of codes.

        Raises: InputError for a row of another length, or a code outside the codebook.
        """
        return [image for chunk in _chunks(codes) for image in self._decode(chunk)]

    def _decode(self, codes: Sequence[Sequence[int]]) -> list[Image]:
        for row in codes:
            if len(row) != self.grid_size**2 or not all(0 <= code < self.num_codes for code in row):
                raise InputError(
                    f"{len(row)} image codes between {min(row, default=0)} and {max(row, default=0)} are not a "
                    f"picture; {self.grid_size**2} codes from 0 to {self.num_codes - 1} are."
                )
        grids = torch.tensor([list(row) for row in codes]).view(-1, self.grid_size, self.grid_size)
        pixels = as_pixels(self._net.decode(grids)).permute(0, 2, 3, 1).contiguous()
        return [image_from_array(array) for array in pixels.numpy()]

    def to_tensors(self) -> dict[str, Tensor]:
        """Return all weights, and the codebook where there is one."""
        return {name: value.detach().cpu().contiguous() for name, value in self._net.state_dict().items()}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], *, image_size: int, channels: int, settings: Mapping[str, Any]
    ) -> LearnedPictures:
        """Rebuild the tokenizer from `to_tensors` and `settings`.

        Raises: CheckpointError if they do not fit each other.
        """
        try:
            sizes = {**settings, "image_size": image_size, "channels": channels}
            net = Autoencoder(config_from_mapping(AutoencoderConfig, sizes))
            net.load_state_dict(dict(tensors))
        except (BanyanError, RuntimeError, TypeError) as error:
            problem = str(error).strip().splitlines()[0]
            raise CheckpointError(f"the autoencoder does not fit its settings ({problem}).") from error
        if not all(value.isfinite().all() for value in tensors.values()):
            raise CheckpointError("the autoencoder has weights that are not numbers.")
        return cls(net)


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
