"""What is decided about a request before any work is done for it."""

from __future__ import annotations

from dataclasses import dataclass

from banyan.core.errors import BanyanError, ConfigError, ContextLengthError, InputError
from banyan.core.registry import did_you_mean
from banyan.core.types import HeadKind, HeadSpec, ImageGrid, LabelSet, Prompt, Span, Tags, Text
from banyan.infer.forms.form import form_of
from banyan.infer.requests import AlternativesCallback, Request, TextCallback, TokenCallback
from banyan.infer.sampling import SamplingConfig
from banyan.infer.spans import check_span
from banyan.infer.tags import bio_rules
from banyan.model.config import ModelConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one engine can take."""

    config: ModelConfig
    heads: tuple[HeadSpec, ...]
    num_slots: int

    def admit_generation(
        self,
        prompt: Prompt,
        sampling: SamplingConfig,
        *,
        adapter: str | None = None,
        on_token: TokenCallback | None = None,
        on_text: TextCallback | None = None,
        on_alternatives: AlternativesCallback | None = None,
    ) -> Request:
        """Make a prompt that is answered token by token into a request.

        Raises: ContextLengthError if prompt and answer do not fit; InputError or ConfigError if it cannot be answered.
        """
        self._check_ids(prompt.token_ids)
        compares = sampling.guidance_scale != 1 or sampling.num_candidates > 1
        is_guided = isinstance(prompt.decoding, ImageGrid) and compares
        self._check_beams(prompt, sampling)
        self.check_bias(sampling)
        max_tokens = self._max_picture_tokens(prompt) if isinstance(prompt.decoding, ImageGrid) else 0
        if isinstance(prompt.decoding, Text):
            max_tokens = self._max_text_tokens(prompt, prompt.decoding, sampling)
        if is_guided:
            self._check_guidance(prompt)
        if sampling.has_form and not isinstance(prompt.decoding, Text):
            raise ConfigError(f"task {prompt.task} draws pictures, which have no other form than their own.")
        return Request(
            prompt=prompt,
            sampling=sampling,
            num_slots=2 if is_guided else sampling.num_beams,
            max_tokens=max_tokens,
            adapter=adapter,
            form=form_of(sampling),
            on_token=on_token,
            on_text=on_text,
            on_alternatives=on_alternatives,
        )

    def check_scoring(self, prompt: Prompt) -> None:
        """Check a prompt whose answer is chosen from what it may be: labels, tags, a span.

        Raises: ContextLengthError, InputError or ConfigError if it cannot be answered.
        """
        self._check_ids(prompt.token_ids)
        decoding = prompt.decoding
        if isinstance(decoding, LabelSet) and decoding.head is None:
            self._check_label_words(prompt, decoding)
        elif isinstance(decoding, LabelSet):
            self._check_head(decoding.head or "", HeadKind.CLASSIFICATION, num_labels=len(decoding.labels))
        elif isinstance(decoding, Tags):
            self._check_head(decoding.head, HeadKind.TAGGING, num_labels=len(decoding.labels))
            self._check_positions(decoding, num_positions=len(prompt))
        elif isinstance(decoding, Span):
            self._check_head(decoding.head, HeadKind.SPAN, num_labels=2)
            check_span(decoding, num_positions=len(prompt))

    def check_bias(self, sampling: SamplingConfig) -> None:
        """Refuse a bias on what is no token.

        Raises: InputError.
        """
        size = self.config.text_vocab_size
        if wrong := [token_id for token_id, _ in sampling.logit_bias if token_id >= size]:
            raise InputError(f"logit_bias names token {wrong[0]}; the ids of tokens lie in 0..{size - 1}.")

    def check_length(self, num_tokens: int, *, num_answer_tokens: int = 0) -> None:
        """Refuse what the model cannot address.

        Raises: ContextLengthError with both counts.
        """
        limit = self.config.max_seq_len
        if num_tokens + num_answer_tokens > limit:
            answer = f" and needs {num_answer_tokens} more for the answer" if num_answer_tokens else ""
            raise ContextLengthError(
                f"the prompt has {num_tokens} tokens{answer}; the model can address {limit}.",
                num_prompt_tokens=num_tokens,
                max_seq_len=limit,
                hint="shorten the text",
            )

    def _max_text_tokens(self, prompt: Prompt, decoding: Text, sampling: SamplingConfig) -> int:
        self.check_length(len(prompt), num_answer_tokens=1)
        wanted = decoding.max_tokens if sampling.max_tokens is None else sampling.max_tokens
        return min(wanted, self.config.max_seq_len - len(prompt))

    def _max_picture_tokens(self, prompt: Prompt) -> int:
        decoding = prompt.decoding
        assert isinstance(decoding, ImageGrid)
        has_same_codes = decoding.first_code_id == self.config.text_vocab_size
        if not has_same_codes or not 1 <= decoding.num_codes <= self.config.num_image_codes:
            raise ConfigError(
                f"task {prompt.task} wants {decoding.num_codes} image codes from id {decoding.first_code_id}; "
                f"the model has {self.config.num_image_codes} from id {self.config.text_vocab_size}."
            )
        # The last code is drawn and never read again, so it needs no position of its own.
        self.check_length(len(prompt), num_answer_tokens=decoding.num_tokens - 1)
        return decoding.num_tokens

    def _check_guidance(self, prompt: Prompt) -> None:
        if not prompt.unconditional_token_ids:
            raise ConfigError(f"task {prompt.task} gives no prompt without its wish; use guidance_scale=1.")
        if self.num_slots < 2:
            raise ConfigError("guidance draws two pictures at once; the engine needs num_slots of 2 or more.")
        self._check_ids(prompt.unconditional_token_ids)

    def _check_beams(self, prompt: Prompt, sampling: SamplingConfig) -> None:
        if sampling.num_beams > 1 and isinstance(prompt.decoding, ImageGrid):
            raise ConfigError(f"task {prompt.task} draws pictures, which are not searched for; use num_beams=1.")
        if sampling.num_beams > self.num_slots:
            raise ConfigError(
                f"num_beams={sampling.num_beams} cannot be searched at once; the engine has {self.num_slots} "
                "slots, and each beam takes one."
            )

    def _check_ids(self, token_ids: tuple[int, ...]) -> None:
        if not token_ids:
            raise InputError("a prompt needs at least one token.")
        self.check_length(len(token_ids))
        if min(token_ids) < 0 or max(token_ids) >= self.config.vocab_size:
            raise InputError(
                f"token ids must lie in 0..{self.config.vocab_size - 1}, got {min(token_ids)}..{max(token_ids)}."
            )

    def _check_label_words(self, prompt: Prompt, decoding: LabelSet) -> None:
        if not decoding.labels or len(decoding.label_token_ids) != len(decoding.labels):
            raise ConfigError(f"{len(decoding.labels)} labels have {len(decoding.label_token_ids)} lists of words.")
        if not all(decoding.label_token_ids):
            raise InputError("a label has no tokens and cannot be scored; every label needs at least one.")
        self.check_length(len(prompt), num_answer_tokens=max(map(len, decoding.label_token_ids)) - 1)

    def _check_head(self, name: str, kind: HeadKind, *, num_labels: int) -> None:
        heads = {head.name: head for head in self.heads}
        if name not in heads:
            raise ConfigError(f"the model has no head {name!r}{did_you_mean(name, heads)}")
        head = heads[name]
        if head.kind is not kind or head.num_outputs != num_labels:
            raise ConfigError(
                f"head {name!r} is a {head.kind} head with {head.num_outputs} outputs; "
                f"the question needs a {kind} head with {num_labels}."
            )

    @staticmethod
    def _check_positions(decoding: Tags, *, num_positions: int) -> None:
        bio_rules(decoding.labels)
        if decoding.positions and not 0 <= min(decoding.positions) <= max(decoding.positions) < num_positions:
            raise InputError(
                f"tags are asked for positions {min(decoding.positions)}..{max(decoding.positions)} of a prompt with "
                f"{num_positions} tokens."
            )


def closed_engine_error() -> BanyanError:
    """Return what a request hears that comes after the end, or is caught by it."""
    return BanyanError("the engine is closed and takes no more requests.")
