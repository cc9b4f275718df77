"""`python -m proofs.serving`: a thousand stored answers, given again from the database bit for bit in five companies.

Each is given again alone, among few and among many others, where slots are short, and where answers are set aside for
want of room; with and without remembered beginnings of prompts. The table is written to docs/proofs/serving.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from banyan.core.before_torch import REPEATABLE_PRODUCTS

os.environ.setdefault(*REPEATABLE_PRODUCTS)

from proofs.serving.mixes import MIXES, Mix, Outcome, replay_all
from proofs.serving.page import page
from proofs.serving.requests import requests
from proofs.serving.served import serve_and_store, tiny_loaded

PAGE = Path(__file__).resolve().parents[2] / "docs/proofs/serving.md"


def prove(number: int, directory: Path, *, num_clients: int = 8, mixes: Sequence[Mix] = MIXES) -> list[Outcome]:
    """Serve, store, and give everything again in several mixes."""
    with tiny_loaded(directory) as loaded:
        names = {task.kind: task.name for task in loaded.tasks.values()}
        asked = list(requests(number, tasks=names))
        exchanges = serve_and_store(loaded, directory / "answers.db", asked, num_clients=num_clients)
        assert len(exchanges) == number, f"{len(exchanges)} of {number} requests are stored as completed"
        outcomes = []
        for mix in mixes:
            for has_prefix_cache in (False, True):
                started = time.perf_counter()
                outcome = replay_all(loaded, exchanges, mix, has_prefix_cache=has_prefix_cache)
                outcomes.append(outcome)
                seconds = time.perf_counter() - started
                print(f"{mix.name}, cache {has_prefix_cache}: {outcome.num_same} of {number} same, {seconds:.1f} s")
        return outcomes


def main() -> None:
    """Run the proof and write its page; exit 1 if a single byte differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=1_000)
    parser.add_argument("--quick", action="store_true", help="60 answers, no page")
    options = parser.parse_args()
    number = 60 if options.quick else options.number
    with tempfile.TemporaryDirectory() as directory:
        outcomes = prove(number, Path(directory))
    if not options.quick:
        PAGE.write_text(page(outcomes, number=number), encoding="utf-8")
    different = [(outcome.mix.name, own) for outcome in outcomes for own in outcome.replays if not own.is_same]
    for name, replay in different[:20]:
        print(f"{name}: {replay.request_id} {', '.join(replay.differences)}")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
