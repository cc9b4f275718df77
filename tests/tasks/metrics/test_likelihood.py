import math

import pytest

from banyan.tasks.metrics.likelihood import measure_bits, measure_code_bits, measure_perplexity


def test_bits_per_byte_is_over_all_bytes() -> None:
    measured = measure_bits([8.0, 2.0], [1, 4])
    assert measured.scores() == {"bits_per_byte": 2.0}
    assert measured.lower_is_better == {"bits_per_byte"}


def test_a_model_that_chooses_among_ten_tokens_has_perplexity_ten() -> None:
    scores = measure_perplexity([3 * -math.log(10), -math.log(10)], [3, 1], [8, 8]).scores()
    assert scores["perplexity"] == pytest.approx(10)
    assert scores["bits_per_byte"] == pytest.approx(4 * math.log2(10) / 16)


def test_bits_per_code_are_over_all_codes_and_fewer_are_better() -> None:
    measured = measure_code_bits([-4 * math.log(8), -math.log(2)], [4, 1])
    assert measured.scores() == {"bits_per_code": pytest.approx(13 / 5)}
    assert measured.lower_is_better == {"bits_per_code"}


def test_an_impossible_answer_has_a_perplexity_that_is_a_number() -> None:
    assert math.isfinite(measure_perplexity([-1e9], [1], [1]).scores()["perplexity"])
