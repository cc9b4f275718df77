"""What a model does unless told otherwise: which tasks it can do, how answers are drawn, a seed for each answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from banyan.core.types import Prompt
from banyan.infer.randomness import derive_seed
from banyan.infer.sampling import GREEDY, SamplingConfig
from banyan.tasks.base import Task
from banyan.tasks.dialogue import Dialogue
from banyan.tokenizers.chat_formats import BANYAN, ChatFormat

# Rooms that may import the runtime and not the engine's own room find how to ask for a draw here.
__all__ = ["GREEDY", "SamplingConfig", "answerable_tasks", "default_sampling", "override", "own_seeds"]

# A right answer is best taken from the top; what has many right answers (prose, pictures) is drawn.
_DRAWN_KINDS = {
    "language_modeling": SamplingConfig(temperature=0.8, top_p=0.95),
    "image_generation": SamplingConfig(temperature=1.0),
}


def answerable_tasks(tasks: Mapping[str, Task[Any]], *, chat: ChatFormat) -> dict[str, Task[Any]]:
    """Return a model's tasks, and dialogue for one that was taught to talk before it was imported."""
    talks_already = any(isinstance(task, Dialogue) for task in tasks.values())
    if chat.name == BANYAN.name or not chat.has_roles or talks_already:
        return dict(tasks)
    name = next(name for name in ("dialogue", "chat", "talk", *map(str, range(len(tasks)))) if name not in tasks)
    return {**tasks, name: Dialogue(name=name)}


def default_sampling(kind: str) -> SamplingConfig:
    """Return the sampling of a kind of task."""
    return _DRAWN_KINDS.get(kind, GREEDY)


def override(
    sampling: SamplingConfig,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
) -> SamplingConfig:
    """Return the sampling with the fields that were given, and its own where they were not."""
    given = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(sampling, **changes)


def own_seeds(prompts: Sequence[Prompt], sampling: SamplingConfig) -> list[SamplingConfig]:
    """Return the sampling of each prompt: one that is asked again gets another seed, and so another draw.

    A prompt asked once keeps the seed, whatever stands beside it.
    """
    times_asked: Counter[tuple[int, ...]] = Counter()
    samplings = []
    for prompt in prompts:
        choice = times_asked[prompt.token_ids]
        samplings.append(replace(sampling, seed=derive_seed(sampling.seed, choice)))
        times_asked[prompt.token_ids] += 1
    return samplings
