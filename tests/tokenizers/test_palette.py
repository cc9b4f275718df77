"""A palette names colours without having learned anything."""

import numpy as np
import pytest

from banyan.core.errors import CheckpointError, ConfigError, InputError
from banyan.tokenizers.palette import Palette, palette_levels
from banyan.tokenizers.pictures import image_from_array, image_to_array


@pytest.mark.parametrize("channels", [1, 3])
def test_every_code_is_the_code_of_its_own_colour(channels: int) -> None:
    palette = Palette(image_size=4, channels=channels, num_codes=16 if channels == 1 else 64, cell_size=2)
    rows = np.arange(palette.num_codes).reshape(-1, 4).tolist()
    assert [list(codes) for codes in palette.encode(palette.decode(rows))] == rows


def test_no_sample_is_further_off_than_half_a_step() -> None:
    array = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    palette = Palette(image_size=8, channels=3, num_codes=216)
    [decoded] = palette.decode(palette.encode([image_from_array(array)]))
    assert palette.levels == (6, 6, 6)
    assert np.abs(image_to_array(decoded).astype(int) - array).max() <= 26


def test_a_palette_has_as_many_levels_as_its_codes_allow() -> None:
    assert palette_levels(128, channels=3) == (5, 5, 5)
    assert palette_levels(256, channels=3) == (6, 7, 6)
    assert palette_levels(7, channels=1) == (7,)


def test_what_does_not_fit_a_palette_is_refused() -> None:
    palette = Palette(image_size=4, channels=1, num_codes=4)
    with pytest.raises(InputError, match="does not fit a palette"):
        palette.encode([image_from_array(np.zeros((5, 5), dtype=np.uint8))])
    with pytest.raises(InputError, match="codes from 0 to 3"):
        palette.decode([[4] * 16])
    with pytest.raises(ConfigError, match="cells that tile"):
        Palette(image_size=5, channels=3, num_codes=64, cell_size=2)
    with pytest.raises(CheckpointError, match="cannot be made"):
        Palette.from_tensors({}, image_size=4, channels=1, settings={"colours": 3})
