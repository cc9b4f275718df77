from dataclasses import replace

from banyan.core.types import Completion
from banyan.infer.candidates import best_candidate, candidates_of
from banyan.infer.randomness import derive_seed
from banyan.infer.sampling import SamplingConfig
from banyan.testing.prompts import picture_prompt, text_prompt

FOUR = SamplingConfig(temperature=1.0, seed=5, num_candidates=4)


def test_candidates_have_seeds_of_their_own_that_no_other_answer_has() -> None:
    seeds = [own.seed for own in candidates_of(picture_prompt("x"), FOUR)]
    others = {derive_seed(5, choice) for choice in range(1, 300)}
    assert seeds[0] == 5 and len(set(seeds)) == 4 and not others & set(seeds)
    assert seeds[:2] == [own.seed for own in candidates_of(picture_prompt("x"), replace(FOUR, num_candidates=2))]


def test_only_pictures_have_candidates() -> None:
    assert candidates_of(text_prompt("x"), FOUR) == [FOUR]


def test_the_candidate_whose_wish_explains_it_best_is_kept() -> None:
    ratios = [0.5, 2.0, None, 2.0]
    drawn = [Completion(token_ids=(number,), wish_ratio=ratio) for number, ratio in enumerate(ratios)]
    assert best_candidate(drawn).token_ids == (1,)
    assert best_candidate(drawn[2:3]).token_ids == (2,)
