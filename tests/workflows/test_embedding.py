from pathlib import Path

import numpy as np
import pytest

from banyan.core.errors import ConfigError, SpaceError
from banyan.runtime.loaded_model import LoadedModel
from banyan.workflows import embedding
from banyan.workflows.embedding import embed_texts, embedding_config, write_vectors
from banyan.workflows.reporter import SilentReporter

HOW = embedding_config(pooling="mean", layer=-1, normalises=True, splits_long_texts=True)


def test_batches_give_the_vectors_of_one_call(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {number} " * (1 + number % 5) for number in range(11)]
    whole = embed_texts(loaded, texts, HOW, reporter=SilentReporter())
    monkeypatch.setattr(embedding, "BATCH", 4)
    batched = embed_texts(loaded, texts, HOW, reporter=SilentReporter())
    np.testing.assert_allclose(batched.vectors, whole.vectors, atol=1e-6)
    np.testing.assert_allclose(whole.vectors, loaded.embed(texts), atol=1e-6)
    assert whole.facts["model_sha256"] == loaded.sha256 and whole.facts["layer"] == "2"


def test_vectors_that_cannot_be_written_are_reported(loaded: LoadedModel, tmp_path: Path) -> None:
    embedded = embed_texts(loaded, ["text"], HOW, reporter=SilentReporter())
    (tmp_path / "file").touch()
    with pytest.raises(SpaceError):
        write_vectors(tmp_path / "file" / "a.npy", embedded)
    with pytest.raises(ConfigError, match=r"\.npy, \.jsonl, \.safetensors"):
        write_vectors(tmp_path / "a.bin", embedded)
