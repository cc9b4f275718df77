"""`banyan export`: a model directory → a folder that other tools open, with a card that says what it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from banyan.core.errors import ConfigError
from banyan.core.files import atomic_directory, atomic_write_text, check_room, nearest_existing
from banyan.core.model_directory import WEIGHTS_FILE, name_of
from banyan.core.types import MaskKind
from banyan.data.languages import language_code
from banyan.model.checkpoint import read_model_description
from banyan.model.tensor_file import open_tensors
from banyan.runtime.adapters import is_adapter
from banyan.runtime.loading import ModelParts, read_parts
from banyan.tasks.base import Task
from banyan.tasks.dialogue import Dialogue
from banyan.tasks.image_generation import ImageGeneration
from banyan.tasks.translation import Translation
from banyan.transfer.export_architectures import exportable_architecture
from banyan.transfer.export_format import ExportFormat, ExportSource, WeightType
from banyan.transfer.export_formats import EXPORT_FORMATS
from banyan.transfer.foreign_model import check_tensors, expected_shapes
from banyan.transfer.model_card import CARD_FILE, CardFacts, TaskLine, model_card
from banyan.workflows.measured_scores import measured_scores
from banyan.workflows.merging import merge_adapter
from banyan.workflows.reporter import Reporter

_ROOM_BESIDE_WEIGHTS = 16 << 20  # bytes: tokenizer, configs, card


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """What was written, and what stayed behind."""

    model: Path
    directory: Path
    format: str
    architecture: str
    weight_type: str
    num_parameters: int
    files: dict[str, int]  # name → bytes
    left_behind: tuple[str, ...]  # what other tools cannot compute
    remarks: tuple[str, ...]


def export_model(
    model: Path,
    directory: Path,
    *,
    format: str,
    weight_type: str | None = None,
    licence: str | None = None,
    adapter: Path | None = None,
    reporter: Reporter,
) -> ExportReport:
    """Write a model for other tools, whole or not at all; with an adapter, as it answers under that.

    Raises: ConfigError if the folder exists, or the format cannot express the model; CheckpointError or FileError if
    the model cannot be read; SpaceError if there is no room; MissingExtraError.
    """
    chosen = EXPORT_FORMATS[format]
    written_as = parse_weight_type(format, chosen, weight_type)
    if directory.exists() or directory.is_symlink():
        raise ConfigError(f"{directory} exists; an export begins a new folder.", hint="name another folder")
    reporter.stage("check")
    with _one_model(model, adapter, near=directory) as whole:
        parts = read_parts(whole)
        source = _source(parts, name=_name(model, adapter), licence=licence)
        chosen.check(source)
        left_behind = tuple(stays_behind(parts))
        check_room(nearest_existing(directory), num_bytes=chosen.num_bytes(source, written_as) + _ROOM_BESIDE_WEIGHTS)
        reporter.stage("write")
        facts = _card_facts(parts, source, format=format, weight_type=written_as, left_behind=left_behind)
        facts = replace(facts, scores=measured_scores(adapter or model))
        with atomic_directory(directory) as temporary:
            chosen.write(source, temporary, weight_type=written_as, progress=reporter.progress)
            atomic_write_text(temporary / CARD_FILE, model_card(facts))
            files = {path.name: path.stat().st_size for path in sorted(temporary.iterdir())}
    return ExportReport(
        model=model,
        directory=directory,
        format=format,
        architecture=source.architecture,
        weight_type=facts.weight_type,
        num_parameters=facts.num_parameters,
        files=files,
        left_behind=left_behind,
        remarks=chosen.remarks(source, written_as),
    )


@contextmanager
def _one_model(model: Path, adapter: Path | None, *, near: Path) -> Iterator[Path]:
    """Give the folder of the model that is to go out; a merged one lies there only as long as it is needed."""
    if is_adapter(model):
        raise ConfigError(
            f"{model} is an adapter, which other tools open beside its model only.",
            hint=f"name the model, and the adapter with --merge {model}",
        )
    if adapter is None:
        yield model
        return
    if not is_adapter(adapter):
        raise ConfigError(f"--merge {adapter} is no adapter.", hint="name the folder of one: docs/guides/lora.md")
    merged = near.with_name(f"{near.name}.merged-{os.getpid()}")
    try:
        merge_adapter(model, adapter, merged)
        yield merged
    finally:
        shutil.rmtree(merged, ignore_errors=True)


def _name(model: Path, adapter: Path | None) -> str:
    return name_of(model) if adapter is None else f"{name_of(model)}-{name_of(adapter)}"


def parse_weight_type(name: str, chosen: ExportFormat, asked: str | None) -> WeightType | None:
    """Return the type of weight a user named.

    Raises: ConfigError if the format does not have it.
    """
    known = [weight_type.value for weight_type in chosen.types if weight_type is not None]
    if asked is not None and asked not in known:
        raise ConfigError(f"--type={asked} is not known to --format {name}; use one of {', '.join(known)}.")
    return None if asked is None else WeightType(asked)


def stays_behind(parts: ModelParts) -> Iterator[str]:
    """Say what no other tool can compute, kind by kind."""
    tasks = parts.tasks.values()
    heads = [task.name for task in tasks if task.head is not None]
    drawn = [task.name for task in tasks if isinstance(task, ImageGeneration)]
    masked = [t.name for t in tasks if t.reading is not MaskKind.CAUSAL and t.name not in (*heads, *drawn)]
    if heads:
        yield f"answers read from a head of their own: {', '.join(heads)}"
    if drawn or parts.image_tokenizer is not None:
        yield f"pictures, their codes and their tokenizer: {', '.join(drawn) or 'no task draws'}"
    if masked:
        yield f"prompts that are read in both directions: {', '.join(masked)}"


def _travels(task: Task[object]) -> bool:
    return task.head is None and task.reading is MaskKind.CAUSAL and not isinstance(task, ImageGeneration)


def _source(parts: ModelParts, *, name: str, licence: str | None) -> ExportSource:
    place = str(parts.directory)
    config, _ = read_model_description(parts.directory)
    architecture = exportable_architecture(place, config)
    weights = open_tensors(parts.directory, WEIGHTS_FILE)
    check_tensors(weights, expected_shapes(config, num_tensors=len(weights), place=place), place=place)
    return ExportSource(
        directory=parts.directory,
        name=name,
        config=config,
        architecture=architecture,
        vocabulary=parts.vocabulary,
        weights=weights,
        licence=licence,
        languages=_languages(parts),
    )


def _languages(parts: ModelParts) -> Sequence[str]:
    """Return the codes of the languages that the model's translations name; no others are known."""
    tasks = [task for task in parts.tasks.values() if isinstance(task, Translation)]
    fixed = [name for task in tasks for name in (task.source_language, task.target_language) if name]
    taught = [name for task in tasks for direction in task.directions for name in direction.split(">")]
    codes = map(language_code, fixed + taught)
    return tuple(sorted({code for code in codes if code}))


def _came_talking(parts: ModelParts) -> bool:
    return parts.vocabulary.foreign is not None and parts.vocabulary.chat.has_roles and not parts.tasks


def _card_facts(
    parts: ModelParts,
    source: ExportSource,
    *,
    format: str,
    weight_type: WeightType | None,
    left_behind: Sequence[str],
) -> CardFacts:
    chosen = EXPORT_FORMATS[format]
    description = parts.description
    return CardFacts(
        name=source.name,
        architecture=source.architecture,
        weight_type=chosen.types[weight_type].format(stored=source.stored_as),
        num_parameters=source.num_parameters,
        max_seq_len=source.config.max_seq_len,
        format=format,
        loading=chosen.loading(source, weight_type),
        licence=source.licence,
        languages=source.languages,
        tasks=[TaskLine(name=t.name, kind=t.kind, travels=_travels(t)) for t in parts.tasks.values()],
        left_behind=left_behind,
        remarks=chosen.remarks(source, weight_type),
        dataset_fingerprint=description.dataset_fingerprint,
        recipe_sha256=description.recipe_sha256,
        parent=description.parent,
        can_talk=any(isinstance(task, Dialogue) for task in parts.tasks.values()) or _came_talking(parts),
    )
