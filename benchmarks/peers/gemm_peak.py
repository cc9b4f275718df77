"""The most float32 arithmetic this machine's matrix products reach, by whichever routine is the fastest."""

from __future__ import annotations

import time

import torch

SIZES = ((2048, 512, 2048), (1024, 768, 3072), (2048, 2048, 2048))
ROUNDS = 5


def gemm_peak() -> float:
    """Return FLOP/s of the best product among three sizes."""
    return max(_rate(*size, routine=routine) for size in SIZES for routine in (_plain, _onednn))


def _plain(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.linear(x, weight)


def _onednn(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


def _rate(rows: int, inner: int, columns: int, *, routine) -> float:  # type: ignore[no-untyped-def]
    x, weight = torch.randn(rows, inner), torch.randn(columns, inner)
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        routine(x, weight)
        seconds.append(time.perf_counter() - started)
    return 2.0 * rows * inner * columns / min(seconds)
