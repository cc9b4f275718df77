"""What an export is made of, and what a format of export must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Protocol, TypeAlias

import torch
from torch import Tensor

from banyan.core.errors import ConfigError
from banyan.model.config import ModelConfig
from banyan.model.tensor_source import FLOATS, TensorSource
from banyan.tokenizers.vocabulary import Vocabulary

Progress: TypeAlias = Callable[[int, int], None]  # bytes of weights written, bytes in all


class WeightType(StrEnum):
    """How a weight is written down."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"  # 8 bits, and a scale for each 32 weights of a row


# Which stored formats each type holds exactly.
_KEPT_BY: Mapping[WeightType, frozenset[str]] = {
    WeightType.F32: frozenset({"F32", "F16", "BF16"}),
    WeightType.F16: frozenset({"F16"}),
    WeightType.BF16: frozenset({"BF16"}),
    WeightType.Q8_0: frozenset(),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportSource:
    """A model on its way out: everything a format needs to write it."""

    directory: Path  # the model directory
    name: str
    config: ModelConfig
    architecture: str  # the stock one that computes the same
    vocabulary: Vocabulary
    weights: TensorSource  # words only, under their Hugging Face names
    licence: str | None = None  # None: not stated
    languages: Sequence[str] = ()

    @property
    def num_parameters(self) -> int:
        """Weights that other tools get."""
        return sum(self.weights.info(name).num_values for name in self.weights)

    @property
    def stored_as(self) -> str:
        """The number formats of the model's own file."""
        return ", ".join(sorted(str(FLOATS[name]).removeprefix("torch.") for name in self._dtypes))

    def rounding(self, weight_type: WeightType) -> tuple[str, ...]:
        """Return a remark on weights that lose digits in a type, or nothing."""
        if self._dtypes <= _KEPT_BY[weight_type]:
            return ()
        return (f"weights were rounded from {self.stored_as} to {weight_type}; scores are those of the unrounded ones",)

    @property
    def _dtypes(self) -> set[str]:
        return {self.weights.info(name).dtype for name in self.weights}


class ExportFormat(Protocol):
    """One way of writing a model for other tools."""

    # What --type may say, and what each means; None: where nothing is said.
    types: ClassVar[Mapping[WeightType | None, str]]

    def check(self, source: ExportSource) -> None:
        """Refuse what the format cannot express.

        Raises: ConfigError with the reason; MissingExtraError if a package is missing.
        """

    def num_bytes(self, source: ExportSource, weight_type: WeightType | None) -> int:
        """Return how much room the weights will take."""

    def write(
        self, source: ExportSource, directory: Path, *, weight_type: WeightType | None, progress: Progress
    ) -> None:
        """Write the model's files into a directory."""

    def remarks(self, source: ExportSource, weight_type: WeightType | None) -> tuple[str, ...]:
        """Return what a user of this format must know about this model."""

    def loading(self, source: ExportSource, weight_type: WeightType | None) -> str:
        """Return how the export is opened, as a section of Markdown."""


def fitting(name: str, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a weight in another number format.

    Raises: ConfigError if a value is too large for it.
    """
    converted = weight.to(dtype)
    if not converted.isfinite().all() and weight.isfinite().all():
        largest, kind = weight.abs().max().item(), str(dtype).removeprefix("torch.")
        raise ConfigError(
            f"{name} holds {largest:.4g}, and {kind} ends at {torch.finfo(dtype).max:.4g}.",
            hint="use --type bf16 or f32",
        )
    return converted
