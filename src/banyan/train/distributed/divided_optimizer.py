"""One optimizer over many ranks: Muon sees whole matrices, each on one rank; AdamW moves the pieces where they lie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from banyan.model.transformer import Transformer
from banyan.train.distributed.divided import DividedModel, as_divided, local, local_piece, whole
from banyan.train.distributed.messages import broadcast_json
from banyan.train.distributed.stacked import join_parts, split_parts, take_apart
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig, build_optimizer, hidden_matrices


class DividedOptimizer(ModelOptimizer):
    """Moves a divided model as one process would move it.

    Every hidden matrix has an owner among the ranks, which keeps a whole copy and Muon's memory of it: gradients are
    gathered there, and the moved matrix is handed back. All other weights are moved piece by piece. To the optimizers
    inside, both look like a model of their own, with the names of this one.
    """

    def __init__(self, divided: DividedModel, optimizer: OptimizerConfig) -> None:
        self._divided = divided
        self._owners = _owners(divided, optimizer)
        with torch.device("meta"):
            self._own = Transformer(divided.model.config, divided.model.head_specs)
            take_apart(self._own)
        for name, parameter in divided.parameters.items():
            self._put(name, self._own_parameter(name, parameter))
        inner = build_optimizer(self._own, optimizer)
        super().__init__(inner._named, inner._optimizers, config=optimizer)

    def zero_grad(self) -> None:
        """Forget the gradients of the step before."""
        super().zero_grad()
        self._divided.model.zero_grad(set_to_none=True)

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights against their gradients."""
        for name, parameter in self._divided.parameters.items():
            owner = self._owners.get(name)
            if owner is not None:
                gradient = None if parameter.grad is None else whole(parameter.grad)
                if owner == dist.get_rank():
                    self._named[name].grad = gradient
            elif name in self._named:
                self._named[name].grad = None if parameter.grad is None else local(parameter.grad)
        super().step()
        self._hand_back()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model the average of its weights for the time of the block, if one is kept; a collective."""
        with super().averaged():
            self._hand_back()
            yield
        self._hand_back()

    def after_loading(self) -> None:
        """Sort out which weights learn, where model and memory were saved inside `averaged`; a collective."""
        super().after_loading()
        self._hand_back()

    @torch.no_grad()
    def whole_tensors(self) -> dict[str, Tensor]:
        """Return, on rank 0, copies of what all ranks remember, named as in the undivided model; a collective."""
        return join_parts({name: tensor for name, tensor in self._gathered() if dist.get_rank() == 0})

    @torch.no_grad()
    def pieces(self) -> dict[str, Tensor]:
        """Return what this rank remembers, as parts of what all remember: whole for the matrices it owns."""
        return {path: self._as_part(path, value) for path, value in self.tensors().items()}

    def empty_piece(self, path: str, size: torch.Size, dtype: torch.dtype) -> Tensor | None:
        """Return room for this rank's piece of something remembered; None if another rank remembers it."""
        name = path.rpartition("/")[0]
        if name not in self._named:
            return None
        parameter = self._divided.parameters[name]
        if name in self._owners or size != parameter.shape:
            return torch.empty(size, dtype=dtype)
        return as_divided(torch.empty_like(local(parameter), dtype=dtype), parameter)

    def _as_part(self, path: str, value: Tensor) -> Tensor:
        name = path.rpartition("/")[0]
        parameter = self._divided.parameters[name]
        is_divided = name not in self._owners and value.shape == local(parameter).shape
        return as_divided(value, parameter) if is_divided else value

    def load_whole(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue with what an optimizer of the same kind remembered, divided or not; a collective.

        Raises: CheckpointError if a memory belongs to no weight of this model, or has another shape.
        """
        own = {}
        for path, tensor in split_parts(dict(tensors), self._divided.model.config).items():
            name = path.rpartition("/")[0]
            parameter = self._divided.parameters.get(name)
            if parameter is None or (name in self._named and name in self._owners):
                own[path] = tensor
            elif name in self._named:
                own[path] = local_piece(tensor, parameter) if tensor.ndim == parameter.ndim else tensor
        self.load_tensors(own)
        self.take_weights()

    @torch.no_grad()
    def take_weights(self) -> None:
        """Copy the matrices this rank owns anew, after the model was given other weights; a collective."""
        for name, owner in self._owners.items():
            matrix = whole(self._divided.parameters[name].detach())
            if owner == dist.get_rank():
                self._named[name].copy_(matrix)

    def _own_parameter(self, name: str, parameter: nn.Parameter) -> nn.Parameter:
        owner = self._owners.get(name)
        if owner is None:
            return nn.Parameter(local(parameter), requires_grad=parameter.requires_grad)
        matrix = whole(parameter.detach())
        is_own = owner == dist.get_rank()
        return nn.Parameter(matrix.clone() if is_own else torch.empty_like(matrix, device="meta"), requires_grad=is_own)

    def _put(self, name: str, parameter: nn.Parameter) -> None:
        module, _, leaf = name.rpartition(".")
        self._own.get_submodule(module).register_parameter(leaf, parameter)

    @torch.no_grad()
    def _hand_back(self) -> None:
        """Send every moved matrix from its owner to the ranks that hold its pieces."""
        for name, owner in self._owners.items():
            parameter = self._divided.parameters[name]
            matrix = self._named[name].detach() if owner == dist.get_rank() else _empty(parameter)
            dist.broadcast(matrix, src=owner)
            local(parameter).copy_(local_piece(matrix, parameter))

    def _gathered(self) -> list[tuple[str, Tensor]]:
        gathered: list[tuple[str, Tensor]] = []
        memory: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for path, value in self.tensors().items():
            name, _, key = path.rpartition("/")
            memory[name][key] = value
        for name, parameter in self._divided.parameters.items():
            state = memory[name]
            if name in self._owners:
                pieces = _from_owner(state, owner=self._owners[name], device=parameter.device)
            else:
                is_divided = {key: value.ndim == parameter.ndim for key, value in state.items()}
                pieces = {k: whole(as_divided(v, parameter)) if is_divided[k] else v for k, v in state.items()}
            gathered += [(f"{name}/{key}", value.to("cpu", copy=True)) for key, value in pieces.items()]
        return gathered


def _owners(divided: DividedModel, optimizer: OptimizerConfig) -> dict[str, int]:
    """Return which rank owns each hidden matrix: the largest first, each to the rank that has least so far."""
    if optimizer.name != "muon":
        return {}
    matrices = hidden_matrices(divided.model, divided.parameters)
    loads = [0] * dist.get_world_size()
    owners: dict[str, int] = {}
    for name in sorted(matrices, key=lambda name: -matrices[name].numel()):
        owners[name] = loads.index(min(loads))
        loads[owners[name]] += matrices[name].numel()
    return {name: owners[name] for name in divided.parameters if name in owners}


def _empty(parameter: nn.Parameter) -> Tensor:
    return torch.empty(parameter.shape, dtype=parameter.dtype, device=local(parameter).device)


def _from_owner(state: Mapping[str, Tensor], *, owner: int, device: torch.device) -> dict[str, Tensor]:
    """Send what an owner remembers of a matrix to all ranks."""
    keys = broadcast_json([(key, list(value.shape), str(value.dtype)) for key, value in state.items()], src=owner)
    received = {}
    for key, shape, dtype in keys:
        value = state[key] if key in state else torch.empty(shape, dtype=getattr(torch, dtype.split(".")[1]))
        value = value.to(device)
        dist.broadcast(value, src=owner)
        received[key] = value
    return received
