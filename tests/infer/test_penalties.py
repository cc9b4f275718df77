import torch
from hypothesis import given
from hypothesis import strategies as st

from banyan.infer.penalties import Penalties
from banyan.infer.sampling import SamplingConfig

TOKENS = st.lists(st.integers(0, 9), max_size=8)
STRENGTH = st.sampled_from([0.0, 0.5, -0.25, 1.5])


@given(TOKENS, TOKENS, st.sampled_from([1.0, 1.3, 0.8]), STRENGTH, STRENGTH)
def test_penalties_equal_a_plain_loop(
    prompt: list[int], said: list[int], repetition: float, presence: float, frequency: float
) -> None:
    config = SamplingConfig(repetition_penalty=repetition, presence_penalty=presence, frequency_penalty=frequency)
    penalties = Penalties(config, prompt, vocab_size=10)
    for token in said:
        penalties.record(token)
    logits = torch.linspace(-2, 2, 10)
    expected = []
    for token, value in enumerate(logits.tolist()):
        if token in prompt + said:
            value = value / repetition if value > 0 else value * repetition
        expected.append(value - frequency * said.count(token) - presence * (token in said))
    torch.testing.assert_close(penalties(logits), torch.tensor(expected))


def test_tokens_outside_the_slice_are_ignored() -> None:
    penalties = Penalties(SamplingConfig(presence_penalty=1.0), [3, 99], vocab_size=5)
    penalties.record(99)
    assert penalties(torch.zeros(5)).tolist() == [0] * 5
