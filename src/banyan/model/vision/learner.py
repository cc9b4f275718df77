"""The networks that learn together when a picture tokenizer is trained; only the autoencoder stays."""

from __future__ import annotations

from torch import nn

from banyan.model.vision.autoencoder import Autoencoder, AutoencoderConfig
from banyan.model.vision.discriminator import PatchDiscriminator
from banyan.model.vision.features import NUM_TURNS, FeatureNet


class TokenizerLearner(nn.Module):
    """An autoencoder, the net whose features judge its pictures, and its opponent, where a recipe asks for them."""

    def __init__(
        self, config: AutoencoderConfig, *, num_labels: int, has_features: bool, has_discriminator: bool
    ) -> None:
        super().__init__()
        self.num_labels = num_labels  # 0: the feature net learns from turned pictures
        self.autoencoder = Autoencoder(config)
        self.features = (
            FeatureNet(channels=config.channels, num_labels=num_labels or NUM_TURNS) if has_features else None
        )
        self.discriminator = PatchDiscriminator(channels=config.channels) if has_discriminator else None
