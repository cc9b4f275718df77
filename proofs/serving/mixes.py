"""The companies in which every stored answer is given again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from banyan.infer.engine import Engine
from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.replay import Replay, Replayer
from banyan.store.types import StoredExchange


@dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    """How many answers are given at once, in which order, with how much room."""

    name: str
    num_slots: int
    at_once: int
    is_shuffled: bool = False
    max_held_tokens: int | None = None


MIXES = (
    Mix(name="alone", num_slots=16, at_once=1),
    Mix(name="four at once, five slots", num_slots=5, at_once=4),
    Mix(name="sixteen at once, sixteen slots", num_slots=16, at_once=16, is_shuffled=True),
    Mix(name="more than there are slots", num_slots=6, at_once=24, is_shuffled=True),
    Mix(name="set aside for want of room", num_slots=16, at_once=24, is_shuffled=True, max_held_tokens=300),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one mix came to."""

    mix: Mix
    has_prefix_cache: bool
    replays: tuple[Replay, ...]
    num_set_aside: int  # times that an answer lost its slots
    num_failed: int = 0

    @property
    def num_same(self) -> int:
        """Answers that were the same in every byte."""
        return sum(replay.is_same for replay in self.replays)


def replay_all(
    loaded: LoadedModel, exchanges: Sequence[StoredExchange], mix: Mix, *, has_prefix_cache: bool
) -> Outcome:
    """Give every answer again in one company, with an engine of its own."""
    cache_bytes = 64 << 20 if has_prefix_cache else 0
    with Engine(
        loaded.model,
        loaded.vocabulary,
        num_slots=mix.num_slots,
        prefix_cache_bytes=cache_bytes,
        max_held_tokens=mix.max_held_tokens,
    ) as engine:
        order = list(exchanges)
        if mix.is_shuffled:
            random.Random(mix.name).shuffle(order)
        with Replayer(replace(loaded, engine=engine)) as replayer:
            replays = asyncio.run(_beside_each_other(replayer, order, at_once=mix.at_once))
        return Outcome(
            mix=mix, has_prefix_cache=has_prefix_cache, replays=tuple(replays), num_set_aside=engine.num_set_aside
        )


async def _beside_each_other(replayer: Replayer, order: Sequence[StoredExchange], *, at_once: int) -> list[Replay]:
    places = asyncio.Semaphore(at_once)

    async def one(exchange: StoredExchange) -> Replay:
        async with places:
            return await replayer.replay_beside_others(exchange)

    return list(await asyncio.gather(*map(one, order)))
