import torch

from banyan.model.lookback import Lookback
from banyan.testing.models import tiny_model, tiny_model_config


def mixed_one_by_one(embeddings: torch.Tensor, gains: list[torch.Tensor], positions: list[int]) -> torch.Tensor:
    rows = []
    for place, position in enumerate(positions):
        row = embeddings[place].clone()
        for distance, gain in enumerate(gains, start=1):
            if distance <= position:
                row += gain * embeddings[place - distance]
        rows.append(row)
    return torch.stack(rows)


def test_it_equals_a_sum_over_the_tokens_before_in_each_segment() -> None:
    lookback = Lookback(tiny_model_config(lookback=3)).double()
    gains = [gain.detach().copy_(torch.randn_like(gain)) for gain in lookback.gains]
    positions = [0, 1, 2, 3, 4, 0, 1, 0, 1, 2]
    embeddings = torch.randn(10, 32, dtype=torch.float64)
    before = torch.randn(3, 32, dtype=torch.float64)  # must not matter: every row begins with a segment
    mixed = lookback(torch.cat([before, embeddings])[None], torch.tensor([positions]))
    torch.testing.assert_close(mixed[0], mixed_one_by_one(embeddings, gains, positions))


def test_a_token_changes_itself_and_as_many_after_it_as_the_model_looks_back() -> None:
    model = tiny_model(tiny_model_config(lookback=2, num_layers=1))
    model.blocks = torch.nn.ModuleList()
    token_ids = torch.arange(8)[None]
    changed = token_ids.clone()
    changed[0, 3] = 100
    differs = (model(token_ids) != model(changed)).any(dim=-1)[0]
    assert differs.tolist() == [False, False, False, True, True, True, False, False]


def test_its_weights_are_vectors_which_no_optimizer_takes_for_a_matrix_to_make_orthogonal() -> None:
    lookback = Lookback(tiny_model_config(lookback=2))
    assert [gain.shape for gain in lookback.gains] == [(32,), (32,)]
