"""One dial: `model.size` or `train.budget` chooses width, depth, batch, learning rates and horizon by rules.

What a recipe gives itself is kept. The rules, anchored where the optimizer's defaults were measured:
depth = width / 64; tokens = 10 × (matrices + output layer); batch ~ tokens^0.383; all learning rates ~ sqrt(batch), and
those of AdamW ~ 1 / sqrt(width); at most 16 epochs, with more weight decay from the fourth on.
Source: the exponents, nanochat's base_train.py; the shape, GPT-2's; epochs, Muennighoff et al. 2023.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from banyan.data.sequences import SequenceSource
from banyan.model.config import ModelConfig
from banyan.model.transformer import Transformer
from banyan.train.accounting import count_weights, flops_per_token
from banyan.workflows.dial_keys import parse_budget, parse_size
from banyan.workflows.recipe import Recipe, is_kept_from_dial

TOKENS_PER_WEIGHT = 10
FRESH_EPOCHS, MAX_EPOCHS = 4, 16  # up to the first, repeated data is as good as new; beyond the second, worth little
REFERENCE_WIDTH, REFERENCE_TOKENS, REFERENCE_BATCH = 128, 5e6, 4096  # banyan-nano, as the defaults were measured
BATCH_EXPONENT = 0.383
_MICRO_BATCH_TOKENS = 4096  # in one forward pass: enough to keep two cores busy
_FEWEST_STEPS = 200  # a larger batch would leave fewer
_FIRST_GUESS = 1e11  # floating-point operations a second, before the first probe
_MAX_PROBES = 3
_SAMPLE = 200  # sequences of a source whose tokens are counted
_SHALLOWEST = 4  # layers
_WIDTHS = (*range(64, 256, 32), *range(256, 8193, 64))

_DIALLED = {
    "model": ("embed_dim", "num_layers", "num_heads", "num_kv_heads", "head_dim", "ffn_dim"),
    "train": ("steps", "micro_batch_seqs", "accumulation_steps"),
    "optimizer": ("learning_rate", "matrix_learning_rate", "embedding_learning_rate", "weight_decay"),
}

Probe = Callable[[Recipe], float]  # a recipe → seconds of one of its steps on this machine


@dataclass(frozen=True, kw_only=True, slots=True)
class DialFacts:
    """What the dial needs to know of the data."""

    sizes: Mapping[str, int]  # vocab_size, num_image_codes, grid_size
    num_tokens: float  # in all training examples, each counted once


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shape:
    """What a model costs."""

    config: ModelConfig
    num_matrix_weights: int
    flops_per_token: float

    @property
    def ideal_tokens(self) -> float:
        """Tokens after which a larger model would be the better use of the same arithmetic."""
        return TOKENS_PER_WEIGHT * (self.num_matrix_weights + self.config.text_vocab_size * self.config.embed_dim)

    @property
    def ideal_flops(self) -> float:
        """Arithmetic of learning from that many tokens."""
        return self.flops_per_token * self.ideal_tokens


def dial_facts(sources: Sequence[SequenceSource], sizes: Mapping[str, int]) -> DialFacts:
    """Return what the dial needs to know; tokens are counted in a sample of each source."""
    num_tokens = 0.0
    for source in sources:
        sample = range(0, len(source), max(1, len(source) // _SAMPLE))
        num_tokens += len(source) * fmean(len(source[number]) for number in sample)
    return DialFacts(sizes=sizes, num_tokens=num_tokens)


def has_dial(recipe: Recipe) -> bool:
    """Whether a recipe leaves numbers to the dial."""
    return recipe.model.size is not None or recipe.train.budget is not None


def settle_dial(recipe: Recipe, facts: DialFacts, *, probe: Probe) -> tuple[Recipe, str]:
    """Return the recipe with all numbers settled, and what was chosen in one line.

    A budget of time becomes one of arithmetic by timing a few steps of the model it would buy, until the two agree.
    Raises: ConfigError for a size or a budget that cannot be read.
    """
    budget = parse_budget(recipe.train.budget) if recipe.train.budget is not None else None
    flops = budget.flops if budget is not None else None
    if budget is not None and budget.seconds is not None:
        flops = budget.seconds * _measured_rate(recipe, facts, seconds=budget.seconds, probe=probe)
    settled = _settled(recipe, facts, flops=flops)
    return settled, _summary(settled, facts)


def as_dialled(recipe: Recipe, saved: Recipe) -> Recipe:
    """Return a recipe as it was settled when its run began, for the run to go on with."""
    for section, names in _DIALLED.items():
        given, before = getattr(recipe, section), getattr(saved, section)
        free = {name: getattr(before, name) for name in names if not is_kept_from_dial(recipe, f"{section}.{name}")}
        recipe = dataclasses.replace(recipe, **{section: dataclasses.replace(given, **free)})
    preset = saved.model.preset if recipe.model.size is not None else recipe.model.preset
    return _without_dial(dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, preset=preset)))


def _without_dial(recipe: Recipe) -> Recipe:
    train = dataclasses.replace(recipe.train, budget=None)
    return dataclasses.replace(recipe, train=train, model=dataclasses.replace(recipe.model, size=None), dial_keeps=())


def _measured_rate(recipe: Recipe, facts: DialFacts, *, seconds: float, probe: Probe) -> float:
    """Return the floating-point operations a second of the model that so much time buys."""
    rate, probed = _FIRST_GUESS, None
    for _ in range(_MAX_PROBES):
        trial = _settled(recipe, facts, flops=seconds * rate)
        if trial.model == probed:
            break
        probed = trial.model
        rate = _shape(trial, facts).flops_per_token * _batch_tokens(trial) / probe(trial)
    return rate


def _settled(recipe: Recipe, facts: DialFacts, *, flops: float | None) -> Recipe:
    """Apply the rules for a budget of arithmetic; None: as much as the model's size deserves."""
    sized = _with_shape(recipe, facts, flops=flops)
    shape = _shape(sized, facts)
    tokens = min(
        flops / shape.flops_per_token if flops is not None else shape.ideal_tokens, MAX_EPOCHS * facts.num_tokens
    )
    batched = _with_batch(sized, tokens=tokens)
    steps = max(1, int(tokens / _batch_tokens(batched)))
    chosen: dict[str, dict[str, Any]] = {
        "train": {"steps": steps},
        "optimizer": _rates(batched, shape, epochs=tokens / facts.num_tokens),
    }
    return _without_dial(_with_unkept(batched, chosen))


def _with_shape(recipe: Recipe, facts: DialFacts, *, flops: float | None) -> Recipe:
    """Choose the width whose weights, or whose ideal run, come nearest to what was asked for."""
    size = parse_size(str(recipe.model.size)) if recipe.model.size is not None else None
    if isinstance(size, str):
        return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, preset=size))
    if size is None and (flops is None or is_kept_from_dial(recipe, "model.preset")):
        return recipe
    wanted, best, best_distance = size or flops or 0.0, recipe, math.inf
    for width in _WIDTHS:
        candidate = _of_width(recipe, width)
        shape = _shape(candidate, facts)
        distance = abs(math.log((shape.num_matrix_weights if size is not None else shape.ideal_flops) / wanted))
        if distance >= best_distance:  # costs grow with the width
            break
        best, best_distance = candidate, distance
    return best


def _of_width(recipe: Recipe, width: int) -> Recipe:
    head_dim = 64 if width >= 256 else 32
    shape = {
        "embed_dim": width,
        "num_layers": max(_SHALLOWEST, round(width / 64)),
        "num_heads": width // head_dim,
        "num_kv_heads": width // head_dim,
        "head_dim": head_dim,
        "ffn_dim": -(-8 * width // 3 // 32) * 32,
    }
    free: dict[str, Any] = {name: value for name, value in shape.items() if getattr(recipe.model, name) is None}
    return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, **free))


def _with_batch(recipe: Recipe, *, tokens: float) -> Recipe:
    wanted = REFERENCE_BATCH * (tokens / REFERENCE_TOKENS) ** BATCH_EXPONENT
    batch_tokens = 2 ** round(math.log2(max(1.0, min(wanted, tokens / _FEWEST_STEPS))))
    num_rows = max(1, batch_tokens // recipe.train.seq_len)
    micro_batch_seqs = max(1, min(num_rows, _MICRO_BATCH_TOKENS // recipe.train.seq_len))
    kept = recipe.train.micro_batch_seqs if is_kept_from_dial(recipe, "train.micro_batch_seqs") else micro_batch_seqs
    return _with_unkept(
        recipe, {"train": {"micro_batch_seqs": kept, "accumulation_steps": max(1, round(num_rows / kept))}}
    )


def _rates(recipe: Recipe, shape: _Shape, *, epochs: float) -> dict[str, float]:
    """Return the learning rates, rounded to three digits, and the weight decay."""
    defaults = type(recipe.optimizer)()
    by_batch = math.sqrt(_batch_tokens(recipe) / REFERENCE_BATCH)
    by_width = math.sqrt(REFERENCE_WIDTH / shape.config.embed_dim)
    rates = {
        "matrix_learning_rate": defaults.matrix_learning_rate * by_batch,
        "learning_rate": defaults.learning_rate * by_batch * by_width,
        "embedding_learning_rate": defaults.embedding_learning_rate * by_batch * by_width,
        "weight_decay": defaults.weight_decay * max(1.0, epochs / FRESH_EPOCHS),
    }
    return {name: float(f"{value:.3g}") for name, value in rates.items()}


def _with_unkept(recipe: Recipe, chosen: Mapping[str, Mapping[str, Any]]) -> Recipe:
    """Return the recipe with the chosen values, except where it gives its own."""
    sections = {}
    for name, values in chosen.items():
        free = {key: value for key, value in values.items() if not is_kept_from_dial(recipe, f"{name}.{key}")}
        sections[name] = dataclasses.replace(getattr(recipe, name), **free)
    return dataclasses.replace(recipe, **sections)


def _shape(recipe: Recipe, facts: DialFacts) -> _Shape:
    config = recipe.resolve_model(**facts.sizes)
    with torch.device("meta"):
        counts = count_weights(Transformer(config))
    return _Shape(
        config=config,
        num_matrix_weights=counts.matrices,
        flops_per_token=flops_per_token(config, counts, seq_len=recipe.train.seq_len),
    )


def _batch_tokens(recipe: Recipe) -> int:
    return recipe.train.batch_seqs * recipe.train.seq_len


def _summary(recipe: Recipe, facts: DialFacts) -> str:
    shape, batch_tokens, optimizer = _shape(recipe, facts), _batch_tokens(recipe), recipe.optimizer
    tokens = recipe.train.steps * batch_tokens
    return (
        f"dial: {shape.num_matrix_weights / 1e6:.2g}M weights in {shape.config.num_layers} layers of "
        f"{shape.config.embed_dim}; {recipe.train.steps} steps of {batch_tokens} tokens "
        f"({tokens / facts.num_tokens:.2g} epochs, {tokens * shape.flops_per_token:.2g} flops); learning rates "
        f"{optimizer.matrix_learning_rate:g} (matrices), {optimizer.embedding_learning_rate:g} (embeddings), "
        f"{optimizer.learning_rate:g}"
    )
