"""Which device a model runs on."""

from __future__ import annotations

import torch

from banyan.core.errors import ConfigError


def choose_device(name: str = "auto") -> torch.device:
    """Return the device a user named; `auto` takes a GPU where there is one.

    Raises: ConfigError if the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device={name!r} is not a device; use auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={name!r} is not available: PyTorch sees no GPU here; use cpu or auto.")
    return device
