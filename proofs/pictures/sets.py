"""Which sets are drawn, by which recipes, and what each has to reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
STAGES = ("tokenizer", "judge", "model", "scores")


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """A figure and the bound it must reach."""

    figure: str  # of the scores; a dot leads into a part
    words: str
    bound: float
    is_upper: bool = False  # at most, where others are at least
    is_share: bool = True  # told in per cent

    def tell(self, value: float) -> str:
        """Return a value in words."""
        return f"{value:.1%}" if self.is_share else f"{value:.3g}"

    def is_met(self, value: float) -> bool:
        """Whether a value reaches the bound."""
        return value <= self.bound if self.is_upper else value >= self.bound


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureSet:
    """Pictures, the recipes that learn them, and what has to be reached."""

    name: str
    title: str
    recipes: Mapping[str, str]  # stage → file below recipes/
    minutes: float  # allowed for tokenizer and model together, reading and saving included
    goals: tuple[Goal, ...] = ()
    needs_catalog: bool = True
    needs_gpu: bool = False


def _kept(*, psnr: float, kept: float | None = None) -> tuple[Goal, ...]:
    """Return what a picture tokenizer has to give back of held-out pictures."""
    signal = Goal(figure="reconstruction.psnr", words="dB of what the tokenizer gives back", bound=psnr, is_share=False)
    if kept is None:
        return (signal,)
    return signal, Goal(figure="reconstruction.kept", words="part of the judge's accuracy left in it", bound=kept)


_OWN_RECIPES = {
    "tokenizer": "image_tokenizer-grey.yaml",
    "judge": "picture-judge-own-folder.yaml",
    "model": "pictures-own-folder.yaml",
}
_OWN_GOALS = (
    *_kept(psnr=22, kept=0.95),
    Goal(figure="reconstruction.code_use", words="share of the codes that occur in it", bound=0.9),
    Goal(figure="fidelity", words="prompt fidelity", bound=0.92),
    Goal(figure="accuracy_score.drawn", words="accuracy score", bound=0.78),
    Goal(figure="fid_share", words="(FID − floor) / (unigram − floor)", bound=0.15, is_upper=True, is_share=False),
)


def _own(name: str, title: str, *, needs_catalog: bool = False) -> PictureSet:
    return PictureSet(
        name=name, title=title, recipes=_OWN_RECIPES, minutes=45, goals=_OWN_GOALS, needs_catalog=needs_catalog
    )


SETS = (
    _own("digits", "scanned digits (scikit-learn), npz"),
    _own("grey-cifar", "CIFAR-10 in grey, 28×28, IDX", needs_catalog=True),
    _own("glyphs", "ten letters in 12 fonts, a folder for each"),
    PictureSet(
        name="cifar10",
        title="CIFAR-10, 32×32 in colour",
        recipes={
            "tokenizer": "image_tokenizer.yaml",
            "judge": "picture-judge.yaml",
            "model": "pictures-cifar10.yaml",
        },
        minutes=60,
        goals=(
            *_kept(psnr=20, kept=0.7),
            Goal(figure="fidelity", words="prompt fidelity", bound=0.42),
            Goal(figure="accuracy_score.drawn", words="accuracy score", bound=0.36),
        ),
    ),
    PictureSet(
        name="emoji",
        title="emoji, 64×64, from their names",
        recipes={
            "tokenizer": "image_tokenizer-emoji.yaml",
            "judge": "picture-judge-emoji.yaml",
            "model": "pictures-emoji.yaml",
        },
        minutes=75,
        goals=_kept(psnr=20),
    ),
    PictureSet(
        name="cifar10-gpu",
        title="CIFAR-10 on one GPU",
        recipes={
            "tokenizer": "image_tokenizer-gpu.yaml",
            "judge": "picture-judge.yaml",
            "model": "pictures-cifar10-gpu.yaml",
        },
        minutes=10,
        goals=(
            Goal(figure="fidelity", words="prompt fidelity", bound=0.75),
            Goal(figure="accuracy_score.drawn", words="accuracy score", bound=0.55),
        ),
        needs_gpu=True,
    ),
)
