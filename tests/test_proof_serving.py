"""The short form of `make proof-serving`."""

from pathlib import Path

from proofs.serving.__main__ import prove


def test_stored_answers_are_given_again_bit_for_bit_in_every_company(tmp_path: Path) -> None:
    outcomes = prove(10, tmp_path, num_clients=4)
    assert len(outcomes) == 10
    different = [replay for outcome in outcomes for replay in outcome.replays if not replay.is_same]
    assert not different
    assert sum(outcome.num_set_aside for outcome in outcomes) > 0
