import torch

from banyan.infer.attribution import occlusion
from banyan.infer.decisions import HeadDecision
from banyan.infer.random_weights import with_random_weights
from banyan.testing.prompts import VOCABULARY, make_model, scoring_prompts
from banyan.workflows.map_sanity import NUM_RANDOM_MODELS, Sanity, check_map

BLANK = VOCABULARY.encode(" ")[-1]


def test_a_random_models_map_is_recognised_as_one() -> None:
    prompt = scoring_prompts("the banyan grows one tree")[0]
    decision = HeadDecision(prompt=prompt, head="sky", positions=(len(prompt) - 1,), chosen=(0,))
    groups = [(at,) for at in range(1, len(prompt) - 1)]
    first = with_random_weights(make_model(), generator=torch.Generator().manual_seed(0))
    found = occlusion(first, decision, groups, blank_id=BLANK)
    sanity = check_map(make_model(), decision, groups, found, method=occlusion, blank_id=BLANK)
    assert len(sanity.strengths) == NUM_RANDOM_MODELS
    assert max(sanity.strengths) > 0.999 and max(sanity.signed) > 0.999  # it is one of the five itself
    assert sanity.num_same_strongest >= 1


def test_more_than_chance_is_told() -> None:
    alike = Sanity(strengths=(0.9, 0.7), signed=(0.0, 0.0), num_same_strongest=2, chance=0.5)
    assert alike.is_above_chance
    assert not Sanity(strengths=(0.9, -0.7), signed=(0.0, 0.0), num_same_strongest=1, chance=0.5).is_above_chance
