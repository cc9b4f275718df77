import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from banyan.runtime.loaded_model import LoadedModel
from banyan.workflows.nearest_texts import centred_cosines, nearest_texts
from banyan.workflows.reporter import SilentReporter


def test_cosines_are_scikit_learns_around_the_mean() -> None:
    draw = np.random.default_rng(0)
    vectors, others = (draw.normal(3.0, 1.0, (size, 8)).astype(np.float32) for size in (4, 9))
    centre = others.mean(axis=0)
    np.testing.assert_allclose(
        centred_cosines(vectors, others), cosine_similarity(vectors - centre, others - centre), atol=1e-5
    )
    np.testing.assert_array_equal(centred_cosines(others[:1], others[:1]), [[0.0]])


def test_the_same_text_is_its_own_nearest(loaded: LoadedModel) -> None:
    among = ["alpha thing number 3", "红色 thing", "beta and gamma", "你好"]
    found = nearest_texts(loaded, ["红色 thing", "你好"], among, num=2, reporter=SilentReporter())
    assert [own[0][0] for own in found] == [1, 3] and all(len(own) == 2 for own in found)
    assert [own[0][1] for own in found] == pytest.approx([1.0, 1.0])
