"""Where the batches of a run's steps come from: drawn when a step begins, or while the step before it computes.

Which batch a step learns from is the same either way. A batch drawn ahead belongs to one step, and the place in the
data before it is kept. It is thrown away, and the loader goes back there, when another step comes next (the run went
back), and before anybody else uses the loader (a validation may slow tasks down).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from banyan.data.batch import AnyBatch, BatchLoader, TrainableBatch
from banyan.data.features import FeatureLoader

Prefetch: TypeAlias = Literal["auto"] | bool  # YAML reads on and off as true and false
Draw: TypeAlias = Callable[[int], TrainableBatch]  # step → its batch, from where the loader stands
THREAD = "banyan-input"


class StepBatches:
    """The batches of a run, each drawn when its step begins."""

    def __init__(self, loader: BatchLoader, draw: Draw) -> None:
        self._loader = loader
        self._draw = draw

    def take(self, step: int) -> TrainableBatch:
        """Return the batch of a step, the next one of the data.

        Raises: what the loader raises.
        """
        return self._draw(step)

    def place(self) -> Mapping[str, Any]:
        """Return the place in the data before the next batch that is taken, ready for JSON."""
        return self._loader.state()

    def restore(self, place: Mapping[str, Any]) -> None:
        """Go on where `place` was taken."""
        self.call_off()
        self._loader.restore(place)

    def redraw(self, place: Mapping[str, Any]) -> TrainableBatch:
        """Return the batch of `place["step"]` at an earlier place; the stream goes on where it stands."""
        self.call_off()
        here = self._loader.state()
        self._loader.restore(place)
        batch = self._draw(place["step"])
        self._loader.restore(here)
        return batch

    def call_off(self) -> None:
        """Let the loader stand where the last batch that was taken has left it, for others to use."""

    def close(self) -> None:
        """End what goes on beside the run; batches can be taken again afterwards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ahead:
    """A batch that nobody has taken yet."""

    step: int
    place: Mapping[str, Any]  # of the loader before it
    batch: Future[TrainableBatch]


class PrefetchedBatches(StepBatches):
    """The batches of a run, each drawn by a thread while the step before it computes; for a GPU, in pinned memory.

    Whatever goes wrong in the thread is raised when the batch is taken, by the step that it belongs to.
    """

    def __init__(self, loader: BatchLoader, draw: Draw, *, num_steps: int, device: torch.device) -> None:
        super().__init__(loader, draw)
        self._num_steps = num_steps
        self._device = device
        self._ahead: _Ahead | None = None
        self._thread: ThreadPoolExecutor | None = None

    def take(self, step: int) -> TrainableBatch:
        """Return the batch of a step, and begin to draw the next one."""
        if self._ahead is not None and self._ahead.step != step:
            self.call_off()
        batch = self._drawn(step) if self._ahead is None else self._ahead.batch.result()
        self._ahead = self._begin(step + 1) if step < self._num_steps else None
        return batch

    def place(self) -> Mapping[str, Any]:
        """Return the place in the data before the next batch that is taken, drawn or not."""
        return super().place() if self._ahead is None else self._ahead.place

    def call_off(self) -> None:
        """Throw away what was drawn ahead, and go back to the place before it."""
        if self._ahead is None:
            return
        wait([self._ahead.batch])
        self._loader.restore(self._ahead.place)
        self._ahead = None

    def close(self) -> None:
        """End the thread, when it has drawn what it is at."""
        if self._thread is not None:
            self._thread.shutdown()
        self._thread = None

    def _begin(self, step: int) -> _Ahead:
        self._thread = self._thread or ThreadPoolExecutor(max_workers=1, thread_name_prefix=THREAD)
        place = self._loader.state()
        return _Ahead(step=step, place=place, batch=self._thread.submit(self._drawn, step))

    def _drawn(self, step: int) -> TrainableBatch:
        batch = self._draw(step)
        if self._device.type != "cuda":
            return batch
        with torch.cuda.device(self._device):  # a thread begins with the first one
            return pinned(batch)


def step_batches(
    loader: BatchLoader, draw: Draw, *, prefetch: Prefetch, num_steps: int, device: torch.device
) -> StepBatches:
    """Return the batches of a run of so many steps on a device."""
    if is_prefetched(prefetch, loader=loader, device=device):
        return PrefetchedBatches(loader, draw, num_steps=num_steps, device=device)
    return StepBatches(loader, draw)


def is_prefetched(choice: Prefetch, *, loader: BatchLoader, device: torch.device) -> bool:
    """Return whether batches are drawn ahead: as a recipe says, or on a GPU; on a CPU the products need the cores.

    Features are never drawn ahead: some are computed by the very model that learns meanwhile.
    """
    if isinstance(loader, FeatureLoader):
        return False
    return device.type == "cuda" if choice == "auto" else choice


def pinned(batch: AnyBatch) -> AnyBatch:
    """Return the same batch in memory from which a GPU copies while the process goes on."""
    values: dict[str, Any] = {field.name: getattr(batch, field.name) for field in fields(batch)}  # type: ignore[arg-type]
    tensors = {name: value.pin_memory() for name, value in values.items() if isinstance(value, Tensor)}
    return replace(batch, **tensors)  # type: ignore[type-var]
