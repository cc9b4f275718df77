"""Pictures as questions without a Transformer: a support vector machine on grey pixels, and the commonest words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from banyan.core.types import Image, Prediction
from banyan.tasks.baselines.labels import majority_label
from banyan.tasks.image_generation import PictureExample
from banyan.tasks.picture_classification import SeenExample
from banyan.tasks.pictures import fit_picture
from banyan.tokenizers.pictures import image_to_array

_SIDE = 16  # pixels that are looked at
_MAX_PICTURES = 4000  # learned from; the machine grows with their square


def pixels_alone(
    task: str, train: Sequence[SeenExample], *, seed: int
) -> Callable[[Sequence[SeenExample]], list[Prediction]]:
    """Answer from the picture, whatever is written beside it."""
    shown = [one for one in train if one.image is not None]
    shown = shown[:: -(-len(shown) // _MAX_PICTURES) or 1]  # evenly: the first ones of a sorted set have one label
    if len({one.label for one in shown}) < 2:
        return majority_label(task, train)
    machine: Any = make_pipeline(StandardScaler(), SVC(C=5.0, random_state=seed))
    machine.fit(_features([one.image for one in shown]), [one.label for one in shown])

    def answer(examples: Sequence[SeenExample]) -> list[Prediction]:
        labels = machine.predict(_features([one.image for one in examples]))
        return [Prediction(task=task, text=str(label)) for label in labels]

    return answer


def _features(images: Sequence[Image | None]) -> NDArray[np.float64]:
    fitted = [fit_picture(image, image_size=_SIDE, channels=1) for image in images if image is not None]
    return np.stack([image_to_array(image).reshape(-1) for image in fitted]) / 255.0


def commonest_caption(
    task: str, train: Sequence[PictureExample]
) -> Callable[[Sequence[PictureExample]], list[Prediction]]:
    """Always say what is said most often; of equals the first."""
    prediction = Prediction(task=task, text=Counter(one.caption for one in train).most_common(1)[0][0])
    return lambda examples: [prediction for _ in examples]
