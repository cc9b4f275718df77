"""What was found, as a page."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime

import torch

from proofs.serving.mixes import Outcome

_HEAD = """# Stored answers, given again

`make proof-serving` asks a server {number} requests from 8 clients at once (chat, completions, tasks, pictures and
vectors; greedy, drawn, searched for, and of a given form; half of the written ones streamed) and then gives every
stored answer again from its row in the database, in five companies, with and without remembered beginnings of prompts.
An answer counts as the same if its text, tokens, probabilities, pictures and vectors agree in every byte.

| company | remembered prompts | the same | set aside |
|---|---|---|---|
"""


def page(outcomes: Sequence[Outcome], *, number: int) -> str:
    """Return the page."""
    rows = [
        f"| {outcome.mix.name} | {'yes' if outcome.has_prefix_cache else 'no'} "
        f"| {outcome.num_same} of {len(outcome.replays)} | {outcome.num_set_aside} |"
        for outcome in outcomes
    ]
    place = f"torch {torch.__version__} in float32 on {torch.get_num_threads()} thread(s) of {platform.machine()}"
    foot = (
        '\n"Set aside" counts the times that an answer lost its slots to an older one and went on later. '
        f"Measured on {datetime.now(UTC):%d %B %Y} with {place}.\n"
        "Log-probabilities of tokens are not stored; `tests/infer/test_engine.py` compares them.\n"
    )
    return _HEAD.format(number=number) + "\n".join(rows) + "\n" + foot
