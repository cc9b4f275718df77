"""Accelerators a run can be planned for without having one: what their makers publish, and what we assume of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from banyan.core.errors import ConfigError
from banyan.core.registry import Registry

UTILISATION = 0.4  # of the published rate that training reaches, where matrices are large
LAUNCH_SECONDS = 6e-6  # for each kernel of an eager step: what a small model waits for
KERNELS_PER_LAYER = 90  # forward and backward
OPTIMIZER_TOUCHES = 7  # numbers read or written per weight in an update: gradient, weight, memories
CONTEXT_BYTES = 1 << 30  # driver, libraries and the allocator's gaps
_COUNTED = re.compile(r"(?P<name>.+)x(?P<count>\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceSpec:
    """What a maker publishes of one accelerator."""

    flops: float  # per second, bfloat16 products summed in float32, without sparsity
    memory_bytes: float
    bandwidth: float  # bytes per second


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedDevices:
    """So many of one accelerator; without a spec, so many machines like this one."""

    name: str
    count: int
    spec: DeviceSpec | None = None


def _spec(teraflops: float, gigabytes: float, gigabytes_per_second: float) -> DeviceSpec:
    return DeviceSpec(flops=teraflops * 1e12, memory_bytes=gigabytes * 1e9, bandwidth=gigabytes_per_second * 1e9)


# Source: the makers' data sheets, dense rates.
DEVICES: Registry[DeviceSpec] = Registry("device")
DEVICES.add("t4", _spec(65, 16, 320))  # float16; it has no bfloat16
DEVICES.add("rtx3090", _spec(71, 24, 936))
DEVICES.add("rtx4090", _spec(165, 24, 1008))
DEVICES.add("l4", _spec(121, 24, 300))
DEVICES.add("l40s", _spec(362, 48, 864))
DEVICES.add("a10", _spec(125, 24, 600))
DEVICES.add("a100-40gb", _spec(312, 40, 1555))
DEVICES.add("a100-80gb", _spec(312, 80, 2039))
DEVICES.add("h100", _spec(989, 80, 3350))
DEVICES.add("h200", _spec(989, 141, 4800))
DEVICES.add("b200", _spec(2250, 180, 7700))
DEVICES.add("mi300x", _spec(1307, 192, 5300))


def parse_devices(text: str) -> PlannedDevices:
    """Read `8` (machines like this one), `h200` or `h200x8`.

    Raises: UnknownNameError naming a near device; ConfigError for a number below 1.
    """
    if text.isdigit():
        return PlannedDevices(name="this machine", count=_positive(text, int(text)))
    name, count = text.lower(), 1
    if (match := _COUNTED.fullmatch(name)) and match["name"] in DEVICES:
        name, count = match["name"], _positive(text, int(match["count"]))
    return PlannedDevices(name=name, count=count, spec=DEVICES[name])


def _positive(text: str, count: int) -> int:
    if count < 1:
        raise ConfigError(f"--devices={text} must be 1 or more, for example h200x8.")
    return count


def modelled_step_seconds(
    devices: PlannedDevices,
    spec: DeviceSpec,
    *,
    flops: float,
    num_weights: int,
    num_layers: int,
    num_passes: int,
    repetition: float = 1.0,
) -> float:
    """Return how long a step should take: the slowest of arithmetic and launching, then the update.

    `num_passes` are forward and backward passes; `repetition` says how often each runs, in parts of such a pair.

    Source: a roofline; Williams et al. 2009.
    """
    arithmetic = flops / (devices.count * spec.flops * UTILISATION)
    launching = repetition * num_passes * num_layers * KERNELS_PER_LAYER * LAUNCH_SECONDS
    update = num_weights * 4 * OPTIMIZER_TOUCHES / spec.bandwidth
    return max(arithmetic, launching) + update
