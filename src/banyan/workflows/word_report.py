"""How probable a model finds words in a context, and how it would go on itself.

A context is a text with `{word}` in it. The white space before the word is read as part of it, as tokenizers do. The
probability is that of the word's pieces one after the other behind the context; that the word ends there is not asked.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from banyan.core.errors import ConfigError
from banyan.core.types import MaskKind, Text
from banyan.infer.forward import Row, hidden_states
from banyan.infer.sampling import GREEDY
from banyan.runtime.defaults import override
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.language_modeling import LanguageModeling
from banyan.workflows.text_samples import text_behind

PLACE = "{word}"
_WORDS_AT_ONCE = 256
_MAX_BATCH_TOKENS = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class NextPiece:
    """A piece the model could go on with."""

    text: str
    probability: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WordScore:
    """One word in one context."""

    context: str
    word: str
    pieces: tuple[str, ...]  # as the tokenizer cuts it
    log_prob: float  # of all pieces, in nats
    log_prob_per_piece: float
    bits_per_byte: float  # of the word, the space before it included
    first_rank: int  # place of the first piece among all the model could go on with; 1 is the likeliest
    rest_log_prob: float | None  # of what the context says after the word, in nats; None: nothing
    continuation: str | None  # what the model writes after the word, always the likeliest piece; None: not asked


@dataclass(frozen=True, kw_only=True, slots=True)
class WordReport:
    """Every word in every context, and the model's own continuations of the contexts."""

    scores: tuple[WordScore, ...]
    next_pieces: dict[str, tuple[NextPiece, ...]]  # by context
    too_long: tuple[str, ...]  # words that do not fit the model's context


@dataclass(frozen=True, kw_only=True, slots=True)
class _Context:
    """A template and the tokens before the word."""

    template: str
    gap: str  # white space that the word begins with
    after: str
    head_ids: tuple[int, ...]
    is_beginning: bool  # nothing but white space stands before the word


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """A word in its place."""

    context: _Context
    word: str
    word_ids: tuple[int, ...]
    after_ids: tuple[int, ...]

    def row(self, adapter: str | None) -> Row:
        """Return what the model reads, and the positions that predict the word and what comes after it."""
        ids = (*self.context.head_ids, *self.word_ids, *self.after_ids)
        first = len(self.context.head_ids) - 1
        return _row(ids[:-1], range(first, len(ids) - 1), adapter)


def _row(token_ids: tuple[int, ...], positions: Iterable[int], adapter: str | None) -> Row:
    return Row(token_ids=token_ids, mask=MaskKind.CAUSAL, prefix_len=0, positions=tuple(positions), adapter=adapter)


def report_words(
    model: LoadedModel,
    words: Sequence[str],
    contexts: Sequence[str] = (PLACE,),
    *,
    top_k: int = 5,
    continue_tokens: int = 8,
) -> WordReport:
    """Score every word in every context.

    `top_k` pieces the model would go on with are shown for each context, and what it writes after each word, in up to
    `continue_tokens` pieces; 0 asks for none.
    Raises: ConfigError if a context does not hold `{word}` once, or is longer than the model can read.
    """
    prepared = [_prepare(model, template) for template in contexts]
    questions, too_long = _questions(model, prepared, words)
    found: list[WordScore] = []
    for start in range(0, len(questions), _WORDS_AT_ONCE):
        found.extend(_score(model, questions[start : start + _WORDS_AT_ONCE]))
    if continue_tokens:
        found = _with_continuations(model, questions, found, max_tokens=continue_tokens)
    return WordReport(
        scores=tuple(found),
        next_pieces={context.template: _next_pieces(model, context, top_k) for context in prepared if top_k},
        too_long=too_long,
    )


def check_continues_texts(model: LoadedModel, task: str) -> None:
    """Make sure that a task is one that goes on with a text; a model without tasks can do that, too.

    Raises: UnknownNameError for a task the model lacks; ConfigError for one of another kind.
    """
    if task == LanguageModeling.kind and task not in model.tasks:
        return
    if (kind := model.task(task).kind) != LanguageModeling.kind:
        raise ConfigError(
            f"--words asks how a text goes on, and task {task} is of kind {kind}.",
            hint=f"name {LanguageModeling.kind} in its place",
        )


def _prepare(model: LoadedModel, template: str) -> _Context:
    if template.count(PLACE) != 1:
        raise ConfigError(
            f"the context {template!r:.200} holds {PLACE} {template.count(PLACE)} times; it must hold it once.",
            hint=f'--context "I would like to eat {PLACE}"',
        )
    before, after = template.split(PLACE)
    head = before.rstrip()
    prompt, _ = model.continuation(head)
    return _Context(
        template=template, gap=before[len(head) :], after=after, head_ids=prompt.token_ids, is_beginning=not head
    )


def _questions(
    model: LoadedModel, contexts: Sequence[_Context], words: Sequence[str]
) -> tuple[list[_Question], tuple[str, ...]]:
    questions: list[_Question] = []
    too_long: dict[str, None] = {}
    for context, word in itertools.product(contexts, words):
        word_ids, after_ids = _word_ids(model, context, word), _ids_inside(model, context.after)
        question = _Question(context=context, word=word, word_ids=word_ids, after_ids=after_ids)
        if len(question.row(model.adapter)) + 1 >= model.max_seq_len:  # one place is left to go on in
            too_long[word] = None
        else:
            questions.append(question)
    return questions, tuple(too_long)


def _word_ids(model: LoadedModel, context: _Context, word: str) -> tuple[int, ...]:
    """Return the ids of a word with the space before it, at the beginning of a text or behind other text."""
    if context.is_beginning:
        return tuple(model.vocabulary.encode(context.gap + word))
    return _ids_inside(model, context.gap + word)


def _ids_inside(model: LoadedModel, text: str) -> tuple[int, ...]:
    return tuple(model.vocabulary.encode_inside(text)) if text else ()


@torch.inference_mode()
def _score(model: LoadedModel, questions: Sequence[_Question]) -> list[WordScore]:
    rows = [question.row(model.adapter) for question in questions]
    hidden = hidden_states(model.model, rows, max_batch_tokens=_MAX_BATCH_TOKENS)
    return [_read_score(model, question, states) for question, states in zip(questions, hidden, strict=True)]


def _read_score(model: LoadedModel, question: _Question, hidden_PD: Tensor) -> WordScore:
    targets = torch.tensor([*question.word_ids, *question.after_ids], device=hidden_PD.device)
    log_probs = model.model.logits(hidden_PD).float().log_softmax(dim=-1)
    own = log_probs.gather(1, targets[:, None])[:, 0]
    num_pieces = len(question.word_ids)
    log_prob, rest = math.fsum(own[:num_pieces].tolist()), math.fsum(own[num_pieces:].tolist())
    num_bytes = len((question.context.gap + question.word).encode("utf-8"))
    return WordScore(
        context=question.context.template,
        word=question.word,
        pieces=tuple(_shown(model, token_id) for token_id in question.word_ids),
        log_prob=log_prob,
        log_prob_per_piece=log_prob / num_pieces,
        bits_per_byte=-log_prob / math.log(2) / num_bytes,
        first_rank=1 + int((log_probs[0] > own[0]).sum()),
        rest_log_prob=rest if question.after_ids else None,
        continuation=None,
    )


def _with_continuations(
    model: LoadedModel, questions: Sequence[_Question], scores: Sequence[WordScore], *, max_tokens: int
) -> list[WordScore]:
    """Add what the model writes after each word."""
    begun, _ = model.continuation("")
    stops = begun.decoding.stop_token_ids if isinstance(begun.decoding, Text) else ()
    prompts = []
    for question in questions:
        ids = (*question.context.head_ids, *question.word_ids)
        decoding = Text(max_tokens=model.max_seq_len - len(ids), stop_token_ids=stops)
        prompts.append(replace(begun, token_ids=ids, decoding=decoding))
    completions = model.engine.complete(prompts, override(GREEDY, max_tokens=max_tokens))
    return [
        replace(score, continuation=text_behind(model, completion))
        for score, completion in zip(scores, completions, strict=True)
    ]


@torch.inference_mode()
def _next_pieces(model: LoadedModel, context: _Context, top_k: int) -> tuple[NextPiece, ...]:
    ids = context.head_ids
    row = _row(ids, [len(ids) - 1], model.adapter)
    (hidden_PD,) = hidden_states(model.model, [row], max_batch_tokens=_MAX_BATCH_TOKENS)
    best = model.model.logits(hidden_PD[0]).float().softmax(dim=-1).topk(top_k)
    found = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple(NextPiece(text=_shown(model, token_id), probability=prob) for token_id, prob in found)


def _shown(model: LoadedModel, token_id: int) -> str:
    """Return a piece as a person reads it."""
    vocabulary = model.vocabulary
    if not vocabulary.is_text(token_id):
        return vocabulary.describe(token_id)
    # A part of a character is shown as its bytes, \xe8\x8b.
    return vocabulary.decode_bytes([token_id]).decode("utf-8", errors="backslashreplace")
