import numpy as np
import torch

from banyan.core.types import MaskKind, TokenSequence
from banyan.data.batch import Batch, collate
from banyan.testing.faults import collapse_codes
from banyan.train.health.codes import CodeUse

FIRST, NUM = 100, 32


def pictures(seed: int) -> Batch:
    codes = torch.from_numpy(np.random.default_rng(seed).integers(FIRST, FIRST + NUM, 64)).tolist()
    sequence = TokenSequence(
        task="draw", token_ids=tuple(codes), targets=tuple(codes), loss_weights=(1.0,) * 64, mask=MaskKind.CAUSAL
    )
    return collate([[sequence]], seq_len=64, pad_id=0, task_names=("draw",))


def test_pictures_that_collapse_onto_two_codes_are_found_within_a_few_batches() -> None:
    use, collapse = CodeUse(first_image_id=FIRST, num_codes=NUM), collapse_codes(first_image_id=FIRST)
    assert [use.look(pictures(seed)) for seed in range(100)] == [None] * 100
    found = [use.look(collapse(pictures(seed), seed)) for seed in range(10)]
    assert [number for number, finding in enumerate(found) if finding] == [3]


def test_a_codebook_that_was_never_used_is_found_too() -> None:
    use, collapse = CodeUse(first_image_id=FIRST, num_codes=NUM), collapse_codes(first_image_id=FIRST)
    found = [finding for seed in range(40) if (finding := use.look(collapse(pictures(seed), seed)))]
    assert [finding.signal for finding in found] == ["codebook_collapse"]


def test_batches_without_pictures_say_nothing() -> None:
    use = CodeUse(first_image_id=1000, num_codes=NUM)
    assert all(use.look(pictures(seed)) is None for seed in range(30))
