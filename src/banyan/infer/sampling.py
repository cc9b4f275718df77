"""How the next token is chosen: what a request may ask for."""

from __future__ import annotations

import math

from banyan.core.config import config
from banyan.core.errors import ConfigError


@config
class SamplingConfig:
    """How an answer is drawn from the model; as it stands, the most probable token every time.

    The order of work is: penalties, `logit_bias`, what may not come (`no_repeat_ngram`, `min_tokens`, the form of the
    answer), temperature, top-k, top-p, min-p, draw. With beams nothing is drawn: the answer with the best score is
    looked for, and its score is log-probability / length**length_penalty.
    """

    temperature: float = 0.0  # 0: always the most probable token; 1: the model's own distribution
    top_k: int = 0  # only the k most probable tokens; 0: all
    top_p: float = 1.0  # only the fewest tokens that together hold this probability, 0 < p <= 1
    min_p: float = 0.0  # only tokens at least this fraction as probable as the best, 0 <= p <= 1
    repetition_penalty: float = 1.0  # divides the positive logits of tokens in prompt or answer; 1: off
    presence_penalty: float = 0.0  # taken from the logit of every token of the answer so far
    frequency_penalty: float = 0.0  # the same, once per occurrence
    logit_bias: tuple[tuple[int, float], ...] = ()  # token ids, and what is added to the logit of each
    seed: int = 0
    max_tokens: int | None = None  # None: what the task allows
    stop: tuple[str, ...] = ()  # texts that end the answer and are not part of it
    guidance_scale: float = 1.0  # pictures: how far to move from the wishless picture towards the wish; 1: off
    guidance_power: float = 0.0  # pictures: how late the guidance sets in; 0: the same for every code, above 0: grows
    num_candidates: int = 1  # pictures: so many are drawn, and the one that its wish explains best is kept
    num_beams: int = 1  # answers kept in view at once while the best one is looked for; 1: no search
    length_penalty: float = 1.0  # beams: the power of the length that scores are divided by; 0: none, above 1: longer
    no_repeat_ngram: int = 0  # no run of so many tokens comes twice in an answer; 0: off
    min_tokens: int = 0  # tokens before an answer may end by itself
    choices: tuple[str, ...] = ()  # the answer is one of these texts; none: it is free
    json_schema: str | None = None  # the answer is JSON that fits this schema; None: it is free
    num_alternatives: int = 0  # likeliest tokens that are told of each place, with their log-probabilities
    prompt_lookup: bool = True  # may be guessed ahead where the engine does that; the answer is the same

    def __post_init__(self) -> None:
        self._require("temperature", self.temperature >= 0, "be 0 or more")
        self._require("top_k", self.top_k >= 0, "be 0 (off) or more")
        self._require("top_p", 0 < self.top_p <= 1, "lie above 0 and at most at 1")
        self._require("min_p", 0 <= self.min_p <= 1, "lie between 0 and 1")
        self._require("repetition_penalty", self.repetition_penalty > 0, "be above 0 (1 is off)")
        self._require("presence_penalty", True, "be a finite number")
        self._require("frequency_penalty", True, "be a finite number")
        self._require("guidance_scale", self.guidance_scale >= 0, "be 0 or more (1 is off)")
        self._require("guidance_power", self.guidance_power >= 0, "be 0 (the same for every code) or more")
        self._require("num_candidates", self.num_candidates >= 1, "be 1 (keep what is drawn) or more")
        self._require("max_tokens", self.max_tokens is None or self.max_tokens >= 1, "be 1 or more")
        self._require("num_beams", self.num_beams >= 1, "be 1 (no search) or more")
        self._require("length_penalty", True, "be a finite number")
        self._require("no_repeat_ngram", self.no_repeat_ngram >= 0, "be 0 (off) or more")
        self._require("min_tokens", self.min_tokens >= 0, "be 0 (off) or more")
        self._require("num_alternatives", self.num_alternatives >= 0, "be 0 (none) or more")
        is_finite = all(token_id >= 0 and math.isfinite(bias) for token_id, bias in self.logit_bias)
        self._require("logit_bias", is_finite, "be pairs of a token id and a finite number")
        if self.num_beams > 1:
            self._require_search()
        if self.has_form:
            self._require_form()
        if "" in self.stop:
            raise ConfigError(f"sampling.stop={list(self.stop)!r} holds an empty text, which would stop every answer.")

    def _require(self, name: str, holds: bool, rule: str) -> None:
        value = getattr(self, name)
        if not holds or (isinstance(value, float) and not math.isfinite(value)):
            raise ConfigError(f"sampling.{name}={value!r} cannot be used; it must {rule}.")

    def _require_search(self) -> None:
        aside = [("temperature", not self.is_greedy), ("stop", bool(self.stop)), ("penalties", self.has_penalties)]
        aside += [("logit_bias", bool(self.logit_bias)), ("alternatives", self.num_alternatives > 0)]
        if wrong := [name for name, is_set in aside if is_set]:
            raise ConfigError(
                f"sampling.num_beams={self.num_beams} does not go with {' and '.join(wrong)}: a search draws nothing.",
                hint="use temperature=0 without stop texts and penalties, or num_beams=1",
            )

    def _require_form(self) -> None:
        aside = [
            ("choices with json_schema", bool(self.choices) and self.json_schema is not None),
            ("num_beams", self.num_beams > 1),
            ("stop", bool(self.stop)),
            ("no_repeat_ngram", self.no_repeat_ngram > 0),
            ("min_tokens", self.min_tokens > 0),
        ]
        if wrong := [name for name, is_set in aside if is_set]:
            raise ConfigError(f"an answer that must have a form does not go with {' and '.join(wrong)}.")
        if len(set(self.choices)) < len(self.choices) or "" in self.choices:
            raise ConfigError("sampling.choices must be different texts, none of them empty.")

    @property
    def has_form(self) -> bool:
        """Whether the answer must be one of some texts, or JSON."""
        return bool(self.choices) or self.json_schema is not None

    @property
    def is_greedy(self) -> bool:
        """Whether the most probable token is taken every time."""
        return self.temperature == 0

    @property
    def has_penalties(self) -> bool:
        """Whether tokens that occurred before are made less (or more) probable."""
        return self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0


GREEDY = SamplingConfig()
