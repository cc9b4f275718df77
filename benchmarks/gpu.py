"""The GPU a benchmark is asked to run on: whether it is there, and what it could do at most."""

from __future__ import annotations

import sys

import torch

from banyan.train.peak import peak_flops, published_flops

DEVICES = ("cpu", "cuda")
NO_GPU = 2  # exit code: an option that cannot be met


def require_device(name: str) -> None:
    """End the program with one line where a GPU is asked for and none is there."""
    if name == "cuda" and not torch.cuda.is_available():
        print(
            "--device cuda: PyTorch sees no GPU here; run this where there is one, or on --device cpu", file=sys.stderr
        )
        raise SystemExit(NO_GPU)


def gpu_peak(name: str) -> tuple[float, str]:
    """Return the bfloat16 operations per second of the GPU of that name, and in words whose figure that is."""
    if published := published_flops(name):
        return published, f"{name}: {published / 1e12:.0f} TFLOP/s in bfloat16, dense, as its maker publishes"
    measured = peak_flops(torch.device("cuda"))
    return measured, f"{name}: {measured / 1e12:.0f} TFLOP/s in bfloat16, measured here, for none is known as published"
