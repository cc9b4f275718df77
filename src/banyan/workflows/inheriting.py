"""A child's first weights: those of its parent, with fresh rows and heads for what is new, and some of them frozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from banyan.model.transformer import Transformer
from banyan.tasks.base import Task
from banyan.tasks.image_generation import ImageGeneration
from banyan.tokenizers.banyan_layout import BanyanLayout
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.train.freezing import freeze_idle_parts, freeze_trunk
from banyan.train.layer_rates import LayerRates
from banyan.workflows.adapting import add_adapter
from banyan.workflows.child_sizes import child_config
from banyan.workflows.material import Material
from banyan.workflows.parent import Parent
from banyan.workflows.recipe import Recipe


def new_child(recipe: Recipe, material: Material, parent: Parent) -> Transformer:
    """Return a model with its parent's weights, ready to learn in the recipe's mode.

    Raises: ConfigError if the recipe asks for sizes the parent cannot give, or for nothing to learn.
    """
    source = parent.read_weights()
    heads = tuple(task.head for task in material.known_tasks if task.head is not None)
    generator = torch.Generator().manual_seed(recipe.seed)
    child = Transformer(child_config(recipe, source.config), heads)
    child.init_weights(generator)
    child.load_state_dict({**child.state_dict(), **_inherited(child, source)})
    if recipe.transfer.lora is None:
        _give_task_rows(child, source, vocabulary=material.vocabulary, before=parent.vocabulary, generator=generator)
    else:  # under an adapter the model answers with its own rows
        add_adapter(recipe, child, recipe.transfer.lora, parent=source.config)
    _freeze(recipe, child, material.tasks)
    return child


def _inherited(child: Transformer, source: Transformer) -> dict[str, Tensor]:
    """Return the weights that a child takes over, by their names in the child: all but those of heads it lacks."""
    weights = {name: weight for name, weight in source.state_dict().items() if not name.startswith("heads.")}
    for place, spec in enumerate(child.head_specs):
        if spec in source.head_specs:
            layer = source.heads[spec.name].state_dict()
            weights |= {f"heads.layers.{place}.{name}": weight for name, weight in layer.items()}
    return weights


@torch.no_grad()
def _give_task_rows(
    child: Transformer,
    source: Transformer,
    *,
    vocabulary: Vocabulary,
    before: Vocabulary,
    generator: torch.Generator,
) -> None:
    """Lay the row of every task token where the child reads it; a new task's is as large as others, and random."""
    if not isinstance(vocabulary.layout, BanyanLayout):  # tasks are named in words
        return
    for table, old in _tables(child, source):
        size = float(old[: before.text.vocab_size].std())
        for name in vocabulary.task_names:
            row = table[vocabulary.task_id(name)]
            if name in before.task_names:
                row.copy_(old[before.task_id(name)])
            else:
                row.copy_(torch.randn(row.shape, generator=generator) * size)


def _tables(child: Transformer, source: Transformer) -> list[tuple[Tensor, Tensor]]:
    tables = [(child.embedding.weight, source.embedding.weight)]
    if child.word_head is not None and source.word_head is not None:
        tables.append((child.word_head.weight, source.word_head.weight))
    return tables


def _freeze(recipe: Recipe, model: Transformer, tasks: Sequence[Task[Any]]) -> None:
    """Let only those weights learn that the recipe's mode lets learn.

    Raises: ConfigError if that is none for some task.
    """
    without_head = [task.name for task in tasks if task.head is None]
    freeze_idle_parts(
        model,
        heads=[task.head.name for task in tasks if task.head is not None],
        answers_in_words=bool(without_head),
        draws=any(isinstance(task, ImageGeneration) for task in tasks),
    )
    if recipe.transfer.mode == "head" and recipe.transfer.lora is None:
        freeze_trunk(model, last_blocks=recipe.transfer.last_blocks, without_head=without_head)


def layer_rates_of(recipe: Recipe, model: Transformer) -> LayerRates | None:
    """Return how the layers differ in their learning; None: they all learn alike."""
    transfer = recipe.transfer
    if transfer.layer_decay == 1 and not transfer.unfreeze_every:
        return None
    return LayerRates(
        num_layers=model.config.num_layers, decay=transfer.layer_decay, unfreeze_every=transfer.unfreeze_every
    )
