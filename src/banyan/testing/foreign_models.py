"""A whole model directory as an import leaves it: random weights under a foreign family's tokenizer and chat format."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from banyan.core.model_directory import new_model_directory
from banyan.model.checkpoint import save_model
from banyan.runtime.description import describe_model, write_description
from banyan.tasks.base import Task
from banyan.testing.foreign_tokenizers import write_foreign_tokenizer
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.tokenizers.foreign import read_foreign_tokenizer
from banyan.tokenizers.vocabulary import Vocabulary

_UNUSED_ROWS = 5  # behind the last token, as padding of the weights leaves them


def foreign_vocabulary(family: str, *, task_names: Sequence[str] = ()) -> Vocabulary:
    """Return the vocabulary of a family's small tokenizer, with some rows that are never used."""
    with tempfile.TemporaryDirectory() as directory:
        foreign = read_foreign_tokenizer(write_foreign_tokenizer(family, Path(directory)))
    return Vocabulary(
        foreign.text,
        task_names=task_names,
        foreign=foreign,
        chat=foreign.chat_format,
        text_size=foreign.vocab_size + _UNUSED_ROWS,
    )


def save_tiny_foreign_model(
    family: str, directory: Path, *, tasks: Sequence[Task[Any]] = (), max_seq_len: int = 384
) -> Path:
    """Write a model directory that `banyan.load` opens, in a family's chat format."""
    vocabulary = foreign_vocabulary(family, task_names=[task.name for task in tasks])
    config = tiny_model_config(vocab_size=vocabulary.size, max_seq_len=max_seq_len)
    model = tiny_model(config, [task.head for task in tasks if task.head is not None], std=0.3)
    with new_model_directory(directory) as temporary:
        save_model(model, temporary, bos_id=vocabulary.bos_id, eos_ids=vocabulary.eos_ids, pad_id=vocabulary.pad_id)
        vocabulary.save(temporary)
        write_description(temporary, describe_model(tasks, chat=vocabulary.chat.name))
    return directory
