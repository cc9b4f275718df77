"""Where a step's time goes, by torch.profiler: each operator's own time, put into one of a few kinds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch
from torch.autograd.profiler_util import FunctionEvent

HEAD = "head and cross-entropy"
PRODUCTS = "products"
HEAD_LOSS = "HeadCrossEntropy"  # ours, which is both in one: all within belongs to the head
KINDS = {  # the first kind one of whose words is in an operator's name
    "attention": ("scaled_dot_product",),
    PRODUCTS: ("linear_pointwise", "onednn_linear", "addmm", "aten::mm", "aten::bmm", "_int_mm"),
    "generated code": ("CompiledFxGraph", "cpp_fused"),
    "norm": ("layer_norm", "rms_norm"),
    "activation": ("gelu", "silu"),
    HEAD: ("log_softmax", "nll_loss"),
    "optimizer": ("adamw", "Optimizer", "_foreach", "vector_norm", "clip"),
    "copies": ("copy_", "cat", "contiguous", "clone", "fill_", "zero_"),
}


def breakdown(step: Callable[[], object], *, num_steps: int, vocab_size: int) -> dict[str, float]:
    """Return the share of each kind in the time of some steps; what no operator accounts for is Python's.

    A product is the head's if the vocabulary is one of its sides, so no other width may be equal to it.
    """
    step()
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True)
    with profiler as profile, torch.profiler.record_function("whole step"):
        for _ in range(num_steps):
            step()
    own: dict[str, float] = defaultdict(float)
    for event in profile.events():
        own[_kind(event, vocab_size)] += event.self_cpu_time_total
    total = sum(own.values())
    return {kind: seconds / total for kind, seconds in sorted(own.items(), key=lambda item: -item[1])}


def _kind(event: FunctionEvent, vocab_size: int) -> str:
    if event.name == "whole step":
        return "Python"
    if _is_within(event, HEAD_LOSS):
        return HEAD
    kind = next((kind for kind, words in KINDS.items() if any(word in event.name for word in words)), "other operators")
    has_vocabulary = any(vocab_size in sizes for sizes in event.input_shapes or ())
    return HEAD if kind == PRODUCTS and has_vocabulary else kind


def _is_within(event: FunctionEvent | None, name: str) -> bool:
    while event is not None and name not in event.name:
        event = event.cpu_parent
    return event is not None
