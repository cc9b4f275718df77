"""The proof at toy size: two steps a run, a few pictures of each set, so that a test can go all the way in seconds."""

from __future__ import annotations

from proofs.pictures.cells import Sizes

_FEW = 150  # pictures of a set
_SHORT = ("minutes=null", "train.steps=2", "train.micro_batch_seqs=4")

QUICK = Sizes(
    num_drawn=8,
    num_pictures=_FEW,
    changes={
        "tokenizer": (*_SHORT, f"data.max_examples={_FEW}", "tokenizer.widths=[8, 16]", "evaluation.num_validations=1"),
        "judge": (f"data.max_examples={_FEW}", "training.epochs=1", "training.min_steps=1", "width=8"),
        "model": (
            *_SHORT,
            f"tasks.draw.data.max_examples={_FEW}",
            "train.accumulation_steps=1",
            "model={preset: banyan-nano, num_layers: 1}",
            "tokenizer={vocab_size: 600}",
            f"image_tokenizer.copies_up_to={2 * _FEW}",
            "evaluation={num_validations: 1, max_validation_examples: 2, max_test_examples: 2}",
        ),
    },
)
