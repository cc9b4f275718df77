"""The short form of `make proof-serving`."""

from pathlib import Path

from proofs.serving.__main__ import prove
from proofs.serving.mixes import MIXES


def test_stored_answers_are_given_again_bit_for_bit_in_several_companies(tmp_path: Path) -> None:
    outcomes = prove(10, tmp_path, num_clients=4, mixes=MIXES[::2])
    assert len(outcomes) == 6 and all(len(outcome.replays) == 10 for outcome in outcomes)
    assert not [replay for outcome in outcomes for replay in outcome.replays if not replay.is_same]
    assert sum(outcome.num_set_aside for outcome in outcomes) > 0
