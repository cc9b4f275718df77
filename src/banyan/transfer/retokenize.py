"""A model moved to another tokenizer: tokens that both have keep their rows, others are composed of the old pieces.

Source: Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression" (FVT): exact copies of shared tokens,
and for a new one the mean of the rows of the pieces that the old tokenizer cuts it into.
"""

from __future__ import annotations

from dataclasses import dataclass

from banyan.model.transformer import Transformer
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.transfer.embedding_rows import RowPlan, with_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Retokenized:
    """A model that reads the ids of another tokenizer."""

    model: Transformer
    num_copied: int  # text tokens that both tokenizers have
    num_composed: int  # text tokens made of old pieces
    num_special: int  # special tokens that both have
    num_unknown_special: int  # special tokens that only the new one has; they begin as the mean of all rows


def retokenize(model: Transformer, old: Vocabulary, new: Vocabulary, *, seed: int = 0) -> Retokenized:
    """Return the same trunk with rows for another vocabulary; image codes keep theirs.

    The trunk's tensors are shared with the model that was given. Tables of n-grams begin anew, for ids name their rows.
    """
    text = _text_pieces(old, new)
    special = _special_rows(old, new)
    plan = RowPlan(
        text_size=new.text_size,
        pieces={**text, **special},
        num_image_codes=model.config.num_image_codes,
        grid_size=model.config.grid_size,
    )
    num_copied = sum(len(pieces) == 1 for pieces in text.values())
    moved = with_rows(model, plan, seed=seed)
    moved.heads.forget_ngrams()
    return Retokenized(
        model=moved,
        num_copied=num_copied,
        num_composed=len(text) - num_copied,
        num_special=len(special),
        num_unknown_special=len(set(new.layout.special.control_ids.values()) - special.keys()),
    )


def _text_pieces(old: Vocabulary, new: Vocabulary) -> dict[int, tuple[int, ...]]:
    """Return the old pieces of every new text token."""
    same = {
        old.text.token_bytes(token_id): token_id for token_id in range(old.text.vocab_size) if old.is_text(token_id)
    }
    found: dict[int, tuple[int, ...]] = {}
    for token_id in filter(new.is_text, range(new.text.vocab_size)):
        data = new.text.token_bytes(token_id)
        if data in same:
            found[token_id] = (same[data],)
        elif (text := _as_text(data)) is None:  # a part of a character
            found[token_id] = tuple(same[bytes([byte])] for byte in data)
        else:
            found[token_id] = tuple(old.encode_inside(text))
    return found


def _as_text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _special_rows(old: Vocabulary, new: Vocabulary) -> dict[int, tuple[int, ...]]:
    """Return the old row of every special token that both have: by its name, or by what it is for."""
    same, now = old.layout.special.control_ids, new.layout.special.control_ids
    rows: dict[int, tuple[int, ...]] = {token_id: (same[name],) for name, token_id in now.items() if name in same}
    for before, after in ((old.bos_id, new.bos_id), (old.eos_id, new.eos_id), (old.pad_id, new.pad_id)):
        rows.setdefault(after, (before,))
    return rows
