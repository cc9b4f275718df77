"""Examples that hold a picture, and the codes they get from an image tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from banyan.core.types import Image
from banyan.tasks.pictures import fit_picture
from banyan.tokenizers.images import ImageTokenizer


class WithPicture(Protocol):
    """An example that holds a picture."""

    @property
    def image(self) -> Image | None:
        """The picture itself; None where it is asked for, or has been left behind as codes."""
        ...

    @property
    def codes(self) -> tuple[int, ...] | None:
        """The picture as image codes; None until it is encoded."""
        ...


P = TypeVar("P", bound=WithPicture)


def with_codes(examples: Sequence[P], tokenizer: ImageTokenizer) -> list[P]:
    """Return the examples with the codes of their pictures, scaled to the tokenizer's size; those that have some stay.

    An example without a picture stays without codes.
    """
    places = [place for place, one in enumerate(examples) if one.codes is None and one.image is not None]
    codes = iter(codes_of([image for one in examples if one.codes is None and (image := one.image)], tokenizer))
    complete = list(examples)
    for place in places:
        complete[place] = replace(complete[place], codes=next(codes))  # type: ignore[type-var]
    return complete


def codes_of(images: Sequence[Image], tokenizer: ImageTokenizer) -> list[tuple[int, ...]]:
    """Return the codes of pictures of any size."""
    size, channels = tokenizer.image_size, tokenizer.channels
    fitted = [fit_picture(image, image_size=size, channels=channels) for image in images]
    return [tuple(codes) for codes in tokenizer.encode(fitted)]
