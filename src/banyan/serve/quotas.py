"""How much a key may use: requests and tokens in any minute, tokens in a day, requests at once; 429 beyond that.

What an answer may cost at most is taken when it begins and corrected when it ends, so no burst gets through. A new
process reads from the database what each key has used; several processes on one database count each for itself.
What asks the model nothing is counted apart, against the same number of requests, and forgotten with the process.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from banyan.serve.errors import ApiError
from banyan.store.database import Database
from banyan.store.key_types import ApiKey, KeyLimits
from banyan.store.times import MICROSECONDS, utc_microseconds
from banyan.store.usage import Used, used_since

_WORK = re.compile(r"/v1/(chat/completions|completions|embeddings|images/generations|tasks/[^/]+)")
_MINUTE = 60 * MICROSECONDS
_DAY = 86_400 * MICROSECONDS


def asks_the_model(method: str, path: str) -> bool:
    """Whether a request is for work of the model, which is stored and costs tokens."""
    return method == "POST" and _WORK.fullmatch(path) is not None


@dataclass(slots=True)
class Spent:
    """What one request has taken; its tokens are corrected when it ends."""

    at: int
    tokens: int
    requests: int = 1  # more: all that another process answered in the last minute


@dataclass(slots=True)
class _Account:
    """What one key has used lately."""

    day: int  # whole days since 1970
    day_tokens: int
    minute: deque[Spent] = field(default_factory=deque)
    num_inside: int = 0

    def turn(self, now: int) -> None:
        """Forget what lies more than a minute back, and at midnight the day."""
        while self.minute and self.minute[0].at <= now - _MINUTE:
            self.minute.popleft()
        if now // _DAY != self.day:
            self.day, self.day_tokens = now // _DAY, 0

    @property
    def minute_tokens(self) -> int:
        return sum(spent.tokens for spent in self.minute)

    @property
    def minute_requests(self) -> int:
        return sum(spent.requests for spent in self.minute)


class Quotas:
    """Keeps the account of every key. Used from the event loop only, so taking cannot race."""

    def __init__(self, database: Database, *, clock: Callable[[], int] = utc_microseconds) -> None:
        self._database = database
        self._clock = clock
        self._accounts: dict[str, _Account] = {}
        self._reads: dict[str, deque[int]] = {}  # moments of the last minute, of keys that have a limit

    @asynccontextmanager
    async def place(self, key: ApiKey, *, max_tokens: int) -> AsyncIterator[Spent]:
        """Take one request and its tokens for the time of the block; set `tokens` to what they were before it ends.

        Raises: ApiError 429 with Retry-After if the key has not so much left.
        """
        account = await self._account(key.key_id)
        now = self._clock()
        account.turn(now)
        try:
            _check(account, key.limits, tokens=max_tokens, now=now)
        except ApiError as refusal:
            refusal.headers.update(_told(account, key.limits))
            raise
        spent = Spent(at=now, tokens=max_tokens)
        account.minute.append(spent)
        account.day_tokens += max_tokens
        account.num_inside += 1
        try:
            yield spent
        finally:
            account.num_inside -= 1
            if now // _DAY == account.day:
                account.day_tokens += spent.tokens - max_tokens

    def read(self, key: ApiKey) -> None:
        """Count a request that asks the model nothing: to see what is stored, to judge it, to erase it.

        Raises: ApiError 429 with Retry-After if a minute had as many of them as it may have requests of the key.
        """
        limit, now = key.limits.requests_per_minute, self._clock()
        if limit is None:
            self._reads.pop(key.key_id, None)
            return
        moments = self._reads.setdefault(key.key_id, deque())
        while moments and moments[0] <= now - _MINUTE:
            moments.popleft()
        if len(moments) >= limit:
            wait = math.ceil((moments[len(moments) - limit] + _MINUTE - now) / MICROSECONDS)
            raise _refusal(f"limit of {limit} requests per minute that ask the model nothing reached", seconds=wait)
        moments.append(now)

    def headers(self, key: ApiKey) -> dict[str, str]:
        """Return what an answer tells about the limits of its key, in the words of the OpenAI protocol."""
        return _told(self._accounts[key.key_id], key.limits)

    async def _account(self, key_id: str) -> _Account:
        if key_id not in self._accounts:
            now = self._clock()
            minute, day = await asyncio.to_thread(self._read, key_id, now)
            account = _Account(day=now // _DAY, day_tokens=day.tokens)
            if minute.requests:
                account.minute.append(Spent(at=now, tokens=minute.tokens, requests=minute.requests))
            self._accounts.setdefault(key_id, account)  # another request of the key may have been faster
        return self._accounts[key_id]

    def _read(self, key_id: str, now: int) -> tuple[Used, Used]:
        minute = used_since(self._database, key_id, now - _MINUTE)
        return minute, used_since(self._database, key_id, now - now % _DAY)


def _told(account: _Account, limits: KeyLimits) -> dict[str, str]:
    told = {
        "requests": (limits.requests_per_minute, account.minute_requests),
        "tokens": (limits.tokens_per_minute, account.minute_tokens),
    }
    found: dict[str, str] = {}
    for name, (limit, used) in told.items():
        if limit is not None:
            found[f"x-ratelimit-limit-{name}"] = str(limit)
            found[f"x-ratelimit-remaining-{name}"] = str(max(limit - used, 0))
    return found


def _check(account: _Account, limits: KeyLimits, *, tokens: int, now: int) -> None:
    if limits.max_concurrent is not None and account.num_inside >= limits.max_concurrent:
        raise _refusal(f"limit of {limits.max_concurrent} requests at once reached", seconds=1)
    if limits.requests_per_minute is not None and account.minute_requests >= limits.requests_per_minute:
        wait = _until_room(account, lambda spent: spent.requests, limits.requests_per_minute - 1, now)
        raise _refusal(f"limit of {limits.requests_per_minute} requests per minute reached", seconds=wait)
    if limits.tokens_per_minute is not None and account.minute_tokens + tokens > limits.tokens_per_minute:
        wait = _until_room(account, lambda spent: spent.tokens, limits.tokens_per_minute - tokens, now)
        what = f"limit of {limits.tokens_per_minute} tokens per minute reached: this request may need {tokens}"
        raise _refusal(what, seconds=wait)
    if limits.tokens_per_day is not None and account.day_tokens + tokens > limits.tokens_per_day:
        wait = math.ceil((_DAY - now % _DAY) / MICROSECONDS)
        what = f"quota of {limits.tokens_per_day} tokens per day reached: this request may need {tokens}"
        raise _refusal(what, seconds=wait, code="quota_exceeded")


def _until_room(account: _Account, size: Callable[[Spent], int], room: int, now: int) -> int:
    """Return the seconds until what is left of the last minute is no more than `room`."""
    left = sum(size(spent) for spent in account.minute)
    for spent in account.minute:
        left -= size(spent)
        if left <= room:
            return max(math.ceil((spent.at + _MINUTE - now) / MICROSECONDS), 1)
    return 60


def _refusal(what: str, *, seconds: int, code: str = "rate_limit_exceeded") -> ApiError:
    return ApiError(429, code, f"{what}; retry in {seconds} s", headers={"Retry-After": str(seconds)})
