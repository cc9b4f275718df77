"""Autoencoders of every kind turn pictures into grids of codes and back, and refuse sizes that do not fit."""

import pytest
import torch

from banyan.core.errors import ConfigError
from banyan.model.vision.autoencoder import Autoencoder, AutoencoderConfig, as_pixels, as_samples


@pytest.mark.parametrize("quantizer", ["fsq", "vq"])
@pytest.mark.parametrize(("channels", "size", "widths"), [(1, 12, (8, 16)), (3, 8, (8, 8, 16))])
def test_pictures_become_grids_of_codes_and_pictures_again(
    quantizer: str, channels: int, size: int, widths: tuple[int, ...]
) -> None:
    config = AutoencoderConfig(
        image_size=size, channels=channels, quantizer=quantizer, levels=(3, 3), num_codes=9, widths=widths
    )
    net = Autoencoder(config).eval()
    pictures = torch.rand(2, channels, size, size) * 2 - 1
    decoded, quantized = net(pictures)
    codes = net.encode(pictures)
    assert codes.shape == (2, config.grid_size, config.grid_size)
    assert decoded.shape == pictures.shape
    assert codes.max() < config.codebook_size == 9
    torch.testing.assert_close(net.decode(codes), decoded.clamp(-1, 1))
    assert torch.equal(codes, quantized.codes)


def test_eight_bit_pixels_come_back_from_their_samples() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(as_pixels(as_samples(pixels)), pixels)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"image_size": 30}, "nearest sizes that are: 28 and 32"),
        ({"widths": (12, 24)}, "multiples of 8"),
        ({"levels": (8, 1)}, "2 or more each"),
        ({"levels": (256, 256, 2)}, "131072 codes"),
        ({"channels": 4}, "1 .grey. or 3"),
        ({"num_blocks": 10**9}, "between 1 and 64"),
        ({"image_size": 1 << 20}, "more than 4096"),
        ({"widths": (8,) * 9}, "at most 8 levels"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, object], problem: str) -> None:
    sizes: dict[str, object] = {"image_size": 28, "channels": 1, **change}
    with pytest.raises(ConfigError, match=problem):
        AutoencoderConfig(**sizes)  # type: ignore[arg-type]
