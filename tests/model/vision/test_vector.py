"""A vector quantizer names cells by their nearest entry, follows them, and revives what nothing is named by."""

import torch
import torch.nn.functional as F

from banyan.model.vision.vector import VectorQuantizer


def _cells(latents: torch.Tensor) -> torch.Tensor:
    return F.normalize(latents, dim=1).movedim(1, -1).flatten(0, -2)


def test_every_cell_is_named_by_the_nearest_entry() -> None:
    torch.manual_seed(0)
    quantizer, latents = VectorQuantizer(6, 4).eval(), torch.randn(2, 4, 3, 3)
    nearest = torch.cdist(_cells(latents), quantizer.codebook).argmin(dim=1)
    quantized = quantizer(latents)
    assert torch.equal(quantized.codes.flatten(), nearest)
    torch.testing.assert_close(quantized.values, quantizer.look_up(quantized.codes))


def test_the_codebook_learns_in_training_alone() -> None:
    torch.manual_seed(0)
    quantizer, latents = VectorQuantizer(6, 4), torch.randn(2, 4, 3, 3)
    before = quantizer.codebook.clone()
    quantizer.eval()(latents)
    with torch.no_grad():
        quantizer.train()(latents)
    assert torch.equal(quantizer.codebook, before)
    quantizer(latents)
    assert not torch.equal(quantizer.codebook, before)


def test_dead_entries_begin_anew_at_cells_of_the_batch() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(64, 4).train()
    directions = F.normalize(torch.randn(64, 4), dim=1)
    used = []
    for _ in range(400):
        latents = (directions[torch.randint(64, (256,))] + 0.02 * torch.randn(256, 4)).view(16, 4, 4, 4).movedim(3, 1)
        used.append(quantizer(latents).codes.unique().numel())
    assert used[0] < 45 < 58 <= used[-1]
