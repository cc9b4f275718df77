"""Reading the vocabulary of a model directory: one of our own, a grown one, or one that came with foreign weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from banyan.core.errors import CheckpointError
from banyan.core.files import read_json, read_text
from banyan.core.model_directory import CONFIG_FILE, TOKENIZER_FILE
from banyan.tokenizers.banyan_layout import SPECIAL_TOKENS
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.tokenizers.chat_formats import BANYAN, CHAT_FORMATS
from banyan.tokenizers.foreign import read_foreign_tokenizer
from banyan.tokenizers.vocabulary import Vocabulary

_MAX_TOKENIZER_BYTES = 64 << 20  # the largest in public use have half of that


def load_vocabulary(
    directory: Path,
    *,
    chat: str = BANYAN.name,
    task_names: Sequence[str] = (),
    num_image_codes: int = 0,
    text_size: int | None = None,
) -> Vocabulary:
    """Read the vocabulary of a model directory, our own or an imported one, laid out in the named chat format.

    `text_size` is the number of the model's rows for text and special tokens; None: as its config.json says.
    Raises: FileError, CheckpointError if the files cannot be used; UnknownNameError for a format nobody knows.
    """
    known = CHAT_FORMATS[chat]
    if known is BANYAN and not is_grown(directory / TOKENIZER_FILE):
        return load_own_vocabulary(directory, task_names=task_names, num_image_codes=num_image_codes)
    foreign = read_foreign_tokenizer(directory)
    return Vocabulary(
        foreign.text,
        task_names=task_names,
        num_image_codes=num_image_codes,
        foreign=foreign,
        chat=known,
        text_size=_rows_of_model(directory) if text_size is None else text_size,
    )


def load_own_vocabulary(directory: Path, *, task_names: Sequence[str] = (), num_image_codes: int = 0) -> Vocabulary:
    """Read a vocabulary of our own, as `Vocabulary.save` wrote it.

    Raises: FileError if the file is missing; CheckpointError if it does not hold our special tokens.
    """
    path = directory / TOKENIZER_FILE
    text = BytePairTokenizer.from_json(read_text(path, max_bytes=_MAX_TOKENIZER_BYTES))
    vocabulary = Vocabulary(text, task_names=task_names, num_image_codes=num_image_codes)
    added = read_json(path, max_bytes=_MAX_TOKENIZER_BYTES).get("added_tokens")
    entries = added if isinstance(added, list) else []
    listed = [(entry.get("content"), entry.get("id")) for entry in entries if isinstance(entry, dict)]
    if listed != list(vocabulary.layout.special.control_ids.items()) or len(listed) != len(entries):
        raise CheckpointError(
            f"{path} lists {len(entries)} special tokens; this format has {len(SPECIAL_TOKENS)}, in a fixed order.",
            hint="it was written by another program or version; take the tokenizer.json that belongs to the model",
        )
    return vocabulary


def is_grown(path: Path) -> bool:
    """Whether a tokenizer.json of ours has its special tokens in the table of text tokens: more text follows them.

    Raises: FileError if it cannot be read; CheckpointError if it is no JSON object.
    """
    description = read_json(path, max_bytes=_MAX_TOKENIZER_BYTES)
    if not isinstance(description, dict):
        raise CheckpointError(f"{path} is not a tokenizer: it must be a JSON object.")
    model = description.get("model")
    table = model.get("vocab") if isinstance(model, dict) else None
    return isinstance(table, dict) and SPECIAL_TOKENS[0] in table


def _rows_of_model(directory: Path) -> int | None:
    path = directory / CONFIG_FILE
    if not path.is_file():
        return None
    rows = read_json(path).get("vocab_size")
    if type(rows) is not int or rows < 1:
        raise CheckpointError(f"{path}: vocab_size={rows!r} is not a number of rows.")
    return rows
