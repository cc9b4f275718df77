from __future__ import annotations

import random
from collections import Counter

from banyan.workflows.demo_data.splits import Split
from banyan.workflows.demo_data.translation import DIRECTIONS, translation_rows

LIMITS = {Split.TRAIN: 400, Split.VALIDATION: 40, Split.TEST: 60}
ROWS = translation_rows(LIMITS, generator=random.Random(0))


def test_every_split_has_as_many_rows_as_asked_for() -> None:
    assert {split: len(rows) for split, rows in ROWS.items()} == LIMITS


def test_no_entry_and_no_text_stands_in_two_splits() -> None:
    for part in ("entry", "text"):
        seen: Counter[str] = Counter()
        for rows in ROWS.values():
            texts = {text for row in rows for text in row["translation"].values()}
            seen.update({row["entry"] for row in rows} if part == "entry" else texts)
        assert max(seen.values()) == 1


def test_directions_and_groups_come_in_their_shares() -> None:
    rows = ROWS[Split.TRAIN]
    directions = Counter((row["source_language"], row["target_language"]) for row in rows)
    assert set(directions) == set(DIRECTIONS)
    assert max(directions.values()) - min(directions.values()) <= 2
    assert Counter(row["group"] for row in rows) == {"names": 120, "": 280}


def test_a_row_holds_both_texts_under_their_languages() -> None:
    for row in ROWS[Split.TEST]:
        assert list(row["translation"]) == [row["source_language"], row["target_language"]]
