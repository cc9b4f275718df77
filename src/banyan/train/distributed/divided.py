"""A Transformer divided over a mesh of ranks (FSDP2, tensor parallel), and how it looks whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    parallelize_module,
)
from torch.distributed.tensor.placement_types import Shard, _StridedShard

from banyan.model.attention import Attention
from banyan.model.block import Block
from banyan.model.feed_forward import GatedFeedForward
from banyan.model.transformer import Transformer
from banyan.train.distributed.stacked import check_divisible, join_parts, split_parts, take_apart

DATA, SHARD, TENSOR = "data", "shard", "tensor"  # axes of the mesh, the last one between the nearest ranks


class DividedModel:
    """A model whose weights lie in pieces on several ranks. It is divided in place, when this object is made."""

    def __init__(self, model: Transformer, mesh: DeviceMesh) -> None:
        self.model = model
        self.mesh = mesh
        self._config, self._heads = model.config, model.head_specs
        self.num_tensor = mesh[TENSOR].size()
        self.is_sharded = mesh[SHARD].size() > 1
        take_apart(model)
        if self.num_tensor > 1:
            check_divisible(model.config, tensor=self.num_tensor)
            for block in model.blocks:
                _divide_matrices(block, mesh[TENSOR])
        if self.is_sharded:
            _shard(model, mesh[DATA, SHARD] if mesh[DATA].size() > 1 else mesh[SHARD])

    def group(self, *axes: str) -> dist.ProcessGroup:
        """Return the ranks along some axes of the mesh that this rank belongs to."""
        mesh = self.mesh[axes]
        return (mesh if len(axes) == 1 else mesh._flatten("_".join(axes))).get_group()

    @cached_property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The weights by name, as pieces."""
        return dict(self.model.named_parameters())

    def has_part_of_gradient(self, name: str) -> bool:
        """Whether each tensor rank knows only its own heads' gradient of a weight that all of them hold."""
        return self.num_tensor > 1 and name.endswith((".q_gain", ".k_gain"))

    def is_reduced(self, name: str) -> bool:
        """Whether FSDP sums a weight's gradient by itself."""
        return self.is_sharded and not name.startswith("heads.")

    def whole_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every weight whole, one after the other; a collective."""
        for name, parameter in self.parameters.items():
            yield name, whole(parameter.detach())

    def whole_model(self) -> Transformer:
        """Return the undivided model with its weights in the main memory: of rank 0, others get one without weights."""
        is_kept = dist.get_rank() == 0
        weights = {name: weight.to("cpu", copy=True) for name, weight in self.whole_weights() if is_kept}
        with torch.device("meta"):
            undivided = Transformer(self._config, self._heads)
        if is_kept:
            undivided.load_state_dict(join_parts(weights), assign=True)
        return undivided.requires_grad_(True)

    @torch.no_grad()
    def load_whole(self, weights: Mapping[str, Tensor]) -> None:
        """Take this rank's pieces from the weights of the undivided model."""
        for name, weight in split_parts(weights, self._config).items():
            parameter = self.parameters[name]
            local(parameter).copy_(local_piece(weight, parameter))


def local(tensor: Tensor) -> Tensor:
    """Return the piece of a tensor that lies here; it shares memory with the tensor."""
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor whole; a collective of the ranks that hold it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local_piece(tensor: Tensor, like: Tensor) -> Tensor:
    """Return the part of a whole tensor that lies here, if it is divided as another one is."""
    if not isinstance(like, DTensor):
        return tensor
    axes = list(enumerate(like.placements))
    # FSDP divides what tensor parallelism has left it: its cut through the same dim comes after.
    for axis, placement in sorted(axes, key=lambda item: isinstance(item[1], _StridedShard)):
        if isinstance(placement, Shard | _StridedShard):
            pieces = tensor.chunk(like.device_mesh.size(axis), placement.dim)
            place = like.device_mesh.get_local_rank(axis)
            tensor = pieces[place] if place < len(pieces) else tensor.narrow(placement.dim, 0, 0)
    return tensor


def as_divided(piece: Tensor, like: Tensor) -> Tensor:
    """Return a piece that lies here as part of a tensor divided as another one is."""
    if not isinstance(like, DTensor):
        return piece
    return DTensor.from_local(
        piece, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def num_pieces(tensor: Tensor) -> int:
    """Return into how many different pieces a tensor is divided."""
    if not isinstance(tensor, DTensor):
        return 1
    sizes = [tensor.device_mesh.size(axis) for axis, p in enumerate(tensor.placements) if not p.is_replicate()]
    return int(torch.tensor(sizes, dtype=torch.int64).prod())


def _divide_matrices(block: nn.Module, mesh: DeviceMesh) -> None:
    """Give each tensor rank its share of the heads and of the feed-forward width of a block."""
    assert isinstance(block, Block)
    attention, feed_forward = block.attention, block.feed_forward
    _use_plain_layers(block)
    plan: dict[str, ParallelStyle] = {"attention.output": RowwiseParallel(), "feed_forward.down": RowwiseParallel()}
    for name in ("attention.qkv", "feed_forward.gate_up")[: 2 if isinstance(feed_forward, GatedFeedForward) else 1]:
        # The parts share one input, so that its gradient is summed over the ranks once and not once per part.
        plan[name] = PrepareModuleInput(
            input_layouts=(Replicate(),), desired_input_layouts=(Replicate(),), use_local_output=False
        )
        plan[f"{name}.parts.*"] = ColwiseParallel()
    if not isinstance(feed_forward, GatedFeedForward):
        plan["feed_forward.up"] = ColwiseParallel()
    parallelize_module(block, mesh, plan)
    assert isinstance(attention, Attention)
    attention.num_heads //= mesh.size()
    attention.num_kv_heads //= mesh.size()


def _use_plain_layers(module: nn.Module) -> None:
    """Replace the linear layers inside a module by PyTorch's own, whose product knows divided weights."""
    for name, layer in list(module.named_children()):
        if not isinstance(layer, nn.Linear):
            _use_plain_layers(layer)
            continue
        plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        plain.weight, plain.bias = layer.weight, layer.bias
        module.register_module(name, plain)


def _shard(model: Transformer, mesh: DeviceMesh) -> None:
    """Divide the weights of every block, and of what lies around the blocks, among the ranks.

    Task heads stay whole on every rank: they are small, and a rank whose rows have none of their task skips them.
    """
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, ignored_params=set(model.heads.parameters()))
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # the loss is already that of the whole batch
            module.set_force_sum_reduction_for_comms(True)
