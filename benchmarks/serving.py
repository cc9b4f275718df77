"""Serving under load: many streams at once from our server, beside our own engine without it and beside other servers.

    python benchmarks/serving.py [--quick] [--clients 16] [--tokens 64] [--rounds 3]
        [--llama-python PYTHON] [--ctranslate2-python PYTHON]

A model of GPT-2's shape with random weights is written once and exported, so all contenders compute the same. They take
turns; every figure is the median of the rounds. The load client is this process; its own processor seconds are printed.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from banyan.core.before_torch import ENGINE_SPINNING, PASSIVE_WAITING, REPEATABLE_PRODUCTS

# As `banyan serve` does, so that the engine without a server is the same one.
os.environ.setdefault(*PASSIVE_WAITING)
os.environ.setdefault(*ENGINE_SPINNING)
os.environ.setdefault(*REPEATABLE_PRODUCTS)

import httpx
import torch

from banyan.core.model_directory import IMAGE_TOKENIZER_FILE, new_model_directory
from banyan.infer.sampling import SamplingConfig
from banyan.model.checkpoint import save_model
from banyan.model.presets import model_config
from banyan.model.transformer import Transformer
from banyan.runtime.description import describe_model, write_description
from banyan.runtime.loading import load
from banyan.testing.foreign_tokenizers import write_foreign_tokenizer
from banyan.testing.model_directories import tiny_image_tokenizer
from banyan.testing.tasks import TASKS, VOCABULARY
from banyan.tokenizers.foreign import read_foreign_tokenizer
from banyan.tokenizers.images import save_image_tokenizer
from banyan.tokenizers.vocabulary import Vocabulary

ROWS = 50_257  # of GPT-2's vocabulary
SIZES: dict[bool, dict[str, int]] = {  # of the model that writes, by --quick
    False: {},
    True: {"num_layers": 4, "embed_dim": 256, "num_heads": 4, "num_kv_heads": 4, "head_dim": 64, "ffn_dim": 1024},
}
CLASSIFIER = {"num_layers": 12, "embed_dim": 256, "num_heads": 4, "num_kv_heads": 4, "head_dim": 64, "ffn_dim": 704}
QUESTION = "What does textwrap.shorten do? "
START_SECONDS = 120
PEERS = Path(__file__).parent / "peers"
CTRANSLATE2, TRANSFORMERS = PEERS / "ctranslate2_offline.py", PEERS / "transformers_one_by_one.py"


@dataclass(kw_only=True)
class Streams:
    """What the clients of one round saw."""

    seconds: float
    num_tokens: int
    first_seconds: list[float] = field(default_factory=list)  # to the first token
    gap_seconds: list[float] = field(default_factory=list)  # between two tokens
    client_cpu_seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.num_tokens / self.seconds


@dataclass(kw_only=True)
class Contender:
    """One way to answer, and what was measured of it."""

    name: str
    turn: Callable[[], Streams]
    rounds: list[Streams] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(streams.tokens_per_second for streams in self.rounds)


def write_gpt2(directory: Path, sizes: dict[str, int]) -> Path:
    """Write a model of GPT-2's shape with random weights. Its tokenizer is small: most rows are never used."""
    with tempfile.TemporaryDirectory() as place:
        foreign = read_foreign_tokenizer(write_foreign_tokenizer("gpt2", Path(place)))
    vocabulary = Vocabulary(foreign.text, foreign=foreign, chat=foreign.chat_format, text_size=ROWS)
    model = Transformer(model_config("gpt2", {"vocab_size": vocabulary.size, **sizes}))
    random = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        # Fresh last projections are zero: CTranslate2 kept a single one of those equal and read a quarter less.
        if not weight.any():
            torch.nn.init.normal_(weight, std=1e-4, generator=random)
    with new_model_directory(directory) as temporary:
        save_model(model, temporary, bos_id=vocabulary.bos_id, eos_ids=vocabulary.eos_ids, pad_id=vocabulary.pad_id)
        vocabulary.save(temporary)
        write_description(temporary, describe_model([], chat=vocabulary.chat.name))
    return directory


def write_classifier(directory: Path) -> Path:
    """Write a model of 10 million weights with the tasks of the tiny test model."""
    pictures = tiny_image_tokenizer()
    codes = {"num_image_codes": VOCABULARY.num_image_codes, "grid_size": 2}
    config = model_config("banyan-gpt2s", {"vocab_size": VOCABULARY.size, "max_seq_len": 256, **codes, **CLASSIFIER})
    model = Transformer(config, [task.head for task in TASKS.values() if task.head is not None])
    with new_model_directory(directory) as temporary:
        save_model(model, temporary)
        VOCABULARY.save(temporary)
        save_image_tokenizer(pictures, temporary / IMAGE_TOKENIZER_FILE)
        write_description(temporary, describe_model(list(TASKS.values()), image_tokenizer=pictures))
    return directory


@contextmanager
def banyan_server(model: Path, database: str) -> Iterator[str]:
    """Serve a model with our own command; yields the address."""
    words = [sys.executable, "-m", "banyan", "serve", str(model), "--no-auth", "--port", "0", "--database", database]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout
        line = next((line for line in process.stdout if " at http" in line), "")
        assert line, "the server did not start"
        yield line.split(" at ")[1].split()[0]
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def llama_server(python: str, file: Path, port: int = 8_765) -> Iterator[str]:
    """Serve a GGUF file with llama-cpp-python."""
    threads = str(os.cpu_count() or 1)
    words = [python, "-m", "llama_cpp.server", "--model", str(file), "--port", str(port), "--n_threads", threads]
    words += ["--interrupt_requests", "false"]  # else a new request ends the stream of the one before it
    process = subprocess.Popen(words, env=environment_of_peers(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(START_SECONDS):
            with suppress(httpx.HTTPError):
                httpx.get(f"{url}/v1/models", timeout=1)
                break
            if process.poll() is not None:
                sys.exit(f"error: {' '.join(words[:3])} ended at once; its environment needs llama-cpp-python[server].")
            time.sleep(1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def peer_offline(python: str, script: Path, *places: Path) -> Iterator[Callable[[Sequence[str], int], Streams]]:
    """Yield how a peer answers the prompts in one call, in a process that stays loaded between the rounds."""
    words = [python, str(script), *map(str, places)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment_of_peers()
    ) as process:

        def answer() -> dict[str, Any]:
            assert process.stdout
            for line in process.stdout:
                if line.startswith("{"):
                    return dict(json.loads(line))
            sys.exit(f"error: {' '.join(words[:2])} ended early; {script.name} says what its environment needs.")

        def turn(prompts: Sequence[str], num_tokens: int) -> Streams:
            assert process.stdin
            print(json.dumps({"prompts": prompts, "num_tokens": num_tokens}), file=process.stdin, flush=True)
            return Streams(**answer())

        answer()  # it is loaded
        yield turn


def environment_of_peers() -> dict[str, str]:
    """Return the environment without what this process has set for itself: peers wait and multiply as they choose."""
    own = {name for name, _ in (PASSIVE_WAITING, ENGINE_SPINNING, REPEATABLE_PRODUCTS)}
    return {name: value for name, value in os.environ.items() if name not in own}


def stream_load(url: str, prompts: Sequence[str], *, num_tokens: int, extra: dict[str, Any]) -> Streams:
    """Stream one completion per prompt, all at once, and note when each piece came."""
    cpu, started = time.process_time(), time.perf_counter()
    found = asyncio.run(_all_streams(url, prompts, {"max_tokens": num_tokens, "temperature": 0, **extra}))
    streams = Streams(seconds=time.perf_counter() - started, num_tokens=sum(len(times) for times in found))
    for times in found:
        streams.first_seconds.append(times[0] - started)
        streams.gap_seconds += [late - early for early, late in zip(times, times[1:], strict=False)]
    streams.client_cpu_seconds = time.process_time() - cpu
    return streams


async def _all_streams(url: str, prompts: Sequence[str], body: dict[str, Any]) -> list[list[float]]:
    async with httpx.AsyncClient(base_url=url, timeout=600, verify=False) as client:
        name = (await client.get("/v1/models")).json()["data"][0]["id"]
        asked = ({**body, "model": name, "prompt": prompt, "stream": True} for prompt in prompts)
        return list(await asyncio.gather(*(_one_stream(client, one) for one in asked)))


async def _one_stream(client: httpx.AsyncClient, body: dict[str, Any]) -> list[float]:
    """Return when each token came; the server sends one piece for each."""
    times = []
    async with client.stream("POST", "/v1/completions", json=body) as answer:
        assert answer.status_code == 200, await answer.aread()
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                choice = (json.loads(line[6:])["choices"] or [{}])[0]
                if choice.get("text"):
                    times.append(time.perf_counter())
    return times


def offline(loaded: Any, prompts: Sequence[str], num_tokens: int) -> Streams:
    """Answer all prompts with our engine, without a server."""
    sampling = SamplingConfig(max_tokens=num_tokens, min_tokens=num_tokens)
    started = time.perf_counter()
    completions = loaded.engine.complete([loaded.continuation(prompt)[0] for prompt in prompts], sampling)
    count = sum(len(completion.token_ids) for completion in completions)
    return Streams(seconds=time.perf_counter() - started, num_tokens=count)


@dataclass(kw_only=True)
class Labels:
    """What the clients of one round of questions saw."""

    seconds: float
    answer_seconds: list[float]
    client_cpu_seconds: float

    @property
    def per_second(self) -> float:
        return len(self.answer_seconds) / self.seconds


def classify(url: str, *, num_requests: int, at_once: int) -> Labels:
    """Ask for labels over bare connections, each of which waits for an answer before it asks again.

    On the cores that the server needs too, httpx took 2.5 ms of processor for a request, more than the event loop of
    the server with its 1.9; written out, asking takes 0.2.
    """
    tasks = httpx.get(f"{url}/v1/tasks").json()["data"]
    path = f"/v1/tasks/{next(task['name'] for task in tasks if task['kind'] == 'classification')}"
    asyncio.run(_all_labels(url, path, range(-at_once, 0), at_once=at_once))  # warm
    cpu, started = time.process_time(), time.perf_counter()
    found = asyncio.run(_all_labels(url, path, range(num_requests), at_once=at_once))
    seconds = time.perf_counter() - started
    return Labels(seconds=seconds, answer_seconds=found, client_cpu_seconds=time.process_time() - cpu)


async def _all_labels(url: str, path: str, numbers: Sequence[int], *, at_once: int) -> list[float]:
    place, waiting, found = urlsplit(url), iter(numbers), list[float]()

    async def ask_one_by_one() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            for number in waiting:
                started = time.perf_counter()
                writer.write(_question(place.netloc, path, {"input": f"{QUESTION}{number}"}))
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
                assert head.startswith(b"HTTP/1.1 200 ") and json.loads(body)["predictions"], head + body
                found.append(time.perf_counter() - started)
        finally:
            writer.close()
            await writer.wait_closed()

    await asyncio.gather(*(ask_one_by_one() for _ in range(at_once)))
    return found


def _question(host: str, path: str, asked: dict[str, str]) -> bytes:
    body = json.dumps(asked).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def quantiles(seconds: Sequence[float]) -> str:
    """Return median and 95th percentile in milliseconds."""
    ordered = sorted(seconds)
    return f"{1e3 * statistics.median(ordered):.0f}/{1e3 * ordered[int(0.95 * (len(ordered) - 1))]:.0f} ms"


def figure(name: str, value: float, unit: str, ratio: float, against: str) -> dict[str, Any]:
    return {"name": name, "value": round(value, 2), "unit": unit, "ratio": round(ratio, 3), "against": against}


def measure(contenders: Sequence[Contender], rounds: int) -> None:
    """Let all take turns, so that what else the machine does falls on everybody."""
    for contender in contenders:
        contender.turn()  # warm
    for _ in range(rounds):
        for contender in contenders:
            contender.rounds.append(contender.turn())
    for contender in contenders:
        first = [value for own in contender.rounds for value in own.first_seconds]
        gaps = [value for own in contender.rounds for value in own.gap_seconds]
        waits = f"first token {quantiles(first)}, between tokens {quantiles(gaps)} (p50/p95), " if first else ""
        cpu = statistics.median(own.client_cpu_seconds for own in contender.rounds)
        print(f"{contender.name:<28} {contender.rate:8.1f} tokens/s  {waits}client {cpu:.2f} s of processor")


def writing_contenders(
    options: argparse.Namespace, stack: ExitStack, directory: Path, prompts: Sequence[str]
) -> list[Contender]:
    """Start everything that writes."""
    model = write_gpt2(directory / "model", SIZES[options.quick])
    loaded = stack.enter_context(load(model, device="cpu", num_slots=options.clients))
    exported = directory / "hf"
    subprocess.run([sys.executable, "-m", "banyan", "export", str(model), str(exported), "--quiet"], check=True)
    peer = stack.enter_context(peer_offline(sys.executable, TRANSFORMERS, exported))
    durable = stack.enter_context(banyan_server(model, f"sqlite:///{directory / 'answers.db'}"))
    in_memory = stack.enter_context(banyan_server(model, "sqlite://"))
    ours = {"min_tokens": options.tokens}
    rows = [
        Contender(name="banyan offline", turn=lambda: offline(loaded, prompts, options.tokens)),
        Contender(
            name="banyan server",
            turn=lambda: stream_load(durable, prompts, num_tokens=options.tokens, extra=ours),
        ),
        Contender(
            name="banyan server, not on disk",
            turn=lambda: stream_load(in_memory, prompts, num_tokens=options.tokens, extra=ours),
        ),
        Contender(name="transformers one by one", turn=lambda: peer(prompts, options.tokens)),
    ]
    if options.llama_python:
        words = [sys.executable, "-m", "banyan", "export", str(model), str(directory / "gguf"), "--format", "gguf"]
        subprocess.run([*words, "--type", "f32", "--quiet"], check=True)
        file = next((directory / "gguf").glob("*.gguf"))
        url = stack.enter_context(llama_server(options.llama_python, file))
        rows.append(
            Contender(
                name="llama-cpp-python server",
                turn=lambda: stream_load(url, prompts, num_tokens=options.tokens, extra={}),
            )
        )
    if options.ctranslate2_python:
        converted = directory / "ctranslate2"
        batch = stack.enter_context(peer_offline(options.ctranslate2_python, CTRANSLATE2, exported, converted))
        rows.append(Contender(name="ctranslate2 offline", turn=lambda: batch(prompts, options.tokens)))
    return rows


def report(rows: Sequence[Contender]) -> list[dict[str, Any]]:
    """Return the figures of what writes, each beside its goal."""
    rate = {row.name: row.rate for row in rows}
    ours = rate["banyan server"]
    goals = [("banyan offline", 0.9), ("transformers one by one", 3.0), ("llama-cpp-python server", 1.5)]
    goals += [("banyan server, not on disk", 0.97), ("ctranslate2 offline", 1.0)]
    figures = [figure("serving/tokens", ours, "tokens/s", 1.0, "itself")]
    for name, goal in goals:
        if name in rate:
            print(f"banyan server / {name}: {ours / rate[name]:.2f} (goal {goal})")
            figures.append(
                figure(f"serving/over {name}", ours / rate[name], "x", ours / rate[name] / goal, f"goal {goal}")
            )
    return figures


def measure_classifier(directory: Path, *, num_requests: int) -> list[dict[str, Any]]:
    """Ask a model of 10 million weights for labels, one by one and sixteen at a time."""
    model = write_classifier(directory / "classifier")
    with banyan_server(model, f"sqlite:///{directory / 'labels.db'}") as url:
        alone = classify(url, num_requests=num_requests, at_once=1)
        together = classify(url, num_requests=4 * num_requests, at_once=16)
    middle, gain = 1e3 * statistics.median(alone.answer_seconds), together.per_second / alone.per_second
    print(f"labels: {middle:.1f} ms alone (goal 15), {gain:.1f} x as many sixteen at a time (goal 5)")
    for name, found in (("alone", alone), ("sixteen at a time", together)):
        cpu = 1e3 * found.client_cpu_seconds / len(found.answer_seconds)
        waits = quantiles(found.answer_seconds)
        print(f"  {name:<18} {found.per_second:6.1f} requests/s, {waits} (p50/p95), client {cpu:.1f} ms of CPU each")
    return [
        figure("serving/label", middle, "ms", 15 / middle, "goal of 15 ms"),
        figure("serving/labels at once", gain, "x", gain / 5, "goal of 5 x"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small model, fewer clients, one round")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-labels", action="store_true", help="the classifier alone")
    parser.add_argument("--llama-python", help="Python of an environment with llama-cpp-python[server]")
    parser.add_argument("--ctranslate2-python", help="Python of an environment with ctranslate2 and transformers")
    options = parser.parse_args()
    if options.quick:
        options.clients, options.tokens, options.rounds = 4, 16, 1
    prompts = [f"{number} {QUESTION}" for number in range(options.clients)]
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        figures: list[dict[str, Any]] = []
        if not options.only_labels:
            rows = writing_contenders(options, stack, Path(place), prompts)
            measure(rows, options.rounds)
            figures += report(rows)
            stack.close()
        figures += measure_classifier(Path(place), num_requests=20 if options.quick else 100)
    print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
