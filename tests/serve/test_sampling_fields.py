from banyan.infer.sampling import SamplingConfig
from banyan.serve.sampling_fields import sampling_of, seed_of
from banyan.serve.schemas import ImageRequest, SamplingFields, TaskRequest

BASE = SamplingConfig(temperature=0.8, top_p=0.95, max_tokens=64)


def test_what_a_request_leaves_open_is_the_models_own_way() -> None:
    assert sampling_of(SamplingFields(), BASE, seed=0) == BASE


def test_what_a_request_asks_for_is_what_is_done() -> None:
    asked = SamplingFields(temperature=0.0, top_k=3, frequency_penalty=-1.0)
    chosen = sampling_of(asked, BASE, seed=4, max_tokens=5, stop=("x",))
    assert (chosen.temperature, chosen.top_k, chosen.frequency_penalty, chosen.top_p) == (0.0, 3, -1.0, 0.95)
    assert (chosen.seed, chosen.max_tokens, chosen.stop) == (4, 5, ("x",))
    assert sampling_of(ImageRequest(prompt="a", guidance_scale=2.0), BASE, seed=0).guidance_scale == 2.0


def test_every_choice_has_a_seed_of_its_own_and_the_first_keeps_the_requests() -> None:
    seeds = [sampling_of(SamplingFields(), BASE, seed=9, choice=choice).seed for choice in range(8)]
    assert seeds[0] == 9
    assert len(set(seeds)) == 8


def test_a_request_without_a_seed_gets_a_fresh_one() -> None:
    assert seed_of(SamplingFields(seed=0)) == 0
    assert len({seed_of(SamplingFields()) for _ in range(5)}) > 1


def test_a_request_may_ask_for_a_search() -> None:
    asked = TaskRequest(input="a", temperature=0.0, num_beams=4, length_penalty=0.6, no_repeat_ngram=3, min_tokens=2)
    chosen = sampling_of(asked, BASE, seed=0)
    assert (chosen.num_beams, chosen.length_penalty, chosen.no_repeat_ngram, chosen.min_tokens) == (4, 0.6, 3, 2)
