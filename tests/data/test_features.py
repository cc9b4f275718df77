"""A batch of features is the mixture's batch, with the hidden states of every token beside it."""

import dataclasses

import torch
from torch import Tensor

from banyan.core.types import TokenSequence
from banyan.data.features import FeatureLoader
from banyan.testing.training import tiny_loader


class IdsTwice:
    """Gives every token its id, twice."""

    width = 2

    def of(self, sequence: TokenSequence) -> Tensor:
        """Return the ids."""
        return torch.tensor(sequence.token_ids, dtype=torch.float32)[:, None].expand(-1, 2)


def test_a_batch_of_features_is_the_mixtures_batch() -> None:
    loader, plain = FeatureLoader(tiny_loader(), IdsTwice()), tiny_loader()
    for _ in range(3):
        batch, expected = loader.next_batch(), plain.next_batch()
        assert all(torch.equal(getattr(batch, f.name), getattr(expected, f.name)) for f in dataclasses.fields(expected))
    assert (loader.state(), loader.epochs()) == (plain.state(), plain.epochs())


def test_features_lie_where_their_tokens_do() -> None:
    batch = FeatureLoader(tiny_loader(), IdsTwice()).next_batch(num_rows=3, seq_len=12)
    ids = batch.token_ids.where(batch.segment_ids >= 0, 0).float()
    assert torch.equal(batch.features, ids[..., None].expand(-1, -1, 2))


def test_parts_of_a_batch_and_batches_with_noise_keep_their_features() -> None:
    batch = FeatureLoader(tiny_loader(), IdsTwice()).next_batch()
    parts = batch.with_noise(3).split(2)
    assert torch.equal(torch.cat([part.features for part in parts]), batch.features)
    assert sum(part.num_targets for part in parts) == batch.num_targets


def test_a_loader_goes_on_where_it_was() -> None:
    loader = FeatureLoader(tiny_loader(), IdsTwice())
    loader.next_batch()
    place = loader.state()
    expected = loader.next_batch()
    loader.restore(place)
    assert torch.equal(loader.next_batch().features, expected.features)
