"""A model directory with more tokens, or with another tokenizer, made from one that exists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from banyan.core.errors import ConfigError, FileError
from banyan.core.files import atomic_write_bytes, read_bytes, read_json, read_text
from banyan.core.model_directory import IMAGE_TOKENIZER_FILE, TOKENIZER_FILE, name_of, new_model_directory
from banyan.data.catalog import CATALOG, load_split
from banyan.data.checking import strings_of
from banyan.data.sources import read_documents
from banyan.model.checkpoint import load_model, save_model
from banyan.model.transformer import Transformer
from banyan.runtime.description import describe_model, write_description
from banyan.runtime.loading import ModelParts, read_parts
from banyan.tokenizers.banyan_layout import SPECIAL_TOKENS
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.tokenizers.chat_formats import BANYAN
from banyan.tokenizers.foreign import read_foreign_tokenizer
from banyan.tokenizers.images import ImageTokenizer, load_image_tokenizer, save_image_tokenizer
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.tokenizers.vocabulary_loading import load_vocabulary
from banyan.transfer.retokenize import Retokenized, retokenize
from banyan.transfer.vocabulary import GrowConfig, GrownVocabulary, grow_rows, grow_vocabulary
from banyan.workflows.recipe import RECIPE_FILE
from banyan.workflows.word_list import read_words

_MAX_TOKENIZER_BYTES = 64 << 20

# The command line, which may not import the room of transfer, finds here how to ask for tokens.
__all__ = [
    "GrowConfig",
    "GrowthReport",
    "MoveReport",
    "grow_directory",
    "move_directory",
    "read_growth",
    "read_target",
    "source_texts",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthReport:
    """What became of a vocabulary."""

    output: Path
    num_before: int  # ids in all
    num_after: int
    num_new_tokens: int
    unlearned_words: tuple[str, ...]
    num_image_codes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MoveReport:
    """What became of the rows of a model that moved to another tokenizer."""

    output: Path
    num_before: int
    num_after: int
    num_copied: int  # text tokens that both tokenizers have
    num_composed: int  # text tokens made of old pieces
    num_unknown_special: int


def read_growth(vocabulary: Vocabulary, config: GrowConfig) -> GrownVocabulary:
    """Return a vocabulary with the tokens of a config, whose files and data sets are read.

    Raises: FileError, DataError, ConfigError for what cannot be used.
    """
    words = read_words(Path(config.words_file)).words if config.words_file else ()
    return grow_vocabulary(vocabulary, config, texts=source_texts(config.sources), words=words)


def source_texts(sources: Sequence[str]) -> Iterator[str]:
    """Yield the texts of files, folders and data sets of the catalog, each in turn."""
    for source in sources:
        if source in CATALOG and not Path(source).exists():
            yield from (text for row in load_split(source, "train") for text in strings_of(row))
        else:
            yield from (document.text for document in read_documents(source))


def read_target(path: Path, *, like: Vocabulary) -> Vocabulary:
    """Read the tokenizer that a model moves to: a tokenizer.json, or a folder that holds one.

    The chat format stays: a model of Banyan's own brings its special tokens to a tokenizer that does not have them.
    Raises: FileError, CheckpointError if it cannot be used, or lacks what another chat format needs.
    """
    if path.is_file() and path.name != TOKENIZER_FILE:
        raise FileError(f"{path} is not called {TOKENIZER_FILE}.", hint="give the folder of a tokenizer")
    directory = path.parent if path.is_file() else path
    names, num_codes = like.task_names, like.num_image_codes
    text = read_text(directory / TOKENIZER_FILE, max_bytes=_MAX_TOKENIZER_BYTES)
    is_own_chat = like.chat.name == BANYAN.name
    if is_own_chat and not _has_special_tokens(directory):
        return Vocabulary(BytePairTokenizer.from_json(text), task_names=names, num_image_codes=num_codes)
    if not is_own_chat or all(json.dumps(name) in text for name in SPECIAL_TOKENS):
        return load_vocabulary(directory, chat=like.chat.name, task_names=names, num_image_codes=num_codes)
    foreign = read_foreign_tokenizer(directory)
    plain = Vocabulary(
        foreign.text, task_names=names, num_image_codes=num_codes, foreign=foreign, chat=foreign.chat_format
    )
    return grow_vocabulary(plain, GrowConfig(task_tokens=True)).vocabulary


def _has_special_tokens(directory: Path) -> bool:
    """Whether a tokenizer.json is more than the text tokenizer that a run keeps."""
    description = read_json(directory / TOKENIZER_FILE, max_bytes=_MAX_TOKENIZER_BYTES)
    return isinstance(description, dict) and bool(description.get("added_tokens"))


def grow_directory(
    source: Path, output: Path, config: GrowConfig, *, image_tokenizer: Path | None = None
) -> GrowthReport:
    """Write a model directory with the tokens of a config; `source` stays as it is.

    An `image_tokenizer` gives a model that draws no pictures yet as many codes as it has.
    Raises: ConfigError if there is nothing to add, or the model has an image tokenizer already.
    """
    _check_output(source, output)
    parts = read_parts(source)
    pictures = _new_pictures(parts, image_tokenizer)
    if pictures is not None:
        config = replace(config, num_image_codes=pictures.num_codes, grid_size=pictures.grid_size)
    grown = read_growth(parts.vocabulary, config)
    if not grown.names and pictures is None:
        raise ConfigError(
            f"nothing was added to {source}: there are no new tokens.",
            hint="name text (--learn), words (--word, --words) or special tokens (--special)",
        )
    model = grow_rows(load_model(source), grown, config)
    _write(parts, model, grown.vocabulary, output, pictures=pictures)
    return GrowthReport(
        output=output,
        num_before=parts.vocabulary.size,
        num_after=grown.vocabulary.size,
        num_new_tokens=len(grown.names),
        unlearned_words=grown.unlearned_words,
        num_image_codes=grown.vocabulary.num_image_codes,
    )


def move_directory(source: Path, tokenizer: Path, output: Path) -> MoveReport:
    """Write a model directory that reads another tokenizer's ids; `source` stays as it is."""
    _check_output(source, output)
    parts = read_parts(source)
    target = read_target(tokenizer, like=parts.vocabulary)
    moved: Retokenized = retokenize(load_model(source), parts.vocabulary, target)
    _write(parts, moved.model, target, output, pictures=None)
    return MoveReport(
        output=output,
        num_before=parts.vocabulary.size,
        num_after=target.size,
        num_copied=moved.num_copied,
        num_composed=moved.num_composed,
        num_unknown_special=moved.num_unknown_special,
    )


def _check_output(source: Path, output: Path) -> None:
    if output.exists():
        raise ConfigError(f"{output} is there already; nothing is written over.", hint="give another folder")
    if output.absolute().is_relative_to(source.absolute()):
        raise ConfigError(f"{output} lies inside the model {source}, all of whose files belong together.")


def _new_pictures(parts: ModelParts, path: Path | None) -> ImageTokenizer | None:
    if path is None:
        return None
    if parts.image_tokenizer is not None:
        raise ConfigError(
            f"{parts.directory} draws pictures already; their codes are those of its own image tokenizer.",
            hint="leave --image-tokenizer out",
        )
    return load_image_tokenizer(path / IMAGE_TOKENIZER_FILE if path.is_dir() else path)


def _write(
    parts: ModelParts, model: Transformer, vocabulary: Vocabulary, output: Path, *, pictures: ImageTokenizer | None
) -> None:
    """Write a model directory like another one, with other rows and another vocabulary."""
    pictures = pictures or parts.image_tokenizer
    description = replace(
        parts.description,
        chat=vocabulary.chat.name,
        image_tokenizer=describe_model((), image_tokenizer=pictures).image_tokenizer,
        parent=name_of(parts.directory),
        parent_sha256=parts.sha256,
    )
    with new_model_directory(output) as temporary:
        save_model(model, temporary, bos_id=vocabulary.bos_id, eos_ids=vocabulary.eos_ids, pad_id=vocabulary.pad_id)
        vocabulary.save(temporary)
        write_description(temporary, description)
        if pictures is not None:
            save_image_tokenizer(pictures, temporary / IMAGE_TOKENIZER_FILE)
        if (parts.directory / RECIPE_FILE).is_file():  # it says what the model has learned from
            atomic_write_bytes(temporary / RECIPE_FILE, read_bytes(parts.directory / RECIPE_FILE))
