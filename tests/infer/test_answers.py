import math

import torch

from banyan.core.types import FinishReason, ImageGrid
from banyan.infer.answers import PictureAnswer, TextAnswer
from banyan.infer.requests import Request
from banyan.infer.sampling import SamplingConfig
from banyan.testing.prompts import GRID_SIZE, STOP, VOCABULARY, picture_prompt, text_prompt

SIZE = VOCABULARY.text_size
ALLOWED = torch.tensor([VOCABULARY.is_text(token) or token in STOP for token in range(SIZE)])


def text_answer(sampling: SamplingConfig, *, max_tokens: int = 5) -> TextAnswer:
    request = Request(prompt=text_prompt("The"), sampling=sampling, num_slots=1, max_tokens=max_tokens)
    return TextAnswer(request, slots=[0], vocabulary=VOCABULARY, stop_ids=frozenset(STOP), forbidden_V=~ALLOWED)


def test_only_ordinary_and_stop_tokens_can_be_drawn_for_text() -> None:
    shaped = text_answer(SamplingConfig()).shape(torch.zeros(1, SIZE))
    assert torch.equal(shaped > -math.inf, ALLOWED)


def test_a_stop_token_is_not_part_of_the_answer() -> None:
    answer = text_answer(SamplingConfig())
    answer.accept(VOCABULARY.encode("a")[0], -1.0)
    answer.accept(STOP[0], -2.0)
    completion = answer.completion()
    assert (completion.text, completion.token_log_probs) == ("a", (-1.0,))
    assert answer.is_over and completion.finish_reason is FinishReason.STOP


def test_penalties_follow_the_answer() -> None:
    answer = text_answer(SamplingConfig(frequency_penalty=1.0))
    token = VOCABULARY.encode("a")[0]
    for times in range(3):
        assert float(answer.shape(torch.zeros(1, SIZE))[token]) == -times
        answer.accept(token, -1.0)


def test_every_token_has_a_random_number_of_its_own() -> None:
    answer = text_answer(SamplingConfig(temperature=1.0))
    numbers = []
    for token in VOCABULARY.encode("abcd")[:4]:
        numbers.append(answer.draw.uniform)
        answer.accept(token, -1.0)
    assert len(set(numbers)) == len(numbers) and None not in numbers


def test_a_picture_ends_when_every_cell_has_a_code_and_its_codes_are_bounded() -> None:
    prompt = picture_prompt("x")
    assert isinstance(prompt.decoding, ImageGrid)
    answer = PictureAnswer(
        Request(prompt=prompt, sampling=SamplingConfig(), num_slots=1, max_tokens=9), slots=[0], grid=prompt.decoding
    )
    assert answer.shape(torch.zeros(1, 99)).shape == (prompt.decoding.num_codes,)
    for cell in range(GRID_SIZE**2):
        assert answer.grid_id_of(cell) == cell and not answer.is_over
        answer.accept(cell, -1.0)
    assert answer.is_over
    assert answer.completion().token_ids == tuple(VOCABULARY.first_image_id + cell for cell in range(GRID_SIZE**2))
