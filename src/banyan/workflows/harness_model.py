"""A Banyan model as lm-evaluation-harness sees it: texts in; log-likelihoods, perplexities and continuations out.

Imported only where the harness is used: it is an extra, and takes seconds to load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from banyan.core.types import NO_TARGET, MaskKind, Prompt, Text, TokenSequence
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.language_modeling import LanguageModeling

DEFAULT_MAX_TOKENS = 256  # of a continuation, where a task does not say
_NAME = LanguageModeling.kind  # of the prompts: what the harness asks is running text


class BanyanLM(LM):  # type: ignore[misc]  # the harness has no types
    """Answers the three questions of lm-evaluation-harness with a loaded model.

    >>> lm_eval.simple_evaluate(model=BanyanLM("runs/demo/best"), tasks=["my_task.yaml"])

    A text begins as the model's own texts do: with its start token if it has one. What is longer than the model can
    read loses its beginning, as with the harness's own models.
    """

    def __init__(self, model: LoadedModel | Path | str, *, base: Path | None = None) -> None:
        super().__init__()
        self.model = model if isinstance(model, LoadedModel) else load(model, base=base)

    @property
    def tokenizer_name(self) -> str:
        """What the harness keeps requests under."""
        return f"banyan-{self.model.sha256[:16]}"

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return, of each (context, continuation), the continuation's log-likelihood and whether greedy writes it.

        Units: nats.
        """
        return self._score([self._cut_in_two(*request.args) for request in requests])

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of each whole text; a long one is read in windows that end full.

        Units: nats.
        """
        windows = [self._windows(request.args[0]) for request in requests]
        scores = iter(self._score([window for own in windows for window in own]))
        return [sum(next(scores)[0] for _ in own) for own in windows]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return how each context goes on, up to one of its stop texts."""
        asked = [self._question(*request.args) for request in requests]
        completions = self.model.engine.complete([prompt for prompt, _ in asked], [sampling for _, sampling in asked])
        return [completion.text or "" for completion in completions]

    def _score(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        found = self.model.engine.expectations([self._sequence(*pair) for pair in pairs])
        return [(float(sum(log_probs)), is_greedy) for log_probs, is_greedy in found]

    def _cut_in_two(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Return the ids before and of the continuation, cut where the harness's own models cut them.

        Spaces at the end of the context belong to the continuation. The two are encoded together, and what the context
        takes alone is taken off the front.
        """
        vocabulary = self.model.vocabulary
        if not context.strip():
            return list(vocabulary.start_ids or (vocabulary.bos_id,)), vocabulary.encode(context + continuation)
        bare = context.rstrip()
        whole, before = vocabulary.encode(context + continuation), vocabulary.encode(bare)
        return [*vocabulary.start_ids, *before], whole[len(before) :]

    def _windows(self, text: str) -> list[tuple[list[int], list[int]]]:
        vocabulary = self.model.vocabulary
        windows = get_rolling_token_windows(
            token_list=vocabulary.encode(text),
            prefix_token=vocabulary.bos_id,
            max_seq_len=self.model.max_seq_len,
            context_len=1,
        )
        return [make_disjoint_window(window) for window in windows]

    def _sequence(self, before: Sequence[int], following: Sequence[int]) -> TokenSequence:
        """Lay ids out so that each of the following ones is predicted; the oldest are left out if they do not fit."""
        ids = (*before, *following)
        ids = ids[max(0, len(ids) - self.model.max_seq_len - 1) :]
        num_scored = min(len(following), len(ids) - 1)
        num_read = len(ids) - 1 - num_scored
        return TokenSequence(
            task=_NAME,
            token_ids=tuple(ids[:-1]),
            targets=(*[NO_TARGET] * num_read, *ids[num_read + 1 :]),
            loss_weights=(*[0.0] * num_read, *[1.0] * num_scored),
            mask=MaskKind.CAUSAL,
        )

    def _question(self, context: str, asked: Mapping[str, Any]) -> tuple[Prompt, SamplingConfig]:
        vocabulary, limit = self.model.vocabulary, self.model.max_seq_len
        ids = (*vocabulary.start_ids, *vocabulary.encode(context)) or (vocabulary.bos_id,)
        room = max(limit - len(ids), limit // 2)  # a long context gives way, to the half of what can be read
        max_tokens = min(int(asked.get("max_gen_toks", DEFAULT_MAX_TOKENS)), room)
        prompt = Prompt(
            task=_NAME,
            token_ids=ids[max(0, len(ids) - (limit - max_tokens)) :],
            mask=MaskKind.CAUSAL,
            decoding=Text(max_tokens=max_tokens, stop_token_ids=vocabulary.text_stop_ids),
        )
        return prompt, _sampling(asked)


def _sampling(asked: Mapping[str, Any]) -> SamplingConfig:
    """Return how the harness wants a text to be drawn: greedily, unless it says otherwise."""
    until = asked.get("until") or ()
    stop = (until,) if isinstance(until, str) else tuple(text for text in until if text)
    if not asked.get("do_sample", False):
        return SamplingConfig(stop=stop)
    return SamplingConfig(
        stop=stop,
        temperature=float(asked.get("temperature", 1.0)),
        top_k=int(asked.get("top_k", 0)),
        top_p=float(asked.get("top_p", 1.0)),
    )
