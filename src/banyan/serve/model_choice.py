"""Which models a server holds, and opening them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from banyan.core.errors import ConfigError
from banyan.infer.engine import PREFIX_CACHE_BYTES
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.serve.local_model import LocalModel
from banyan.serve.rules import MAX_MODEL_NAME_CHARACTERS
from banyan.store.sql_store import SqlStore

PREFIX_CACHE_MIB = PREFIX_CACHE_BYTES >> 20  # of each model, where nobody says otherwise


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelChoice:
    """Where the models of a server lie, and how they are opened."""

    directory: Path  # of the one that answers where a request names none
    name: str | None = None  # in the API; None: its folder's
    adapters: Mapping[str, Path] = field(default_factory=dict)  # of that model, by name
    others: Mapping[str, Path] = field(default_factory=dict)  # models beside it, by name
    base: Path | None = None  # where the model of an adapter lies, if `directory` is one and that has moved
    device: str = "auto"
    num_slots: int = 16  # of each model
    prefix_cache_bytes: int = PREFIX_CACHE_BYTES  # of each model, for beginnings of prompts; 0: none
    max_held_tokens: int | None = None  # of each model, in all answers in the making; None: what fits into the slots
    max_lookup_tokens: int = 0  # guessed ahead of each answer; 0: none
    root: Path | None = None  # folder whose models may be opened over HTTP; None: none

    @property
    def how(self) -> dict[str, Any]:
        """How each model is opened."""
        names = ("device", "num_slots", "prefix_cache_bytes", "max_held_tokens", "max_lookup_tokens")
        return {name: getattr(self, name) for name in names}


def open_models(choice: ModelChoice) -> list[LocalModel]:
    """Open all models and let each answer once, so that the first request waits for nothing; the main one comes first.

    Raises: ConfigError for a name that two of them have; FileError or CheckpointError if one cannot be opened; those
    that had been opened are closed then.
    """
    opened: list[LoadedModel] = []
    try:
        main = load(choice.directory, base=choice.base, **choice.how)
        opened.append(main)
        for adapter, directory in choice.adapters.items():
            main.load_adapter(adapter, directory)
        model = LocalModel(main, name=choice.name)
        models = [model, *(model.under(adapter) for adapter in choice.adapters)]
        for name, directory in choice.others.items():
            opened.append(load(directory, **choice.how))
            models.append(LocalModel(opened[-1], name=name))
        _check_names(models)
        for loaded in opened:
            loaded.generate("a", max_tokens=1)
    except BaseException:
        for loaded in opened:
            loaded.close()
        raise
    return models


def _check_names(models: Sequence[LocalModel]) -> None:
    names = [model.facts.name for model in models]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two models are called {twice!r}; requests could not tell them apart.", hint="use --name")
    for name in names:
        if "/" in name or not name.isprintable() or len(name) > MAX_MODEL_NAME_CHARACTERS:
            raise ConfigError(
                f"a model cannot be called {name[:100]!r}: a name stands in addresses and requests, so it must have at "
                f"most {MAX_MODEL_NAME_CHARACTERS} printable characters and no /.",
                hint="use --name",
            )


def open_and_register(choice: ModelChoice, store: SqlStore) -> list[LocalModel]:
    """Open all models and write them into the store, before they answer anybody.

    Raises: as `open_models`.
    """
    models = open_models(choice)
    for model in models:
        _register(model, store)
    return models


def _register(model: LocalModel, store: SqlStore) -> None:
    facts = model.facts
    store.add_model(
        facts.name,
        sha256=facts.sha256,
        tasks=tuple(model.tasks),
        num_parameters=facts.num_parameters,
        max_seq_len=facts.max_seq_len,
    ).result()
