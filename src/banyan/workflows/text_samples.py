"""Pairs of a real text and a generated one, both following the same beginning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from banyan.core.errors import ConfigError, DataError
from banyan.core.types import NO_TARGET, Completion, MaskKind, Text, TokenSequence
from banyan.data.sources import read_documents
from banyan.infer.likelihood import document_windows
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.defaults import own_seeds
from banyan.runtime.loaded_model import LoadedModel
from banyan.workflows.datasets import spread

MIN_REST_TOKENS = 8  # fewer say nothing about how a text goes on


@dataclass(frozen=True, kw_only=True, slots=True)
class Beginning:
    """The beginning of a real text, and how the text really goes on."""

    prompt: str
    rest: str
    num_rest_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSamples:
    """Texts to compare; a generated one has a real one of the same number where `is_paired`."""

    prompts: tuple[str, ...]  # of the real texts; empty texts where nothing stood before
    real: tuple[str, ...]
    generated: tuple[str, ...]
    is_paired: bool
    num_too_short: int = 0  # real texts that left nothing to go on with


def generate_beside(
    model: LoadedModel,
    path: Path,
    *,
    prompt_tokens: int,
    sample_tokens: int,
    max_samples: int,
    sampling: SamplingConfig,
) -> TextSamples:
    """Let the model go on with the beginnings of real texts, for as long as each of them really goes on.

    Longer texts are cut into several. Where there are more than `max_samples`, they are taken evenly.
    Raises: FileError, DataError if there is no text to begin with; ConfigError if the model cannot read so much.
    """
    documents = list(read_documents(path))
    _check_room(model, prompt_tokens=prompt_tokens, sample_tokens=sample_tokens)
    found: list[Beginning] = []
    num_too_short = 0
    for document in documents:
        own = list(_beginnings(model, document.text, prompt_tokens=prompt_tokens, sample_tokens=sample_tokens))
        num_too_short += not own
        found.extend(own)
    if not found:
        raise DataError(
            f"{path}: none of its {num_too_short} texts has {prompt_tokens + MIN_REST_TOKENS} tokens.",
            hint="ask for shorter beginnings: --prompt-tokens 8",
        )
    chosen = spread(found, max_samples)
    return TextSamples(
        prompts=tuple(one.prompt for one in chosen),
        real=tuple(one.rest for one in chosen),
        generated=tuple(_go_on(model, chosen, sampling)),
        is_paired=True,
        num_too_short=num_too_short,
    )


def read_beside(real: Path, generated: Path, *, max_samples: int) -> TextSamples:
    """Read the texts of two files; they are pairs if there are equally many.

    Raises: FileError, DataError if one of them holds no text.
    """
    texts = [
        [document.text for document in read_documents(path) if document.text.strip()] for path in (real, generated)
    ]
    for path, found in zip((real, generated), texts, strict=True):
        if not found:
            raise DataError(f"{path} holds no text.")
    first, second = (tuple(spread(found, max_samples)) for found in texts)
    is_paired = len(texts[0]) == len(texts[1])
    return TextSamples(prompts=("",) * len(first), real=first, generated=second, is_paired=is_paired)


def _check_room(model: LoadedModel, *, prompt_tokens: int, sample_tokens: int) -> None:
    needed = prompt_tokens + sample_tokens + 2
    if needed > model.max_seq_len:
        raise ConfigError(
            f"--prompt-tokens={prompt_tokens} and --sample-tokens={sample_tokens} make {needed} tokens with beginning "
            f"and end; the model reads {model.max_seq_len}.",
            hint=f"--sample-tokens {max(1, model.max_seq_len - prompt_tokens - 2)}",
        )


def _beginnings(model: LoadedModel, text: str, *, prompt_tokens: int, sample_tokens: int) -> Iterator[Beginning]:
    """Cut a text into beginnings and what follows each, between characters."""
    _, offsets = model.vocabulary.encode_with_offsets(text)
    starts = [start for start, _ in offsets]
    size = prompt_tokens + sample_tokens
    for first in range(0, len(starts) - prompt_tokens - MIN_REST_TOKENS + 1, size):
        last = min(first + size, len(starts))
        begin, middle = starts[first], starts[first + prompt_tokens]
        end = starts[last] if last < len(starts) else len(text)
        if text[middle:end].strip():
            yield Beginning(
                prompt=text[begin:middle], rest=text[middle:end], num_rest_tokens=last - first - prompt_tokens
            )


def _go_on(model: LoadedModel, beginnings: Sequence[Beginning], sampling: SamplingConfig) -> list[str]:
    prompts = []
    for beginning in beginnings:
        prompt, _ = model.continuation(beginning.prompt)
        assert isinstance(prompt.decoding, Text)  # a text goes on as text
        room = min(beginning.num_rest_tokens, model.max_seq_len - len(prompt))
        prompts.append(replace(prompt, decoding=replace(prompt.decoding, max_tokens=max(1, room))))
    completions = model.engine.complete(prompts, own_seeds(prompts, replace(sampling, max_tokens=None)))
    return [text_behind(model, completion) for completion in completions]


def text_behind(model: LoadedModel, completion: Completion) -> str:
    """Return what was written behind another text, with the space it begins with, which `Completion.text` may lack."""
    return model.vocabulary.decode_bytes(completion.token_ids).decode("utf-8", errors="replace")


def text_log_probs(model: LoadedModel, prompts: Sequence[str], texts: Sequence[str]) -> tuple[list[float], list[int]]:
    """Return the log-probability of each text behind its prompt, and how many tokens it has.

    Units: nats.
    """
    windows = [_windows(model, prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    scores = iter(model.engine.log_likelihood([window for own in windows for window in own]))
    found = [[value for _ in own for value in next(scores)] for own in windows]
    return [math.fsum(values) for values in found], [len(values) for values in found]


def _windows(model: LoadedModel, prompt: str, text: str) -> list[TokenSequence]:
    vocabulary = model.vocabulary
    token_ids = tuple(vocabulary.encode_inside(text) if prompt else vocabulary.encode(text))
    head, _ = model.continuation(prompt)
    ids = (*head.token_ids, *token_ids)
    if not token_ids or len(ids) > model.max_seq_len + 1:
        # A text that was cut from nothing is read in windows, as `bits_per_byte` reads it.
        return document_windows(token_ids, first_id=vocabulary.bos_id, max_seq_len=model.max_seq_len)
    num_known = len(head) - 1
    return [
        TokenSequence(
            task=head.task,
            token_ids=ids[:-1],
            targets=(*[NO_TARGET] * num_known, *token_ids),
            loss_weights=(*[0.0] * num_known, *[1.0] * len(token_ids)),
            mask=MaskKind.CAUSAL,
        )
    ]
