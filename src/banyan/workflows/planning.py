"""`banyan plan`: what a recipe will take before it is launched, from a short probe or from published figures."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import psutil

from banyan.train.accounting import MemoryParts, WeightCounts, flops_per_token, memory_parts
from banyan.train.balance_config import task_groups
from banyan.train.loss_plot import MIN_PAUSE_SECONDS
from banyan.train.step_work import StepWork, step_work
from banyan.workflows.plan_probe import Measured, ProbeReport
from banyan.workflows.planned_devices import (
    CONTEXT_BYTES,
    KERNELS_PER_LAYER,
    LAUNCH_SECONDS,
    UTILISATION,
    DeviceSpec,
    PlannedDevices,
    modelled_step_seconds,
)
from banyan.workflows.recipe import Recipe

THIS_MACHINE = PlannedDevices(name="this machine", count=1)
_WEIGHT_BYTES, _BFLOAT16_BYTES = 4, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeParts:
    """Where the wall-clock time of a run goes. Units: seconds."""

    start: float  # imports
    prepare: float  # data, tokenizers, rendering
    steps: float
    evaluations: float = 0.0  # with the samples they write
    plots: float = 0.0
    saves: float = 0.0
    edges: float = 0.0  # building the model; the last save and what follows it

    @property
    def total(self) -> float:
        """All of it."""
        return math.fsum(dataclasses.astuple(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskParts:
    """What a run leaves on the disk. Units: bytes."""

    checkpoints: int  # those kept, the best one, and the one being written
    prepared: int  # tokenizers and shards
    logs: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.checkpoints + self.prepared + self.logs


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSize:
    """How much there is to do, whoever does it."""

    weights: WeightCounts
    flops_per_token: float
    tokens_per_step: int
    steps: int
    num_evaluations: int
    num_saves: int  # if every evaluation is better than those before

    @property
    def num_tokens(self) -> int:
        """Tokens seen in the whole run."""
        return self.steps * self.tokens_per_step

    @property
    def flops(self) -> float:
        """Arithmetic of the whole run."""
        return self.flops_per_token * self.num_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a recipe will take."""

    devices: PlannedDevices
    is_modelled: bool  # False: calibrated by a probe on this machine
    size: RunSize
    memory: MemoryParts  # of one process, during a step
    peak_bytes: int  # of the same process, evaluations and saves included
    available_bytes: int  # that one process can have
    step_seconds: float
    time: TimeParts
    disk: DiskParts
    assumptions: tuple[str, ...] = ()

    @property
    def tokens_per_second(self) -> float:
        """During steps."""
        return self.size.tokens_per_step / self.step_seconds

    @property
    def fits(self) -> bool:
        """Is there enough memory?"""
        return self.peak_bytes <= self.available_bytes


def make_plan(recipe: Recipe, report: ProbeReport, devices: PlannedDevices = THIS_MACHINE) -> Plan:
    """Return the plan of a recipe: calibrated where the probe was on such a device, modelled elsewhere."""
    if devices.spec is None:
        return _calibrated(recipe, report, devices)
    return _modelled(recipe, report, devices, devices.spec)


def _calibrated(recipe: Recipe, report: ProbeReport, devices: PlannedDevices) -> Plan:
    probe = report.measured
    assert probe is not None, "a plan for this machine needs a probe that has timed steps"
    size = _size(recipe, report)
    step_seconds = probe.step_seconds / devices.count
    ideal = f"{devices.count} machines like this one, each doing its share: what links cost is not counted"
    return Plan(
        devices=devices,
        is_modelled=devices.count > 1,
        size=size,
        memory=_calibrated_memory(recipe, report, probe),
        peak_bytes=probe.peak_bytes if probe.device_peak_bytes is None else probe.device_peak_bytes,
        available_bytes=psutil.virtual_memory().total,
        step_seconds=step_seconds,
        time=_time(size, report, probe, step_seconds=step_seconds),
        disk=DiskParts(
            checkpoints=_num_kept(recipe) * probe.checkpoint_bytes,
            prepared=report.prepared_bytes,
            logs=round(size.steps * probe.log_bytes_per_step),
        ),
        assumptions=(ideal,) if devices.count > 1 else (),
    )


def _modelled(recipe: Recipe, report: ProbeReport, devices: PlannedDevices, spec: DeviceSpec) -> Plan:
    size, work = _size(recipe, report), _work(recipe)
    memory = _memory(recipe, report, num_shares=devices.count, base_bytes=CONTEXT_BYTES, number_bytes=_BFLOAT16_BYTES)
    step_seconds = modelled_step_seconds(
        devices,
        spec,
        flops=size.flops_per_token * size.tokens_per_step,
        num_weights=size.weights.total,
        num_layers=report.model.num_layers,
        num_passes=recipe.train.accumulation_steps * work.num_backward,
        repetition=work.repetition / work.row_copies,
    )
    return Plan(
        devices=devices,
        is_modelled=True,
        size=size,
        memory=memory,
        peak_bytes=memory.total,
        available_bytes=int(spec.memory_bytes),
        step_seconds=step_seconds,
        time=TimeParts(start=report.start_seconds, prepare=report.prepare_seconds, steps=size.steps * step_seconds),
        disk=DiskParts(
            checkpoints=_num_kept(recipe) * (memory.weights + memory.optimizer), prepared=report.prepared_bytes
        ),
        assumptions=(
            f"{UTILISATION:.0%} of the published {spec.flops / 1e12:.0f} TFLOP/s in bfloat16 is reached",
            f"a layer is {KERNELS_PER_LAYER} kernels of at least {LAUNCH_SECONDS * 1e6:.0f} µs",
            "every device holds all weights and takes an equal share of the rows; what links cost is not counted",
            "evaluations, saves and logs are not counted; preparation takes as long as it took here",
        ),
    )


def _size(recipe: Recipe, report: ProbeReport) -> RunSize:
    steps, every = report.steps, report.evaluation_interval
    evaluated = {*range(every, steps + 1, every), steps} if every else set()
    saved = {*range(report.checkpoint_interval, steps + 1, report.checkpoint_interval), steps}
    return RunSize(
        weights=report.weights,
        flops_per_token=_flops_per_token(recipe, report),
        tokens_per_step=report.tokens_per_step,
        steps=steps,
        num_evaluations=len(evaluated),
        num_saves=len(evaluated | saved),
    )


def _flops_per_token(recipe: Recipe, report: ProbeReport) -> float:
    """Return the arithmetic of a token; where a trunk stays as it is, that of the blocks and heads above it."""
    model, counts, work = report.model, report.weights, _work(recipe)
    target_share = report.targets_per_step / report.tokens_per_step
    if recipe.transfer.mode == "head" and recipe.transfer.parent is not None:
        counts = report.learning
        if recipe.transfer.last_blocks == 0:
            return 2.0 * work.output_passes * counts.output * target_share
        model = dataclasses.replace(model, num_layers=recipe.transfer.last_blocks)
    return flops_per_token(model, counts, seq_len=recipe.train.seq_len, target_share=target_share, work=work)


def _work(recipe: Recipe) -> StepWork:
    groups = task_groups(recipe.train.balance, [task.name for task in recipe.tasks])
    return step_work(recipe.train, num_groups=1 if groups is None else len(groups))


def _time(size: RunSize, report: ProbeReport, probe: Measured, *, step_seconds: float) -> TimeParts:
    steps = size.steps * step_seconds
    evaluations = size.num_evaluations * probe.evaluation_seconds
    num_plots = min(size.num_evaluations, 1 + (steps + evaluations) / MIN_PAUSE_SECONDS)
    return TimeParts(
        start=report.start_seconds,
        prepare=report.prepare_seconds,
        steps=steps,
        evaluations=evaluations,
        plots=num_plots * probe.plot_seconds,
        saves=(size.num_saves - 1) * probe.save_seconds,  # the last one is in `edges`
        edges=probe.edge_seconds,
    )


def _num_kept(recipe: Recipe) -> int:
    """Return how many checkpoints lie on the disk at most: those kept, the best, and the one being written."""
    return recipe.train.keep_checkpoints + 2


def _memory(
    recipe: Recipe, report: ProbeReport, *, num_shares: int = 1, base_bytes: int = 0, number_bytes: int = 4
) -> MemoryParts:
    """Return the memory by formula; each of `num_shares` processes has its share of the rows."""
    passes = recipe.train.accumulation_steps * num_shares
    return memory_parts(
        report.model,
        report.weights,
        optimizer=recipe.optimizer,
        num_tokens=-(-recipe.train.batch_seqs // passes) * recipe.train.seq_len,
        num_targets=-(-report.targets_per_step // passes),
        has_average=recipe.train.average is not None,
        has_beginning=recipe.train.health.keeps_beginning(_WEIGHT_BYTES * report.weights.total),
        base_bytes=base_bytes,
        number_bytes=number_bytes,
        learning=report.learning,
        work=_work(recipe),
    )


def _calibrated_memory(recipe: Recipe, report: ProbeReport, probe: Measured) -> MemoryParts:
    """Return the memory by formula, with activations and logits stretched to what the probe's steps held."""
    base = 0 if probe.device_peak_bytes is not None else probe.base_bytes
    parts = _memory(recipe, report, base_bytes=base)
    grown = parts.activations + parts.logits
    held = probe.step_peak_bytes if probe.device_peak_bytes is None else probe.device_peak_bytes
    stretch = max(0.0, held - (parts.total - grown)) / grown
    return dataclasses.replace(
        parts, activations=round(parts.activations * stretch), logits=round(parts.logits * stretch)
    )
