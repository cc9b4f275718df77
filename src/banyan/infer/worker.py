"""The one thread that owns the model: it serves both lines in turn until it is told to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import TypeAlias

import torch

from banyan.core.logging import log_event
from banyan.infer.admission import closed_engine_error
from banyan.infer.decoding import Decoder
from banyan.infer.requests import Request
from banyan.infer.scheduling import Budget, Line
from banyan.infer.scoring import ScoringJob, run_jobs
from banyan.infer.thread_count import ThreadCount
from banyan.model.transformer import Transformer

logger = logging.getLogger("banyan.infer")

Work: TypeAlias = Request | ScoringJob

# Tokens read between two steps: few while somebody's stream is waiting for its next token, many while nobody's is.
BUSY_TOKENS = 128
IDLE_TOKENS = 2048
_ANY = 1 << 62


class Worker:
    """Takes work from any thread and does it in one of its own."""

    def __init__(self, model: Transformer, decoder: Decoder) -> None:
        self._model = model
        self._decoder = decoder
        self._generating: Line[Request] = Line()
        self._scoring: Line[ScoringJob] = Line()
        self._num_threads = torch.get_num_threads()  # of whoever makes the engine
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="banyan-engine", daemon=True)
        self._thread.start()

    @property
    def num_waiting(self) -> int:
        """Requests that nobody has begun to answer."""
        return len(self._generating) + len(self._scoring)

    @property
    def num_live(self) -> int:
        """Answers in the making."""
        return self._decoder.num_live

    def add(self, work: Sequence[Work]) -> None:
        """Put work in line, all of it at once, so that it is batched the same way every time.

        Raises: BanyanError after `close`.
        """
        with self._changed:
            if self._is_closed:
                raise closed_engine_error()
            self._generating.join(item for item in work if isinstance(item, Request))
            self._scoring.join(item for item in work if isinstance(item, ScoringJob))
            self._changed.notify()

    def close(self) -> None:
        """Stop after the step in progress; what has not ended fails."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @torch.inference_mode()
    def _run(self) -> None:
        threads = ThreadCount(most=self._num_threads)
        while self._wait_for_work():
            began = time.perf_counter()
            self._do_round()
            threads.note(time.perf_counter() - began)
        self._abandon()

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self.num_waiting or self._decoder.num_live)
            return not self._is_closed

    def _do_round(self) -> None:
        """Score some, start some, and take one step with all that were started."""
        num_tokens = BUSY_TOKENS if self._decoder.num_writing else IDLE_TOKENS
        jobs, requests = self._take(num_tokens)
        try:
            if jobs:
                for job in jobs:
                    job.ticket.has_begun = True
                run_jobs(self._model, jobs, max_batch_tokens=num_tokens)
            for request in requests:
                self._decoder.start(request)
            self._decoder.read(num_tokens)
            self._decoder.step()
        except Exception as error:
            # A mistake of ours, not of a request; those it met hear of it, and the thread lives on for the others.
            log_event(logger, "engine_round_failed", level=logging.ERROR, error=type(error).__name__)
            self._fail([*jobs, *requests], error)
            self._decoder.fail_all(error)

    def _take(self, num_tokens: int) -> tuple[list[ScoringJob], list[Request]]:
        with self._changed:
            jobs = self._scoring.take(Budget(num_tokens=num_tokens, num_slots=0))
            # Their prompts are read piece by piece, so their length holds nobody up.
            slots = self._decoder.num_free_slots
            return jobs, self._generating.take(Budget(num_tokens=_ANY, num_slots=slots))

    @staticmethod
    def _fail(work: Sequence[Work], error: BaseException) -> None:
        for item in work:
            item.ticket.fail(error)

    def _abandon(self) -> None:
        error = closed_engine_error()
        self._decoder.fail_all(error)
        with self._changed:
            waiting: list[Work] = [*self._generating.take_all(), *self._scoring.take_all()]
        self._fail(waiting, error)
