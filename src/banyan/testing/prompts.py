"""A tiny model that can do everything, and prompts of every kind for it."""

from __future__ import annotations

from banyan.core.types import (
    Decoding,
    HeadKind,
    HeadSpec,
    ImageGrid,
    LabelSet,
    MaskKind,
    Prompt,
    Span,
    Tags,
    Text,
)
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.vocabulary import tiny_vocabulary

NUM_CODES = 16
GRID_SIZE = 3
LABELS = ("sun", "moon", "star")
TAG_LABELS = ("O", "B-x", "I-x")
HEADS = (
    HeadSpec(name="sky", kind=HeadKind.CLASSIFICATION, labels=LABELS),
    HeadSpec(name="names", kind=HeadKind.TAGGING, labels=TAG_LABELS),
    HeadSpec(name="answers", kind=HeadKind.SPAN),
)
VOCABULARY = tiny_vocabulary(("a", "b"), NUM_CODES)
STOP = (VOCABULARY.eos_id,)


def make_model(*, seed: int = 0, max_seq_len: int = 48) -> Transformer:
    """Return a model with text, pictures and one head of each kind."""
    config = tiny_model_config(
        vocab_size=VOCABULARY.size, num_image_codes=NUM_CODES, grid_size=GRID_SIZE, max_seq_len=max_seq_len
    )
    return tiny_model(config, HEADS, seed=seed, std=0.3)


def text_prompt(text: str, *, max_tokens: int = 8, mask: MaskKind = MaskKind.CAUSAL) -> Prompt:
    """Ask for a continuation."""
    ids = (VOCABULARY.bos_id, *VOCABULARY.encode(text))
    return Prompt(task="a", token_ids=ids, mask=mask, decoding=Text(max_tokens=max_tokens, stop_token_ids=STOP))


def picture_prompt(text: str) -> Prompt:
    """Ask for a picture."""
    ends = (VOCABULARY.sep_id, VOCABULARY.image_id)
    return Prompt(
        task="a",
        token_ids=(VOCABULARY.bos_id, *VOCABULARY.encode(text), *ends),
        mask=MaskKind.PREFIX,
        decoding=ImageGrid(grid_size=GRID_SIZE, first_code_id=VOCABULARY.first_image_id, num_codes=NUM_CODES),
        unconditional_token_ids=(VOCABULARY.bos_id, VOCABULARY.null_id, *ends),
    )


def scoring_prompts(text: str) -> list[Prompt]:
    """Ask every kind of question with a closed answer."""
    ids = (VOCABULARY.bos_id, *VOCABULARY.encode(text), VOCABULARY.sep_id)
    words = tuple((*VOCABULARY.encode(label), VOCABULARY.eos_id) for label in LABELS)
    decodings: list[tuple[MaskKind, Decoding]] = [
        (MaskKind.PREFIX, LabelSet(labels=LABELS, head="sky")),
        (MaskKind.PREFIX, LabelSet(labels=LABELS, label_token_ids=words)),
        (MaskKind.CAUSAL, LabelSet(labels=LABELS, label_token_ids=words, length_normalised=True)),
        (MaskKind.FULL, Tags(labels=TAG_LABELS, head="names", positions=tuple(range(1, len(ids) - 1)))),
        (MaskKind.PREFIX, Span(head="answers", first=2, last=len(ids) - 2, may_be_empty=True)),
    ]
    return [Prompt(task="a", token_ids=ids, mask=mask, decoding=decoding) for mask, decoding in decodings]
