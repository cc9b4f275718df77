import numpy as np

from banyan.workflows.word_neighbours import nearest_words


def test_the_nearest_words_come_first_and_far_ones_and_other_capitals_not_at_all() -> None:
    words = ["film", "Film", "movie", "cinema", "stone"]
    vectors = np.array([[1, 0, 0], [1, 0, 0], [0.9, 0.436, 0], [0.5, 0.866, 0], [0, 0, 1]], dtype=np.float32)
    found = nearest_words(words, vectors)
    assert found["film"] == ("movie", "cinema") and found["cinema"] == ("movie", "film", "Film")
    assert "stone" not in found


def test_words_are_compared_with_all_words_however_many_there_are() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(1500, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = [f"w{n}" for n in range(1500)]
    found = nearest_words(words, vectors)
    for number in (0, 1023, 1024, 1499):
        cosines = vectors.astype(np.float64) @ vectors[number].astype(np.float64)
        cosines[number] = -1
        assert found[words[number]] == tuple(words[other] for other in np.argsort(-cosines)[:5])
