import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from banyan.core.types import NO_TARGET
from banyan.infer.engine import Engine
from banyan.infer.likelihood import bits, document_windows
from banyan.testing.prompts import VOCABULARY, make_model


@given(st.integers(0, 60), st.integers(1, 20))
def test_every_token_of_a_document_is_predicted_exactly_once(num_tokens: int, max_seq_len: int) -> None:
    ids = list(range(1, num_tokens + 1))
    windows = document_windows(ids, first_id=0, max_seq_len=max_seq_len)
    predicted = []
    for number, window in enumerate(windows):
        assert len(window) <= max_seq_len
        for place, (token, target, weight) in enumerate(
            zip(window.token_ids, window.targets, window.loss_weights, strict=True)
        ):
            assert (weight > 0) == (target != NO_TARGET)
            if weight:
                assert target == token + 1  # its own next token
                assert number == 0 or place + 1 > max_seq_len // 2  # seen from at least half a context
                predicted.append(target)
    assert predicted == ids


def test_bits_are_the_negative_logarithm_to_base_two() -> None:
    assert bits([math.log(0.5), math.log(0.25)]) == pytest.approx(3)
    assert bits([]) == 0


def test_the_bits_of_a_text_do_not_depend_on_the_others_and_fit_its_tokens() -> None:
    model = make_model()
    with Engine(model, VOCABULARY, num_slots=2) as engine:
        texts = ["The banyan grows", "", "独木成林：一棵树。", "It returns the sum. " * 30]
        together = engine.bits(texts)
        assert together == pytest.approx([engine.bits([text])[0] for text in texts], rel=1e-5)
        assert together[1] == 0
        ids = VOCABULARY.encode(texts[0])
        with torch.inference_mode():
            log_probs = model.logits(model(torch.tensor([[VOCABULARY.bos_id, *ids]]))[0]).double().log_softmax(-1)
        expected = -sum(float(log_probs[place, token]) for place, token in enumerate(ids)) / math.log(2)
        assert together[0] == pytest.approx(expected, rel=1e-5)
