import json

import numpy as np

from banyan.train.health.gradient import GradientLength


def seen(num: int = 300) -> GradientLength:
    gradient, rng = GradientLength(), np.random.default_rng(0)
    for _ in range(num):
        gradient.add(float(np.exp(rng.normal(-1, 0.2))))
    return gradient


def test_a_gradient_of_many_times_the_usual_length_is_shortened_to_what_is_just_bearable() -> None:
    spike = seen().spike(20.0)
    assert spike is not None
    wanted, finding = spike
    assert 0.3 < wanted < 2.0 and finding.value > finding.threshold


def test_the_longer_the_gradient_the_shorter_it_is_made() -> None:
    gradient = seen()
    (near, _), (far, _) = gradient.spike(5.0) or (0, 0), gradient.spike(500.0) or (0, 0)
    assert 0 < far < near


def test_healthy_lengths_are_left_alone() -> None:
    gradient, rng = seen(), np.random.default_rng(1)
    for length in np.exp(rng.normal(-1, 0.4, 5000)):
        assert gradient.spike(float(length)) is None
        gradient.add(float(length))


def test_what_was_saved_judges_alike() -> None:
    gradient, again = seen(), GradientLength()
    again.restore(json.loads(json.dumps(gradient.state())))
    assert again.spike(20.0) == gradient.spike(20.0)
