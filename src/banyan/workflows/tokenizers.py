"""Tokenizers on their own: trained from files, or measured and shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.errors import ConfigError, DataError
from banyan.core.files import as_write_error
from banyan.core.model_directory import BANYAN_FILE, MANIFEST
from banyan.data.sources import read_documents
from banyan.runtime.description import read_description
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.tokenizers.chat_formats import BANYAN
from banyan.tokenizers.inspect import fertility_by_script, token_pieces
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.tokenizers.vocabulary_loading import load_vocabulary

_MAX_MEASURED_TEXTS = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerReport:
    """What a tokenizer costs in each script, and how it cuts one text."""

    directory: Path
    vocab_size: int  # ordinary tokens
    scripts: tuple[dict[str, Any], ...] = ()
    pieces: tuple[dict[str, Any], ...] = ()


def train_tokenizer(paths: Sequence[Path], output: Path, *, vocab_size: int) -> TokenizerReport:
    """Train a byte-level BPE on files and folders, write it, and measure it on them.

    Raises: FileError or DataError if a file cannot be read, or there is no text; ConfigError if `output` is a model,
    which would no longer understand its own ids; SpaceError.
    """
    refuse_model_directory(output)
    tokenizer = BytePairTokenizer.train(_texts(paths), vocab_size=vocab_size)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise as_write_error(error, output) from error
    Vocabulary(tokenizer).save(output)
    return inspect_tokenizer(output, paths, text=None)


def refuse_model_directory(output: Path) -> None:
    """Keep files out of a model directory, all of whose files belong together.

    Raises: ConfigError.
    """
    if (output / MANIFEST).exists():
        raise ConfigError(f"{output} is a model directory; nothing may be added to it.", hint="give another --output")


def inspect_tokenizer(directory: Path, paths: Sequence[Path], *, text: str | None) -> TokenizerReport:
    """Measure a saved tokenizer on files, and show how it cuts a text.

    Raises: FileError or CheckpointError if there is no tokenizer in the directory.
    """
    vocabulary = read_vocabulary(directory)
    measured = [shown for _, shown in zip(range(_MAX_MEASURED_TEXTS), _texts(paths), strict=False)] if paths else []
    if text is not None and not measured:
        measured = [text]
    return TokenizerReport(
        directory=directory,
        vocab_size=sum(map(vocabulary.is_text, range(vocabulary.text_size))),
        scripts=tuple(
            {
                "script": found.script,
                "num_characters": found.num_characters,
                "tokens_per_character": found.tokens_per_character,
                "bytes_per_token": found.bytes_per_token,
            }
            for found in fertility_by_script(vocabulary, measured)
        ),
        pieces=tuple(
            {"id": piece.token_id, "text": piece.description, "start": piece.start, "end": piece.end}
            for piece in (token_pieces(vocabulary, text) if text is not None else ())
        ),
    )


def read_vocabulary(directory: Path) -> Vocabulary:
    """Read the vocabulary of a model, our own or an imported one, or of a folder that holds a tokenizer of ours.

    Raises: FileError or CheckpointError if there is none.
    """
    is_model = (directory / BANYAN_FILE).is_file()
    return load_vocabulary(directory, chat=read_description(directory).chat if is_model else BANYAN.name)


def _texts(paths: Sequence[Path]) -> Iterator[str]:
    found = False
    for path in paths:
        for document in read_documents(path):
            found = True
            yield document.text
    if not found:
        raise DataError(f"{', '.join(map(str, paths))}: there is no text to learn from.")
