from banyan.cli.sampling import MAX_SEED, changed
from banyan.infer.sampling import SamplingConfig

OWN = SamplingConfig(temperature=0.8, top_p=0.9, seed=3)


def test_only_what_was_given_is_changed() -> None:
    assert changed(OWN, temperature=None, seed=None) == OWN
    assert changed(OWN, temperature=0.0, seed=7) == SamplingConfig(temperature=0.0, top_p=0.9, seed=7)


def test_zero_counts_as_given() -> None:
    assert changed(OWN, seed=0, top_k=0).seed == 0


def test_every_seed_can_be_stored() -> None:
    assert changed(OWN, seed=MAX_SEED).seed.bit_length() == 63
