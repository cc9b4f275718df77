"""The tokenizers of a run: from a file, from its shards, from its parent, or trained on its own data and kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from banyan.core.errors import CheckpointError, ConfigError, DataError
from banyan.core.files import atomic_write_text, read_text, sha256_of
from banyan.core.model_directory import IMAGE_TOKENIZER_FILE, TOKENIZER_FILE
from banyan.core.types import Row
from banyan.data.checking import strings_of
from banyan.data.corpus import CORPUS_FILE, read_report
from banyan.tasks.captions import LABEL_ALONE, captions_of
from banyan.tasks.config import TaskConfig
from banyan.tasks.picture_uris import is_data_uri
from banyan.tasks.rows import rename_columns
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.tokenizers.images import ImageTokenizer, load_image_tokenizer
from banyan.tokenizers.vocabulary_loading import is_grown
from banyan.workflows.datasets import Splits
from banyan.workflows.parent import Parent
from banyan.workflows.pictures import train_image_tokenizer, trained_image_tokenizer_sha256
from banyan.workflows.recipe import Recipe

_TEXT_KEY, _IMAGE_KEY = "key.txt", "image_key.txt"  # beside a tokenizer: what it was trained on, and to which size


def _read_tokenizer(path: Path) -> BytePairTokenizer:
    if path.is_dir():
        path = path / TOKENIZER_FILE
    try:
        tokenizer = BytePairTokenizer.from_json(read_text(path))
    except CheckpointError as error:
        raise CheckpointError(f"tokenizer.path={path}: {error.message}", hint=error.hint) from error
    if is_grown(path):
        raise CheckpointError(
            f"tokenizer.path={path} was grown: special tokens stand among its words, and only its model reads it.",
            hint="begin with that model: transfer.parent",
        )
    return tokenizer


def _check_tokenizer(path: Path, prepared: Path) -> None:
    """Make sure that shards were cut by the tokenizer of the run.

    Raises: DataError.
    """
    expected = read_report(prepared / CORPUS_FILE).tokenizer_sha256
    if expected and expected != sha256_of(path / TOKENIZER_FILE if path.is_dir() else path):
        raise DataError(
            f"the shards of {prepared} were cut by another tokenizer than {path}.",
            hint="leave tokenizer.path out where the shards are all a run learns from, or prepare them again with it",
        )


def run_text_tokenizer(recipe: Recipe, splits: dict[str, Splits], directory: Path, *, key: str) -> BytePairTokenizer:
    """Return the recipe's tokenizer, that of its prepared shards, or one trained on its texts and kept in `directory`.

    Raises: FileError, CheckpointError for a tokenizer that cannot be used; DataError for shards cut by another one.
    """
    prepared = [split.prepared for split in splits.values() if split.prepared is not None]
    path = prepared[0] if prepared and recipe.tokenizer.path is None else recipe.tokenizer.path
    if path is not None:
        tokenizer = _read_tokenizer(Path(path))
        for corpus in prepared:
            _check_tokenizer(Path(path), corpus)
        return tokenizer
    marker = _text_marker(recipe, key)
    if _has_marker(directory / _TEXT_KEY, marker):
        return BytePairTokenizer.from_json(read_text(directory / TOKENIZER_FILE))
    texts = _in_turn([_said(task, splits[task.name].train) for task in recipe.tasks])
    tokenizer = BytePairTokenizer.train(
        _first_bytes(texts, recipe.tokenizer.max_training_bytes), vocab_size=recipe.tokenizer.vocab_size
    )
    atomic_write_text(directory / TOKENIZER_FILE, tokenizer.to_json())
    atomic_write_text(directory / _TEXT_KEY, marker)
    return tokenizer


def run_image_tokenizer(
    recipe: Recipe, splits: dict[str, Splits], directory: Path, *, key: str, parent: Parent | None
) -> ImageTokenizer | None:
    """Return the parent's image tokenizer, or one trained on the recipe's pictures and kept in `directory`, if any.

    Raises: ConfigError, DataError if a task draws, and its pictures or the parent's vocabulary cannot serve it.
    """
    if parent is not None and not parent.needs_image_tokenizer(recipe.tasks):
        return parent.parts.image_tokenizer
    tokenizer = _trained_image_tokenizer(recipe, splits, directory, key=key)
    if parent is not None and tokenizer is not None and tokenizer.num_codes != parent.vocabulary.num_image_codes:
        raise ConfigError(
            f"image_tokenizer.num_codes={tokenizer.num_codes} do not fit the vocabulary, which has "
            f"{parent.vocabulary.num_image_codes} image codes.",
            hint="give transfer.grow_vocabulary.num_image_codes and image_tokenizer.num_codes the same number",
        )
    return tokenizer


def _trained_image_tokenizer(
    recipe: Recipe, splits: dict[str, Splits], directory: Path, *, key: str
) -> ImageTokenizer | None:
    marker = _image_marker(recipe, key)
    if _has_marker(directory / _IMAGE_KEY, marker):
        return load_image_tokenizer(directory / IMAGE_TOKENIZER_FILE)
    rows = {name: split.train for name, split in splits.items()}
    tokenizer = train_image_tokenizer(rows, recipe.tasks, recipe.image_tokenizer, directory, seed=recipe.seed)
    if tokenizer is not None:
        atomic_write_text(directory / _IMAGE_KEY, marker)
    return tokenizer


def claim_tokenizers(recipe: Recipe, directory: Path, *, key: str) -> None:
    """Write down that the tokenizers of a run serve the data of this key, too."""
    if (directory / TOKENIZER_FILE).is_file():
        atomic_write_text(directory / _TEXT_KEY, _text_marker(recipe, key))
    if (directory / IMAGE_TOKENIZER_FILE).is_file():
        atomic_write_text(directory / _IMAGE_KEY, _image_marker(recipe, key))


def _has_marker(path: Path, marker: str) -> bool:
    return path.is_file() and read_text(path) == marker


def _text_marker(recipe: Recipe, key: str) -> str:
    return f"{key} {recipe.tokenizer.vocab_size} {recipe.tokenizer.max_training_bytes}"


def _image_marker(recipe: Recipe, key: str) -> str:
    wanted = recipe.image_tokenizer
    if wanted.path is not None:  # whatever the pictures are
        return f"trained {trained_image_tokenizer_sha256(wanted.path)}"
    return f"{key} {wanted.kind} {wanted.image_size} {wanted.patch_size} {wanted.num_codes} {recipe.seed}"


def _said(task: TaskConfig, rows: Sequence[Row]) -> Iterator[str]:
    """Yield every text of a task's rows, and the captions that its templates and names make of them."""
    for row in rows:
        yield from (text for text in strings_of(row) if not is_data_uri(text))
        if task.captions or task.names:
            with suppress(DataError):  # a row without a label is found out where it is learned from
                named = rename_columns(row, task.data.columns)
                yield from captions_of(named, templates=task.captions or LABEL_ALONE, names=task.names or {})


def _in_turn(streams: Sequence[Iterator[str]]) -> Iterator[str]:
    """Yield from every stream in turn, so that a large first task does not use up the sample."""
    waiting = list(streams)
    while waiting:
        for stream in list(waiting):
            text = next(stream, None)
            if text is None:
                waiting.remove(stream)
            else:
                yield text


def _first_bytes(texts: Iterable[str], limit: int) -> Iterator[str]:
    used = 0
    for text in texts:
        if used >= limit:
            return
        used += len(text.encode())
        yield text
