"""Figures of a running server in the text format of Prometheus; no label holds what a user wrote.

Source: the exposition format 0.0.4 of prometheus.io.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_HELP = {
    "banyan_requests_total": ("counter", "Requests answered, by route, method and status."),
    "banyan_tokens_total": ("counter", "Tokens of prompts read and answers written."),
    "banyan_lookup_tokens_total": ("counter", "Tokens guessed ahead by the models that are served, and those right."),
    "banyan_request_seconds": ("histogram", "Seconds from a request to the end of its answer, by route."),
    "banyan_first_token_seconds": ("histogram", "Seconds from the begin of the work to the first piece of an answer."),
    "banyan_requests_running": ("gauge", "Requests being answered now."),
    "banyan_prompts_waiting": ("gauge", "Prompts that nobody has begun to answer."),
    "banyan_store_refused_rows": ("gauge", "Writes that became dead letters since the server began."),
    "banyan_store_writes_waiting": ("gauge", "Writes that are not committed yet."),
    "banyan_store_available": ("gauge", "1 if the last write found the database in order."),
    "banyan_uptime_seconds": ("gauge", "Seconds since the server began."),
}


@dataclass(slots=True)
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(_SECONDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: str) -> Iterator[str]:
        running = 0
        for bound, count in zip((*map(str, _SECONDS), "+Inf"), self.counts, strict=True):
            running += count
            yield f'{name}_bucket{{{labels}{"," if labels else ""}le="{bound}"}} {running}'
        yield f"{name}_sum{_braced(labels)} {self.total:.6f}"
        yield f"{name}_count{_braced(labels)} {running}"


class Metrics:
    """Counts what a server does. Used from the event loop only."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._histograms: dict[str, dict[str, _Histogram]] = defaultdict(lambda: defaultdict(_Histogram))

    def count_request(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is one of ours, never what a client typed."""
        self._counts["banyan_requests_total"][f'route="{route}",method="{method}",status="{status}"'] += 1
        self._histograms["banyan_request_seconds"][f'route="{route}"'].add(seconds)

    def count_tokens(self, *, prompt: int, completion: int) -> None:
        """Count the tokens of an answered request."""
        self._counts["banyan_tokens_total"]['kind="prompt"'] += prompt
        self._counts["banyan_tokens_total"]['kind="completion"'] += completion

    def set_guessed(self, *, guessed: int, right: int) -> None:
        """Set how many tokens were guessed ahead, and how many of them became part of an answer."""
        self._counts["banyan_lookup_tokens_total"].update({'kind="guessed"': guessed, 'kind="right"': right})

    def note_first_token(self, seconds: float) -> None:
        """Note how long the first piece of an answer took."""
        self._histograms["banyan_first_token_seconds"][""].add(seconds)

    def render(self, **gauges: float) -> str:
        """Write everything, with the gauges given by their names without the prefix."""
        values = {f"banyan_{name}": {"": value} for name, value in gauges.items()}
        values["banyan_uptime_seconds"] = {"": self._clock() - self._began}
        lines: list[str] = []
        for name, (kind, words) in _HELP.items():
            lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]
            samples = (self._counts if kind == "counter" else values).get(name, {})
            lines += [f"{name}{_braced(labels)} {value:.15g}" for labels, value in samples.items()]
            for labels, histogram in self._histograms.get(name, {}).items():
                lines += histogram.lines(name, labels)
        return "\n".join(lines) + "\n"


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""
