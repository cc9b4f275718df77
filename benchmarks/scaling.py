"""How training speeds up with processes on this machine, and what a model of it predicts: here, and for a cluster.

    python benchmarks/scaling.py [--quick]

Measured: tokens/s of 1, 2 and 4 processes (gloo) that share one global batch, data parallel and divided. Predicted: the
same points, from one process on one thread and from a probe of the link between two processes; and 8 to 1,024 GPUs,
from published speeds. The assumptions of the model are in docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from banyan.core.before_torch import PASSIVE_WAITING
from banyan.core.process import process_place, usable_cores
from banyan.core.types import NO_GRID
from banyan.data.batch import Batch
from banyan.model.config import ModelConfig
from banyan.model.transformer import Transformer, count_parameters
from banyan.train.balance import default_balance
from banyan.train.distributed.heartbeat import Heartbeat
from banyan.train.distributed.world import ProcessRanks
from banyan.train.losses import joint_loss
from banyan.train.optimizer import OptimizerConfig
from banyan.train.ranks import ALONE, Ranks
from banyan.train.step import train_step

SEQ_LEN, ROWS = 256, 8
LAYOUTS = ["1x1x1", "2x1x1", "4x1x1", "1x2x1", "1x1x2", "1x2x2"]  # data x shard x tensor
PROBE_BYTES = 32 << 20
SHARED_TOKENS = 4 << 20  # a step of the large batch that all GPUs of a cluster share


# ------------------------------------------------------------------------------------------------ one process of a run


def small_model(*, quick: bool) -> Transformer:
    """The small GPT-2 shape of the throughput benchmark; with `quick` a smaller one."""
    layers, width, heads = (2, 128, 4) if quick else (6, 384, 6)
    config = ModelConfig(
        num_layers=layers, num_heads=heads, embed_dim=width, vocab_size=4096, max_seq_len=SEQ_LEN, position="learned",
        norm="layer", activation="gelu_tanh",
    )  # fmt: skip
    return Transformer(config).train()


def random_batch(vocab_size: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocab_size, (ROWS, SEQ_LEN + 1), generator=generator)
    places = torch.arange(SEQ_LEN).expand(ROWS, -1).contiguous()
    zeros = torch.zeros(ROWS, SEQ_LEN, dtype=torch.int64)
    return Batch(
        token_ids=ids[:, :-1].contiguous(), targets=ids[:, 1:].contiguous(), loss_weights=torch.ones(ROWS, SEQ_LEN),
        position_ids=places, segment_ids=zeros, attend_until=places, grid_ids=zeros + NO_GRID, task_ids=zeros,
        noise_seeds=torch.zeros(ROWS, dtype=torch.int64),
    )  # fmt: skip


class Stopwatch:
    """The seconds that a step spends in one function."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began

        return timed


def measure(ranks: Ranks, *, num_steps: int, quick: bool) -> dict[str, float]:
    """Median seconds of a step and of its optimizer, and the size of the model."""
    model = small_model(quick=quick)
    num_parameters = count_parameters(model)
    balance = default_balance(model, [None])
    batch = random_batch(model.config.vocab_size)
    ranks.divide(model)
    optimizer = ranks.optimizer_of(model, OptimizerConfig(name="adamw"))
    watch = Stopwatch()
    optimizer.step = watch.around(optimizer.step)  # type: ignore[method-assign]
    steps, updates = [], []
    for step in range(1, num_steps + 3):
        optimizer.prepare_step(step, rate_factor=1.0)
        began, watch.seconds = time.perf_counter(), 0.0
        train_step(
            model, batch, optimizer=optimizer, loss_function=partial(joint_loss, task_heads=[None]), balance=balance,
            ranks=ranks,
        )  # fmt: skip
        steps.append(time.perf_counter() - began)
        updates.append(watch.seconds)
    return {
        "step_seconds": statistics.median(steps[2:]),
        "optimizer_seconds": statistics.median(updates[2:]),
        "num_parameters": num_parameters,
    }


def measure_link(*, repeats: int = 7) -> dict[str, float]:
    """Bytes per second of a large sum over the ranks, and the seconds of a tiny one."""
    seconds = {}
    for name, size in (("large", PROBE_BYTES // 4), ("tiny", 1)):
        tensor, times = torch.zeros(size), []
        for _ in range(repeats):
            dist.barrier()
            began = time.perf_counter()
            dist.all_reduce(tensor)
            times.append(time.perf_counter() - began)
        seconds[name] = statistics.median(times)
    return {"latency_seconds": seconds["tiny"], "large_seconds": seconds["large"]}


def work(layout: str, *, num_steps: int, quick: bool) -> None:
    """Be one process of a measurement; rank 0 prints what it found."""
    place = process_place()
    sizes = tuple(map(int, layout.split("x")))
    found: dict[str, float] = {}
    if place.world_size == 1:
        found = measure(ALONE, num_steps=num_steps, quick=quick)
    else:
        dist.init_process_group("gloo")
        heartbeat = Heartbeat(None, rank=place.rank)
        ranks = ProcessRanks(place, sizes=sizes, device=torch.device("cpu"), heartbeat=heartbeat)  # type: ignore[arg-type]
        found = {**measure(ranks, num_steps=num_steps, quick=quick), **measure_link()}
        dist.destroy_process_group()
    if place.is_main:
        print(json.dumps(found))


# ------------------------------------------------------------------------------------------------ starting them


def run(layout: str, *, num_steps: int, threads: int, quick: bool) -> dict[str, float]:
    """Measure one layout with as many processes as it has ranks."""
    data, shard, tensor = map(int, layout.split("x"))
    world_size = data * shard * tensor
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size),
        "OMP_NUM_THREADS": str(threads), **dict([PASSIVE_WAITING]),
    }  # fmt: skip
    words = [sys.executable, __file__, "--worker", layout, "--steps", str(num_steps), *(["--quick"] if quick else [])]
    processes = [
        subprocess.Popen(words, env={**os.environ, **shared, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(world_size)
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{layout}: a process failed")
    answer: dict[str, float] = json.loads(outputs[0].splitlines()[-1])
    return answer


# ------------------------------------------------------------------------------------------------ the model


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the prediction for this machine starts from: one process on one thread, and two that sum."""

    num_cores: int
    row_seconds: float  # forward and backward of one row on one core
    optimizer_seconds: float  # of all weights on one core
    gradient_bytes: float
    link_bytes_per_second: float
    latency_seconds: float

    def predict(self, world_size: int) -> float:
        """Seconds of a data-parallel step. More processes than cores take turns."""
        turns = max(1.0, world_size / self.num_cores)
        compute = self.row_seconds * ROWS / world_size * turns
        if world_size == 1:  # its threads share the products, not the rest
            compute = self.row_seconds * ROWS / min(2, self.num_cores)
        num_bytes = 2 * (world_size - 1) / world_size * self.gradient_bytes
        communication = num_bytes * turns / self.link_bytes_per_second + 4 * (world_size > 1) * self.latency_seconds
        return compute + self.optimizer_seconds * turns + communication


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Published speeds of nodes of eight H100 or H200 SXM, and what is assumed to be reached of them."""

    peak_flops: float = 989e12  # dense bfloat16
    reached_compute: float = 0.45  # of the peak, in forward and backward
    nvlink_bytes: float = 450e9  # per GPU and direction: 900 GB/s in both
    network_bytes: float = 50e9  # per GPU and direction: 400 Gb/s InfiniBand
    reached_link: float = 0.8
    nvlink_latency: float = 5e-6  # seconds a hop
    network_latency: float = 10e-6
    memory_bytes: float = 3.35e12  # per second: HBM3 of an H100 SXM
    gpus_per_node: int = 8

    def ring_seconds(self, num_bytes: float, *, ranks: int, is_network: bool) -> float:
        """Seconds in which every one of some ranks gathers, or reduces and scatters, so many bytes in all."""
        speed = (self.network_bytes if is_network else self.nvlink_bytes) * self.reached_link
        latency = self.network_latency if is_network else self.nvlink_latency
        return (ranks - 1) / ranks * num_bytes / speed + (ranks - 1) * latency

    def step(
        self, *, num_parameters: float, tokens_per_gpu: int, num_gpus: int, is_sharded: bool
    ) -> tuple[float, float]:
        """Return the seconds of forward and backward passes, and of all else, in a step.

        Data parallel sums float32 gradients after the backward pass: inside a node, then between nodes an eighth each.
        Sharded, each node holds the weights once: they are gathered over NVLink for the forward and for the backward
        pass and their gradients scattered, beside the arithmetic; the sum between nodes of an eighth each waits. AdamW
        reads and writes 28 bytes for each weight that lies on a GPU.
        """
        compute = 6 * num_parameters * tokens_per_gpu / (self.peak_flops * self.reached_compute)
        size = 4 * num_parameters
        in_node, num_nodes = min(num_gpus, self.gpus_per_node), max(1, num_gpus // self.gpus_per_node)
        inside = self.ring_seconds(size, ranks=in_node, is_network=False)
        between = 2 * self.ring_seconds(size / in_node, ranks=num_nodes, is_network=True)
        update = 28 * num_parameters / (in_node if is_sharded else 1) / (self.memory_bytes * self.reached_link)
        if is_sharded:
            return compute, max(0.0, 3 * inside - compute) + between + update
        return compute, 2 * inside + between + update


def cluster_table() -> list[dict[str, Any]]:
    """Each model with a fixed number of tokens per GPU, and with one batch that all GPUs share."""
    cluster = Cluster()
    shapes = [("124M data", 124e6, 65_536, False), ("1.3B shard 8 x data", 1.3e9, 32_768, True),
              ("7B shard 8 x data", 7e9, 16_384, True)]  # fmt: skip
    rows = []
    for name, num_parameters, own_tokens, is_sharded in shapes:
        for is_shared in (False, True):
            for num_gpus in (8, 32, 128, 512, 1024):
                tokens = SHARED_TOKENS // num_gpus if is_shared else own_tokens
                compute, other = cluster.step(
                    num_parameters=num_parameters, tokens_per_gpu=tokens, num_gpus=num_gpus, is_sharded=is_sharded
                )
                rows.append({
                    "model": name, "batch": f"{tokens * num_gpus / 2**20:g} Mi", "gpus": num_gpus,
                    "step_ms": 1e3 * (compute + other), "other_ms": 1e3 * other,
                    "tokens_per_second": tokens * num_gpus / (compute + other),
                    "efficiency": compute / (compute + other),
                })  # fmt: skip
    return rows


# ------------------------------------------------------------------------------------------------ the report


def measured_points(*, quick: bool) -> tuple[dict[str, dict[str, float]], Machine]:
    num_steps, cores = (3 if quick else 4), usable_cores()
    layouts = LAYOUTS[:2] if quick else LAYOUTS
    points: dict[str, list[dict[str, float]]] = {layout: [] for layout in layouts}
    one_core: list[dict[str, float]] = []
    for _ in range(1 if quick else 2):  # in turns, so that a drift of the machine meets all of them
        one_core.append(run("1x1x1", num_steps=num_steps, threads=1, quick=quick))
        for layout in layouts:
            ranks = num_ranks(layout)
            points[layout].append(run(layout, num_steps=num_steps, threads=max(1, cores // ranks), quick=quick))
    best = {layout: min(found, key=lambda f: f["step_seconds"]) for layout, found in points.items()}
    single, pair = min(one_core, key=lambda f: f["step_seconds"]), best["2x1x1"]
    machine = Machine(
        num_cores=cores,
        row_seconds=(single["step_seconds"] - single["optimizer_seconds"]) / ROWS,
        optimizer_seconds=single["optimizer_seconds"],
        gradient_bytes=4 * single["num_parameters"],
        link_bytes_per_second=PROBE_BYTES / pair["large_seconds"],
        latency_seconds=pair["latency_seconds"],
    )
    return best, machine


def num_ranks(layout: str) -> int:
    data, shard, tensor = map(int, layout.split("x"))
    return data * shard * tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--worker")
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, num_steps=options.steps, quick=options.quick)
        return
    points, machine = measured_points(quick=options.quick)
    tokens = ROWS * SEQ_LEN
    alone = points["1x1x1"]["step_seconds"]
    print(f"{machine.num_cores} cores, {points['1x1x1']['num_parameters'] / 1e6:.1f} M weights, {tokens} tokens a step")
    print(
        f"link of two processes: {machine.link_bytes_per_second / 1e9:.2f} GB/s, {1e6 * machine.latency_seconds:.0f} µs"
    )
    print(f"{'data x shard x tensor':<22}{'ms/step':>9}{'tokens/s':>10}{'speed-up':>10}{'predicted ms':>14}")
    for layout, found in points.items():
        seconds, is_plain = found["step_seconds"], layout.endswith("1x1")
        predicted = f"{1e3 * machine.predict(num_ranks(layout)):14.0f}" if is_plain else ""
        print(f"{layout:<22}{1e3 * seconds:9.0f}{tokens / seconds:10.0f}{alone / seconds:10.2f}{predicted}")
    print(
        f"{'model':<22}{'tokens/step':>12}{'GPUs':>6}{'ms/step':>9}{'other ms':>10}{'tokens/s':>14}{'efficiency':>12}"
    )
    for row in cluster_table():
        print(f"{row['model']:<22}{row['batch']:>12}{row['gpus']:>6}{row['step_ms']:9.1f}{row['other_ms']:10.1f}"
              f"{row['tokens_per_second']:14,.0f}{row['efficiency']:12.0%}")  # fmt: skip
    figures = [
        {"name": f"scaling-{layout}", "value": round(tokens / found["step_seconds"]), "unit": "tokens/s",
         "ratio": round(alone / found["step_seconds"], 3), "against": "one process"}
        for layout, found in points.items()
    ]  # fmt: skip
    print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
