"""Task heads: small linear layers on the trunk, each answering one closed question."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.registry import did_you_mean
from banyan.core.types import HeadSpec
from banyan.model.linear import BareLinear


class TaskHeads(nn.Module):
    """The heads of one model, found by name. Kept as a list inside, so that a head may have any name."""

    def __init__(self, specs: Sequence[HeadSpec], *, embed_dim: int) -> None:
        super().__init__()
        self.specs = tuple(specs)
        self._index = {spec.name: index for index, spec in enumerate(self.specs)}
        if len(self._index) != len(self.specs):
            raise ConfigError(f"two heads share a name: {', '.join(spec.name for spec in self.specs)}.")
        for spec in self.specs:
            if spec.num_outputs < 1:
                raise ConfigError(f"head {spec.name!r} has no labels; a {spec.kind} head needs at least one.")
        self.layers = nn.ModuleList(BareLinear(embed_dim, spec.num_outputs) for spec in self.specs)

    def __getitem__(self, name: str) -> nn.Linear:
        if name not in self._index:
            raise UnknownNameError(f"no head {name!r}{did_you_mean(name, self._index)}")
        layer = self.layers[self._index[name]]
        assert isinstance(layer, nn.Linear)
        return layer

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def logits(self, name: str, hidden_ND: Tensor) -> Tensor:
        """Shapes: hidden (N, D); returns (N, num_outputs).

        Raises: UnknownNameError for a head this model does not have.
        """
        return self[name](hidden_ND)  # type: ignore[no-any-return]
