"""Low-rank adapters: small matrices that learn in the place of the large ones they lie beside.

An adapter changes the matrices inside the blocks: queries, keys, values, their way back, and the feed-forward parts. A
model may carry several; each row of a batch goes through one of them or through none. Merged, an adapter costs nothing
any more, and can be taken out again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from banyan.core.errors import ConfigError
from banyan.core.types import HeadSpec
from banyan.model.adapters import Adapter, LoraConfig
from banyan.model.heads import TaskHeads
from banyan.model.hugging_face_config import stock_architecture
from banyan.model.linear import Linear
from banyan.model.low_rank import LayerPart, LowRank, adapter_key
from banyan.model.on_disk_names import disk_layout
from banyan.model.transformer import Transformer

__all__ = ["LoraConfig", "add_adapters", "attach_adapter", "merge", "unmerge", "without_adapter"]

_PARTS_OF = {
    "attention.qkv": ("q", "k", "v"),
    "attention.output": ("output",),
    "feed_forward.gate_up": ("gate", "up"),
    "feed_forward.up": ("up",),
    "feed_forward.down": ("down",),
}
_WHOLE: dict[tuple[str, ...], str] = {
    ("q", "k", "v"): "qkv"
}  # what several parts are called where other tools keep them as one matrix


def add_adapters(model: Transformer, config: LoraConfig, *, generator: torch.Generator) -> None:
    """Give a model an adapter that learns, beside its task heads, while all else stays as it is.

    The model answers as before until the adapter has learned something. It is active from now on: every row goes
    through it unless a pass names others.
    Raises: ConfigError if the model has no matrix that a target names, or an adapter of this name.
    """
    attach_adapter(model, config)
    for pair in low_rank_pairs(model, config.name).values():
        pair.draw(generator)
    model.requires_grad_(False)
    model.heads.requires_grad_(True)
    for pair in low_rank_pairs(model, config.name).values():
        pair.requires_grad_(True)
    model.adapters.active = config.name


def attach_adapter(model: Transformer, config: LoraConfig, *, heads: Sequence[HeadSpec] | None = None) -> None:
    """Make room for an adapter and for the task heads it brings; its weights are to be filled in. Nothing is active.

    `heads` are those of the tasks it was taught; None: the model's own answer under it.
    Raises: as `add_adapters`.
    """
    layers = layers_in_reach(model, config.last_blocks)
    adapted = {path: _adapted_parts(config, parts) for path, parts in layers.items()}
    _check_targets(config, layers)
    own = None if heads is None else _new_heads(model, heads)
    model.adapters.add(Adapter(config, heads=own))
    first_site = 2 * model.config.num_layers  # behind the places where the blocks themselves drop
    for number, (path, parts) in enumerate(layers.items()):
        if adapted[path]:
            layer = _linear(model, path)
            layer.adapters = nn.ModuleDict() if layer.adapters is None else layer.adapters
            layer.adapters[adapter_key(config.name)] = LowRank(
                layer,
                parts,
                adapted=adapted[path],
                rank=config.rank,
                scale=config.scale,
                dropout=config.dropout,
                site=first_site + number,
            ).train(model.training)


def without_adapter(model: Transformer, name: str) -> None:
    """Take an adapter out of a model; what has been merged of it stays.

    Raises: UnknownNameError if there is none of this name.
    """
    model.adapters.remove(name)
    for path in layers_with_parts(model):
        layer = _linear(model, path)
        if layer.adapters is not None and adapter_key(name) in layer.adapters:
            del layer.adapters[adapter_key(name)]
            layer.adapters = layer.adapters if len(layer.adapters) else None


def merge(model: Transformer, name: str) -> None:
    """Add what an adapter changes to the matrices themselves; it is not active any more.

    Raises: UnknownNameError if there is none of this name.
    """
    _add_change(model, name, sign=1)
    model.adapters.active = None if model.adapters.active == name else model.adapters.active


def unmerge(model: Transformer, name: str) -> None:
    """Undo `merge`, to the rounding of the sums, and let the adapter be active again."""
    _add_change(model, name, sign=-1)
    model.adapters.active = name


@torch.no_grad()
def _add_change(model: Transformer, name: str, *, sign: int) -> None:
    model.adapters[name]  # an unknown one says which is near
    for path, pair in low_rank_pairs(model, name).items():
        weight = _linear(model, path).weight
        weight.copy_(weight.double() + sign * pair.change())


def low_rank_pairs(model: Transformer, name: str) -> dict[str, LowRank]:
    """Return an adapter's factors by the path of the layer they belong to."""
    found = {}
    for path in layers_with_parts(model):
        adapters = _linear(model, path).adapters
        if adapters is not None and adapter_key(name) in adapters:
            pair = adapters[adapter_key(name)]
            assert isinstance(pair, LowRank)
            found[path] = pair
    return found


def layers_in_reach(model: Transformer, last_blocks: int) -> dict[str, tuple[LayerPart, ...]]:
    """Return the layers of so many of the last blocks with their parts; 0: of all blocks.

    Raises: ConfigError if the model has fewer.
    """
    num_layers = model.config.num_layers
    if last_blocks > num_layers:
        raise ConfigError(
            f"lora.last_blocks={last_blocks} are more blocks than the model has ({num_layers}).", hint="0 means all"
        )
    first = num_layers - last_blocks if last_blocks else 0
    return {path: parts for path, parts in layers_with_parts(model).items() if block_of(path) >= first}


def block_of(path: str) -> int:
    """Return the number of the block that a layer lies in."""
    return int(path.split(".")[1])


def layers_with_parts(model: Transformer) -> dict[str, tuple[LayerPart, ...]]:
    """Return the parts of every layer that an adapter may change, by its path in the model."""
    layers = {path: module for path, module in model.named_modules() if isinstance(module, Linear)}
    layout = disk_layout(
        {f"{path}.weight": tuple(layer.weight.shape) for path, layer in layers.items()},
        config=model.config,
        heads=model.head_specs,
        architecture=stock_architecture(model.config),
    )
    found = {}
    for path in layers:
        stored = layout[f"{path}.weight"]
        names = _PARTS_OF[".".join(path.split(".")[-2:])]
        names = (_WHOLE.get(names, names[0]),) if len(stored) == 1 else names
        found[path] = tuple(
            LayerPart(
                name=name,
                stored_name=part.name.removesuffix(".weight"),
                num_rows=part.num_rows,
                is_transposed=part.is_transposed,
            )
            for name, part in zip(names, stored, strict=True)
        )
    return found


def _adapted_parts(config: LoraConfig, parts: Sequence[LayerPart]) -> frozenset[str]:
    """Return which parts of a layer a config targets.

    Raises: ConfigError if it names some of the parts of a matrix that other tools keep whole.
    """
    [whole] = [part.name for part in parts] if len(parts) == 1 else [""]
    members = next((names for names, name in _WHOLE.items() if name == whole), None)
    if members is None:
        return frozenset(part.name for part in parts) & config.parts
    wanted = [name for name in members if name in config.parts]
    if wanted and len(wanted) < len(members):
        raise ConfigError(
            f"lora.targets names {', '.join(wanted)}, and this model keeps {', '.join(members)} in one matrix.",
            hint=f"name {whole} to adapt all of it",
        )
    return frozenset({whole}) if wanted else frozenset()


def _check_targets(config: LoraConfig, layers: Mapping[str, Sequence[LayerPart]]) -> None:
    there = {part.name for parts in layers.values() for part in parts}
    members = {name for names, whole in _WHOLE.items() if whole in there for name in names}
    for target in config.targets:
        if not LoraConfig(targets=(target,)).parts & (there | members):
            raise ConfigError(
                f"lora.targets names {target}, and this model has none; it has {', '.join(sorted(there))}."
            )


def _new_heads(model: Transformer, specs: Sequence[HeadSpec]) -> TaskHeads:
    heads = TaskHeads(specs, embed_dim=model.config.embed_dim)
    return heads.to(device=model.device, dtype=model.dtype).requires_grad_(False)


def _linear(model: Transformer, path: str) -> Linear:
    layer = model.get_submodule(path)
    assert isinstance(layer, Linear)
    return layer
