"""A separate classifier that looks at drawn pictures: it never saw the model, only the real pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from banyan.core.types import Image
from banyan.tasks.image_generation import PictureExample
from banyan.tasks.pictures import fit_picture
from banyan.tokenizers.pictures import image_to_array
from banyan.workflows.datasets import spread

_MAX_SIDE = 16  # pixels the judge looks at; larger pictures are scaled down
_MAX_PICTURES = 4000  # learned from; a support vector machine grows with their square

Judge = Callable[[Sequence[Image]], list[str]]


def train_judge(examples: Sequence[PictureExample], *, seed: int = 0) -> Judge | None:
    """Return a classifier of real labelled pictures; None if they have no labels to tell apart."""
    labelled = spread([e for e in examples if e.label and e.image is not None], _MAX_PICTURES)
    labels = [example.label for example in labelled]
    if len(set(labels)) < 2:
        return None
    # Imported here because it takes more than a second, and most runs draw nothing.
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    size = min(_MAX_SIDE, max(labelled[0].image.width, labelled[0].image.height)) if labelled[0].image else _MAX_SIDE
    machine: Any = make_pipeline(StandardScaler(), SVC(C=5.0, random_state=seed))
    machine.fit(_features([example.image for example in labelled if example.image], size), labels)
    return lambda images: [str(label) for label in machine.predict(_features(images, size))]


def _features(images: Sequence[Image], size: int) -> NDArray[np.float64]:
    fitted = [fit_picture(image, image_size=size, channels=1) for image in images]
    return np.stack([image_to_array(image).reshape(-1) for image in fitted]).astype(np.float64) / 255.0
