"""How well a picture tokenizer keeps pictures: signal to noise, use of the codes, and a sheet to look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from banyan.core.errors import SpaceError
from banyan.core.files import atomic_write_bytes
from banyan.core.run_directory import SAMPLES_DIRECTORY
from banyan.model.vision.autoencoder import Autoencoder, as_pixels, as_samples
from banyan.model.vision.learner import TokenizerLearner
from banyan.tokenizers.pictures import contact_sheet, image_from_array, image_to_png
from banyan.train.evaluations import EvaluationStopped

_CHUNK = 256  # pictures in one pass
_COLUMNS = 8
_SHOWN_PIXELS = 64  # a side, at least: smaller pictures are enlarged on the sheet


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconstructionScores:
    """What comes back of pictures that were encoded and decoded again."""

    psnr: float  # dB, of the squared error of all 8-bit samples together
    code_use: float  # share of the codebook that occurs at least once
    perplexity: float  # so many codes, used alike, would be as varied


def reconstruct(net: Autoencoder, pixels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield codes and decoded 8-bit pictures, some at a time.

    Shapes: pixels (N, C, Y, X) → (B, grid, grid) and (B, C, Y, X).
    """
    device = next(net.parameters()).device
    for chunk in _parts(pixels, _CHUNK):
        codes = net.encode(as_samples(chunk.to(device)))
        yield codes.cpu(), as_pixels(net.decode(codes)).cpu()


def score_reconstructions(
    net: Autoencoder, pixels: Tensor, *, is_unwanted: Callable[[], bool] = lambda: False
) -> ReconstructionScores:
    """Encode and decode pictures, and compare.

    Raises: EvaluationStopped as soon as nobody wants the scores any more.
    """
    squares, counts = 0.0, torch.zeros(net.config.codebook_size, dtype=torch.int64)
    for real, (codes, decoded) in zip(_parts(pixels, _CHUNK), reconstruct(net, pixels), strict=True):
        squares += float((real.double() - decoded.double()).square().sum())
        counts += torch.bincount(codes.flatten(), minlength=len(counts))
        if is_unwanted():
            raise EvaluationStopped
    return ReconstructionScores(
        psnr=psnr_of(squares / pixels.numel()),
        code_use=float((counts > 0).double().mean()),
        perplexity=_perplexity(counts),
    )


def _parts(pixels: Tensor, size: int) -> list[Tensor]:
    return [pixels[start : start + size] for start in range(0, len(pixels), size)]


def psnr_of(squared_error: float) -> float:
    """Return the peak signal-to-noise ratio in dB of 8-bit samples, for their mean squared error."""
    return 10 * math.log10(255**2 / squared_error) if squared_error > 0 else math.inf


def _perplexity(counts: Tensor) -> float:
    shares = counts[counts > 0] / counts.sum()
    return math.exp(-float((shares * shares.log()).sum()))


def reconstruction_sheet(net: Autoencoder, pixels: Tensor) -> bytes:
    """Return a PNG with rows of pictures, each row above what comes back of it."""
    [(_, decoded)] = reconstruct(net, pixels)
    rows = zip(_parts(pixels, _COLUMNS), _parts(decoded, _COLUMNS), strict=True)
    ordered = torch.cat([part for row in rows for part in row]).permute(0, 2, 3, 1).contiguous()
    images = [image_from_array(array) for array in ordered.numpy()]
    scale = max(1, _SHOWN_PIXELS // pixels.shape[3])
    return image_to_png(contact_sheet(images, columns=min(_COLUMNS, len(pixels)), scale=scale))


class TokenizerEvaluator:
    """Scores a tokenizer in training on held-out pictures, and writes a sheet of reconstructions for each score."""

    def __init__(
        self, pixels: Tensor, run_directory: Path, *, num_shown: int, is_unwanted: Callable[[], bool] = lambda: False
    ) -> None:
        self._pixels = pixels
        self._directory = run_directory / SAMPLES_DIRECTORY
        self._shown = pixels[: max(1, min(num_shown, len(pixels), _CHUNK) // _COLUMNS) * _COLUMNS]
        self._is_unwanted = is_unwanted

    def __call__(self, model: TokenizerLearner, step: int) -> Mapping[str, Any]:
        """Return the scores; the signal-to-noise ratio chooses the best checkpoint.

        Raises: EvaluationStopped if the scores became unwanted.
        """
        scores = score_reconstructions(model.autoencoder, self._pixels, is_unwanted=self._is_unwanted)
        with suppress(SpaceError):  # a disk that is full does not stop a run
            sheet = reconstruction_sheet(model.autoencoder, self._shown)
            atomic_write_bytes(self._directory / f"step-{step:08d}-reconstructions.png", sheet)
        return {
            "score": scores.psnr,
            "psnr": scores.psnr,
            "code_use": scores.code_use,
            "perplexity": scores.perplexity,
        }
