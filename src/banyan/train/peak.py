"""What the machine could do at most: the rate of large matrix products, against which a training step is held."""

from __future__ import annotations

import time

import torch

from banyan.model.products import routines

_SECONDS = 0.3
_CPU_WIDTH, _CUDA_WIDTH = 1024, 8192
# bfloat16 products per second that the makers publish, dense; the longest name that fits counts. Source: their data
# sheets, which for some name the rate with 2:4 sparsity, twice as much; H100 and H200 alone are the SXM forms.
_PUBLISHED_TERAFLOPS = {
    "A100": 312, "A10": 125, "L40S": 362, "L4": 121, "RTX 3090": 71, "RTX 4090": 165, "T4": 65,
    "H100": 989, "H100 PCIe": 756, "H100 NVL": 835, "H200": 989, "H200 NVL": 835, "L40": 181,
    "B200": 2250, "MI300X": 1307,
}  # fmt: skip


def peak_flops(device: torch.device) -> float:
    """Return the floating-point operations per second of a device: published for a known GPU, measured otherwise.

    It takes about 0.3 seconds and leaves random numbers untouched.
    """
    if device.type == "cuda" and (published := published_flops(torch.cuda.get_device_name(device))):
        return published
    return _measured(device)


def published_flops(name: str) -> float | None:
    """Return what the maker of a GPU publishes, by a name such as "NVIDIA H200"; None for one that is not known."""
    known = [part for part in _PUBLISHED_TERAFLOPS if part in name]
    return _PUBLISHED_TERAFLOPS[max(known, key=len)] * 1e12 if known else None


def _measured(device: torch.device) -> float:
    """Return the best rate among products of square matrices: in float32 on a CPU, bfloat16 elsewhere.

    On a CPU every routine takes its turns, as in the benchmarks, so that the share of the peak means the same in both.
    """
    is_cpu = device.type == "cpu"
    width = _CPU_WIDTH if is_cpu else _CUDA_WIDTH
    matrix = torch.full((width, width), 0.5, device=device, dtype=torch.float32 if is_cpu else torch.bfloat16)
    products = routines() if is_cpu else (torch.nn.functional.linear,)
    best, ends_at = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < ends_at:
        for product in products:
            began = time.perf_counter()
            product(matrix, matrix, None)
            if not is_cpu:
                torch.cuda.synchronize(device)
            best = min(best, time.perf_counter() - began)
    return 2 * width**3 / best
