"""Where a step's time goes, by torch.profiler: each operator's own time, put into one of a few kinds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch

KINDS = {  # the first kind one of whose words is in an operator's name
    "attention": ("scaled_dot_product",),
    "products": ("linear_pointwise", "onednn_linear", "addmm", "aten::mm", "aten::bmm", "_int_mm"),
    "generated code": ("CompiledFxGraph", "cpp_fused"),
    "norm": ("layer_norm", "rms_norm"),
    "activation": ("gelu", "silu"),
    "cross-entropy": ("log_softmax", "nll_loss", "exp_", "gather", "scatter_add", "index_select"),
    "optimizer": ("adamw", "Optimizer", "_foreach", "vector_norm", "clip"),
    "copies": ("copy_", "cat", "contiguous", "clone", "fill_", "zero_"),
}


def breakdown(step: Callable[[], object], *, num_steps: int) -> dict[str, float]:
    """Return the share of each kind in the time of some steps; what no operator accounts for is Python's."""
    step()
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    with profiler as profile, torch.profiler.record_function("whole step"):
        for _ in range(num_steps):
            step()
    own: dict[str, float] = defaultdict(float)
    for event in profile.key_averages():
        own["Python" if event.key == "whole step" else _kind(event.key)] += event.self_cpu_time_total
    total = sum(own.values())
    return {kind: seconds / total for kind, seconds in sorted(own.items(), key=lambda item: -item[1])}


def _kind(name: str) -> str:
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "other operators")
