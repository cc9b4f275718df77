"""The adapters a model carries: what each was made with, and the task heads it brought."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from banyan.core.config import config
from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.registry import did_you_mean
from banyan.model.attention import AttentionPlan
from banyan.model.heads import TaskHeads
from banyan.model.low_rank import adapter_key, adapter_pass

PARTS = ("q", "k", "v", "output", "gate", "up", "down")
GROUPS = {
    "qkv": ("q", "k", "v"),
    "attention": ("q", "k", "v", "output"),
    "feed_forward": ("gate", "up", "down"),
    "all": PARTS,
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MAX_RANK = 4096


@config
class LoraConfig:
    """How large an adapter is, and which matrices of every block it changes.

    Source: Hu et al. 2021.
    """

    rank: int = 8  # width between the two factors
    alpha: float | None = None  # the change is scaled by alpha / rank; null: twice the rank
    dropout: float = 0.0  # probability, 0 <= p < 1, on what goes into the first factor
    targets: tuple[str, ...] = ("all",)  # q, k, v, output, gate, up, down; or qkv, attention, feed_forward, all
    last_blocks: int = 0  # it lies in so many of the last blocks; 0: in all
    name: str = "default"

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= _MAX_RANK:
            raise ConfigError(f"lora.rank={self.rank} must lie between 1 and {_MAX_RANK}.")
        if self.alpha is not None and not 0 < self.alpha < float("inf"):
            raise ConfigError(f"lora.alpha={self.alpha} must be above 0, or null for twice the rank.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"lora.dropout={self.dropout} must lie in 0 <= p < 1.")
        if self.last_blocks < 0:
            raise ConfigError(f"lora.last_blocks={self.last_blocks} must be 0 (all blocks) or more.")
        check_adapter_name(self.name)
        known = (*PARTS, *GROUPS)
        if not self.targets:
            raise ConfigError(f"lora.targets is empty; name at least one of {', '.join(known)}.")
        for target in self.targets:
            if target not in known:
                raise UnknownNameError(f"lora.targets names {target!r}{did_you_mean(target, known)}")

    @property
    def scale(self) -> float:
        """What the product of the two factors is multiplied by."""
        return 2.0 if self.alpha is None else self.alpha / self.rank

    @property
    def parts(self) -> frozenset[str]:
        """The targets with every group spelled out."""
        return frozenset(part for target in self.targets for part in GROUPS.get(target, (target,)))


def check_adapter_name(name: str) -> None:
    """Make sure that a name can be one of an adapter.

    Raises: ConfigError.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name[:80]!r} cannot name an adapter; use up to 64 letters, digits, - and _.")


class Adapter(nn.Module):
    """One adapter: its low-rank factors lie in the layers they belong to, its task heads here."""

    def __init__(self, config: LoraConfig, *, heads: TaskHeads | None = None) -> None:
        super().__init__()
        self.config = config
        self.heads = heads  # None: the model's own answer under it


class Adapters(nn.Module):
    """The adapters of one model by name, and which of them is active where nobody names one."""

    def __init__(self) -> None:
        super().__init__()
        self.active: str | None = None

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return (adapter.config.name for adapter in self._all())

    def __contains__(self, name: object) -> bool:
        return adapter_key(str(name)) in self._modules

    def __getitem__(self, name: str) -> Adapter:
        if name not in self:
            raise UnknownNameError(f"the model has no adapter {name!r}{did_you_mean(name, tuple(self))}")
        return cast(Adapter, self._modules[adapter_key(name)])

    def add(self, adapter: Adapter) -> None:
        """Take in an adapter.

        Raises: ConfigError if there is one of its name.
        """
        if adapter.config.name in self:
            raise ConfigError(f"the model has an adapter {adapter.config.name!r} already; give this one another name.")
        self.add_module(adapter_key(adapter.config.name), adapter)

    def remove(self, name: str) -> None:
        """Forget an adapter."""
        del self._modules[adapter_key(self[name].config.name)]
        self.active = None if self.active == name else self.active

    def join(
        self,
        plan: AttentionPlan,
        names_B: Sequence[str | None] | None,
        *,
        x_BTD: Tensor,
        noise_keys_BT: Tensor | None = None,
    ) -> AttentionPlan:
        """Return the plan of a pass with the adapters that its rows go through; None: the active one, if any."""
        if not self:
            return plan
        names = [self.active] * len(x_BTD) if names_B is None else [name or self.active for name in names_B]
        return replace(plan, adapters=adapter_pass(names, like=x_BTD, noise_keys_BT=noise_keys_BT))

    @property
    def drops(self) -> bool:
        """Whether the active adapter drops anything while it learns."""
        return self.active is not None and self[self.active].config.dropout > 0

    def _all(self) -> list[Adapter]:
        return [cast(Adapter, module) for module in self._modules.values()]


def saved_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights that a run saves: all of a model, or only those of the adapters it carries and its heads."""
    named = dict(model.named_parameters())
    if not (isinstance(adapters := getattr(model, "adapters", None), Adapters) and len(adapters)):
        return named
    return {name: p for name, p in named.items() if "adapters" in name.split(".") or name.startswith("heads.")}
