from collections.abc import Sequence
from typing import Any

import numpy as np

from banyan.core.types import TokenSequence
from banyan.data.loader import TaskRows
from banyan.data.sequences import ExampleSequences
from banyan.tasks.augmentation.augmenter import Augmenter, build_lexicon
from banyan.tasks.augmentation.config import Augmentation
from banyan.tasks.augmentation.sequences import AugmentedSequences
from banyan.testing.tasks import TASKS, VOCABULARY

TOPIC = TASKS["classification"]
EXAMPLES = [TOPIC.parse({"text": f"tree {n} has {n + 3} roots, 一棵树", "label": "tree"}) for n in range(20)]
SEQUENCES = [TOPIC.render(example, VOCABULARY, max_tokens=64) for example in EXAMPLES]


def augmented(*, max_tokens: int = 64, weigh: Any = lambda sequence: sequence, **methods: float) -> Any:
    augmenter = Augmenter(TOPIC, Augmentation(**(methods or {"swap": 0.5})), build_lexicon(TOPIC, EXAMPLES))
    sizes = {"vocabulary": VOCABULARY, "max_tokens": max_tokens}
    return AugmentedSequences(TOPIC, EXAMPLES, SEQUENCES, augmenter=augmenter, weigh=weigh, **sizes)


def rows_of(
    source: Any, num: int, *, start: tuple[int, int] = (0, 0), seq_len: int = 64
) -> list[Sequence[TokenSequence]]:
    rows = TaskRows(source, seed=3, stream=0)
    rows.move_to(*start, seq_len)
    return [rows.next_row(seq_len) for _ in range(num)]


def test_sequences_by_number_are_those_of_the_examples_as_they_are() -> None:
    source = augmented()
    assert [source[number] for number in range(len(source))] == SEQUENCES


def test_a_stream_can_be_entered_anywhere_and_shows_other_wordings_in_the_next_epoch() -> None:
    whole = rows_of(augmented(), 120)
    assert rows_of(augmented(), 60, start=(0, 60)) == whole[60:]
    wordings = {sequence.token_ids for row in whole for sequence in row}
    assert len(wordings) > 3 * len(EXAMPLES)


def test_a_stream_without_augmentation_is_as_ever() -> None:
    plain = [sequence for row in rows_of(ExampleSequences("topic", SEQUENCES), 60) for sequence in row]
    assert {sequence.token_ids for sequence in plain} == {sequence.token_ids for sequence in SEQUENCES}
    changed = [s for row in rows_of(augmented(share=0.2, swap=0.5), 60) for s in row]
    as_they_are = sum(sequence in SEQUENCES for sequence in changed)
    assert 0.75 < as_they_are / len(changed) < 0.95


def test_wordings_that_fit_no_row_are_not_used_and_classes_keep_their_weights() -> None:
    longest = max(map(len, SEQUENCES))
    for row in rows_of(augmented(share=1.0, insert=1.0), 20, seq_len=longest):
        assert sum(map(len, row)) <= longest
    source = augmented(max_tokens=longest, share=1.0, swap=1.0, weigh=lambda one: SEQUENCES[0])
    assert source.varied(SEQUENCES[3], np.random.default_rng(0), index=3) == SEQUENCES[0]
