"""How much guessing ahead gains: tokens per second with and without it, the same answers either way.

    python benchmarks/prompt_lookup.py runs/demo/best texts.txt [--quick] --guesses 5

Each line of the file is the beginning of one answer. Both engines hold the same model and take turns; the answers of
both, with their log-probabilities, must be equal to the last bit, or the benchmark ends with an error. The last line is
one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

from banyan.core.types import Completion, Prompt
from banyan.infer.engine import Engine
from banyan.infer.sampling import GREEDY, SamplingConfig
from banyan.runtime.loading import load

WAYS = {"greedy": GREEDY, "temperature 0.7": replace(GREEDY, temperature=0.7, top_p=0.95, seed=1)}


def timed(engine: Engine, prompts: list[Prompt], sampling: SamplingConfig) -> tuple[float, list[Completion]]:
    """Return the tokens per second of some answers, and the answers."""
    began = time.perf_counter()
    answers = engine.complete(prompts, sampling)
    seconds = time.perf_counter() - began
    return sum(len(answer.token_ids) for answer in answers) / seconds, answers


def row(
    name: str, engines: tuple[Engine, Engine], prompts: list[Prompt], way: SamplingConfig, *, rounds: int
) -> dict[str, object]:
    """Measure one kind of answer, print its line of the table and return its figure."""
    plain, guessing = engines
    before = guessing.num_guessed, guessing.num_guessed_right
    rates: list[tuple[float, float]] = []
    for _ in range(rounds):
        (slow, expected), (fast, found) = timed(plain, prompts, way), timed(guessing, prompts, way)
        assert found == expected, "guessing changed an answer"
        rates.append((slow, fast))
    guessed, right = guessing.num_guessed - before[0], guessing.num_guessed_right - before[1]
    without, with_it = (statistics.median(column) for column in zip(*rates, strict=True))
    gain = statistics.median(fast / slow for slow, fast in rates)
    rate = right / guessed if guessed else 0.0
    line = f"| {name} | {len(prompts)} | {without:.0f} | {with_it:.0f} | {gain:.2f}x | {rate:.0%} of {guessed} |"
    print(line, flush=True)
    figure = {"name": f"prompt-lookup/{name}/{len(prompts)}", "value": round(with_it, 1), "unit": "tokens/s"}
    return {**figure, "ratio": round(gain, 3), "against": "the same engine without guesses"}


def main() -> None:
    """Measure one, four and as many answers at once as there are slots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--quick", action="store_true", help="one round of 32 tokens")
    parser.add_argument("--guesses", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    rounds, max_tokens = (1, 32) if asked.quick else (asked.rounds, asked.max_tokens)
    figures = []
    lines = [line for line in asked.texts.read_text(encoding="utf-8").splitlines() if line.strip()]
    with (
        load(asked.model, device="cpu") as plain,
        load(asked.model, device="cpu", max_lookup_tokens=asked.guesses) as own,
    ):
        engines = plain.engine, own.engine
        print(f"{asked.model}, {asked.guesses} guesses, {plain.engine.num_slots} slots, float32 on the CPU\n")
        print("| answers | at once | tokens/s without | with | gain | guesses right |\n|---|---|---|---|---|---|")
        for name, way in WAYS.items():
            for at_once in (1, 4, plain.engine.num_slots):
                prompts = [plain.continuation(lines[number % len(lines)])[0] for number in range(at_once)]
                way = replace(way, max_tokens=max_tokens)
                figures.append(row(name, engines, prompts, way, rounds=rounds))
    print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
