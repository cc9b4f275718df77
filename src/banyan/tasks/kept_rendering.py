"""Rendered examples kept on disk: made at the first start of a run, and read from there at every later one.

A shard holds the key of what was rendered, and then one document for each example: its sequence as numbers, or the
number that says why it has none. The numbers of a sequence are the lengths of its parts, and the parts behind one
another. A file that is damaged, or has another key, is made anew.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt
import tokenizers

from banyan.core.errors import DataError, FileError
from banyan.core.types import NO_GRID, NO_TARGET, MaskKind, TokenSequence
from banyan.data.corpus import corpus_key, fingerprint_files
from banyan.data.shards import ShardReader, ShardWriter
from banyan.tasks.base import Task
from banyan.tasks.rendering import Outcome, Rendered, Unlearnable, render_each
from banyan.tokenizers.vocabulary import Vocabulary

E = TypeVar("E")

_MASKS = tuple(MaskKind)
_NUM_PARTS = 6  # of a sequence
_WEIGHT = np.dtype("<f8")  # written as its bytes, and only where weights are not 1 at targets and 0 elsewhere
_PACKAGE = Path(__file__).parents[1]  # banyan


class KeptSequences(Sequence[TokenSequence]):
    """The sequences in a shard; each is put together when it is asked for, so a large task takes little memory."""

    def __init__(self, task: str, shard: ShardReader, documents: npt.NDArray[np.int64]) -> None:
        self._task = task
        self._shard = shard
        self._documents = documents  # of the sequences, in their order

    def __len__(self) -> int:
        return len(self._documents)

    @overload
    def __getitem__(self, index: int) -> TokenSequence: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[TokenSequence]: ...

    def __getitem__(self, index: int | slice) -> TokenSequence | Sequence[TokenSequence]:
        if isinstance(index, slice):
            return KeptSequences(self._task, self._shard, self._documents[index])
        return _from_numbers(self._task, self._shard[int(self._documents[index])].tolist())


def render_once(
    task: Task[E], examples: Sequence[E], vocabulary: Vocabulary, *, max_tokens: int, path: Path, key: str
) -> Rendered[E]:
    """Return what `render_examples` does, from the file of an earlier start; render and write it if there is none.

    `key` is a SHA-256 that changes with the examples and with the text tokenizer; what else a sequence follows from
    (task, special tokens, code) is looked after here.
    Raises: as `render_examples`; SpaceError if the file cannot be written.
    """
    own_key = bytes.fromhex(_own_key(task, vocabulary, max_tokens=max_tokens, key=key))
    shard = _open(path, own_key, num_examples=len(examples))
    if shard is None:
        with ShardWriter(path, vocab_size=_limit(task, vocabulary, max_tokens=max_tokens)) as writer:
            writer.add(list(own_key))
            for outcome in render_each(task, examples, vocabulary, max_tokens=max_tokens):
                writer.add(_to_numbers(outcome))
        shard = ShardReader(path, verify=False)
    return _rendered(task.name, examples, shard)


def _own_key(task: Task[Any], vocabulary: Vocabulary, *, max_tokens: int, key: str) -> str:
    layout = [vocabulary.chat, vocabulary.layout.special, vocabulary.task_names, vocabulary.text_size, vocabulary.size]
    return corpus_key(key, task.spec(), max_tokens, layout, _code_key(type(task)), tokenizers.__version__)


@lru_cache
def _code_key(kind: type[Task[Any]]) -> str:
    """Return a key for the code that renders: all of `tasks` and `tokenizers`, and the file of a plug-in's kind."""
    own = (getattr(sys.modules.get(base.__module__), "__file__", None) for base in kind.__mro__)
    rooms = (file for room in ("tasks", "tokenizers") for file in (_PACKAGE / room).rglob("*.py"))
    return fingerprint_files(sorted({*map(Path, filter(None, own)), *rooms}))


def _limit(task: Task[Any], vocabulary: Vocabulary, *, max_tokens: int) -> int:
    """Return what all numbers are below: ids, labels, positions, sizes and bytes."""
    num_labels = 0 if task.head is None else task.head.num_outputs
    return max(vocabulary.size, num_labels, _WEIGHT.itemsize * max_tokens, 256) + 1


def _open(path: Path, key: bytes, *, num_examples: int) -> ShardReader | None:
    """Return the file of these examples; None if there is none, or it is damaged or of others."""
    try:
        shard = ShardReader(path)
    except (DataError, FileError):
        return None
    return shard if len(shard) == 1 + num_examples and shard[0].tolist() == list(key) else None


def _rendered(name: str, examples: Sequence[E], shard: ShardReader) -> Rendered[E]:
    sizes = np.diff(shard.document_starts)[1:]
    learned = np.flatnonzero(sizes > 1)
    others = [int(shard[1 + number][0]) for number in np.flatnonzero(sizes == 1).tolist()]
    return Rendered(
        examples=[examples[number] for number in learned.tolist()],
        sequences=KeptSequences(name, shard, 1 + learned),
        num_without_target=others.count(Unlearnable.WITHOUT_TARGET),
        num_too_long=others.count(Unlearnable.TOO_LONG),
    )


def _to_numbers(outcome: Outcome) -> list[int]:
    if isinstance(outcome, Unlearnable):
        return [outcome]
    learned = [at for at, target in enumerate(outcome.targets) if target != NO_TARGET]
    plain_weights = tuple(0.0 if target == NO_TARGET else 1.0 for target in outcome.targets)
    parts: tuple[Sequence[int], ...] = (
        (_MASKS.index(outcome.mask), outcome.prefix_len),
        learned,
        [outcome.targets[at] for at in learned],
        [cell - NO_GRID for cell in outcome.grid_ids],
        b"" if outcome.loss_weights == plain_weights else np.array(outcome.loss_weights, _WEIGHT).tobytes(),
        outcome.token_ids,
    )
    return [*map(len, parts), *chain.from_iterable(parts)]


def _from_numbers(task: str, numbers: Sequence[int]) -> TokenSequence:
    rest = iter(numbers)
    sizes = list(islice(rest, _NUM_PARTS))
    (mask, prefix_len), learned, values, cells, weights, token_ids = (tuple(islice(rest, size)) for size in sizes)
    targets, plain_weights = [NO_TARGET] * len(token_ids), [0.0] * len(token_ids)
    for at, target in zip(learned, values, strict=True):
        targets[at], plain_weights[at] = target, 1.0
    return TokenSequence(
        task=task,
        token_ids=token_ids,
        targets=tuple(targets),
        loss_weights=tuple(np.frombuffer(bytes(weights), _WEIGHT).tolist() if weights else plain_weights),
        mask=_MASKS[mask],
        prefix_len=prefix_len,
        grid_ids=tuple(cell + NO_GRID for cell in cells),
    )
