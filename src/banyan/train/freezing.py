"""Which weights of a model may learn: all that the tasks of a run reach, or the heads and the last blocks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from banyan.core.errors import ConfigError
from banyan.model.transformer import Transformer


def freeze_idle_parts(
    model: Transformer, *, heads: Collection[str], answers_in_words: bool = True, draws: bool = True
) -> None:
    """Freeze what no task of a run reaches: other heads than these, an output layer of its own, picture cells."""
    for spec in model.head_specs:
        if spec.name not in heads:
            model.heads[spec.name].requires_grad_(False)
    if model.word_head is not None and not answers_in_words:
        model.word_head.requires_grad_(False)
    if model.grid_embedding is not None and not draws:
        model.grid_embedding.requires_grad_(False)


def freeze_trunk(model: Transformer, *, last_blocks: int, without_head: Sequence[str] = ()) -> None:
    """Freeze everything below the last blocks; these, the final norm above them, and the heads go on learning.

    `without_head` names the tasks that answer in words: only blocks can learn them.
    Raises: ConfigError if there are not so many blocks, or nothing would learn a task.
    """
    num_layers = model.config.num_layers
    if last_blocks > num_layers:
        raise ConfigError(
            f"transfer.last_blocks={last_blocks} are more blocks than the parent has ({num_layers}).",
            hint=f"give at most {num_layers}, or use transfer.mode=full",
        )
    if without_head and not last_blocks:
        raise ConfigError(
            f"transfer.mode=head leaves nothing to learn task {without_head[0]} with: it answers in words, not through "
            "a head, and transfer.last_blocks is 0.",
            hint="set transfer.last_blocks=1 or more, or use transfer.mode=full",
        )
    for name, parameter in model.named_parameters():
        if not name.startswith("heads."):
            parameter.requires_grad_(_is_in_last_blocks(name, first=num_layers - last_blocks, num_layers=num_layers))


def _is_in_last_blocks(name: str, *, first: int, num_layers: int) -> bool:
    if name.startswith("final_norm."):
        return first < num_layers
    parts = name.split(".")
    return parts[0] == "blocks" and int(parts[1]) >= first
