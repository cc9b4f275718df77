"""A model with another vocabulary: every new row is made of old ones, and the trunk stays as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from banyan.model.transformer import Transformer


@dataclass(frozen=True, kw_only=True, slots=True)
class RowPlan:
    """Where every row of a vocabulary comes from."""

    text_size: int  # text, special and unused rows
    pieces: Mapping[int, Sequence[int]]  # id → old ids; one is copied, of several the mean is taken
    num_image_codes: int  # in all; those the model has keep their rows
    grid_size: int  # rows = columns of a picture; 0: no pictures


def with_rows(model: Transformer, plan: RowPlan, *, seed: int = 0) -> Transformer:
    """Return the same trunk and heads with the rows of the plan; their tensors are shared, not copied.

    A row that the plan does not name gets the mean of all text rows, whose probability is never above the mean of
    theirs. New image codes and picture cells are drawn around the mean, with the deviation of the text rows.
    Source: Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models" (the mean); Gee et al. 2022,
    "Fast Vocabulary Transfer for Language Model Compression" (a new token is the mean of its old pieces).
    """
    config = dataclasses.replace(
        model.config,
        vocab_size=plan.text_size + plan.num_image_codes,
        num_image_codes=plan.num_image_codes,
        grid_size=plan.grid_size,
    )
    generator = torch.Generator().manual_seed(seed)
    state = dict(model.state_dict())
    with torch.device("meta"):
        result = Transformer(config, model.head_specs)
    for name in ("embedding.weight", "word_head.weight"):
        if name in state:
            state[name] = _table(state[name], plan, num_old_text=model.config.text_vocab_size, generator=generator)
    if plan.grid_size != model.config.grid_size:
        state.pop("grid_embedding.weight", None)
        if plan.grid_size:
            text = state["embedding.weight"][: plan.text_size]
            cells = _draw(text, config.num_grid_cells, generator=generator) - text.float().mean(dim=0)
            state["grid_embedding.weight"] = cells.to(text.dtype)
    result.load_state_dict(state, assign=True)
    return result.requires_grad_(True).train(model.training)


def _table(old_VD: Tensor, plan: RowPlan, *, num_old_text: int, generator: torch.Generator) -> Tensor:
    text, codes = old_VD[:num_old_text], old_VD[num_old_text:]
    rows = text.float().mean(dim=0).to(text.dtype).repeat(plan.text_size, 1)
    copied = {token_id: pieces[0] for token_id, pieces in plan.pieces.items() if len(pieces) == 1}
    rows[list(copied)] = text[list(copied.values())]
    composed = {token_id: pieces for token_id, pieces in plan.pieces.items() if len(pieces) > 1}
    if composed:
        rows[list(composed)] = _means(text, list(composed.values()))
    kept = codes[: plan.num_image_codes]
    drawn = _draw(text, plan.num_image_codes - len(kept), generator=generator)
    return torch.cat((rows, kept, drawn.to(rows.dtype)))


def _means(rows_VD: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Return the mean row of each group of ids."""
    flat = torch.tensor([token_id for group in groups for token_id in group], device=rows_VD.device)
    lengths = torch.tensor([0, *[len(group) for group in groups[:-1]]], device=rows_VD.device)
    return F.embedding_bag(flat, rows_VD.float(), lengths.cumsum(0), mode="mean").to(rows_VD.dtype)


def _draw(rows_VD: Tensor, num: int, *, generator: torch.Generator) -> Tensor:
    """Draw rows around the mean of others, each dimension with their deviation."""
    rows = rows_VD.float()
    noise = torch.randn(num, rows.shape[1], generator=generator).to(rows.device)
    return rows.mean(dim=0) + noise * rows.std(dim=0)
