"""`banyan outputs search --similar`: stored answers that mean something like a text, by the vectors of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from banyan.core.errors import ConfigError
from banyan.infer.embedding import EmbeddingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.store.database import Database
from banyan.store.queries import RequestFilter
from banyan.store.run_queries import checkpoints_that_answered
from banyan.store.similar import Similar, SimilarAnswers, Vectors, VectorSpace
from banyan.workflows.reporter import Reporter


def find_similar(
    database: Database,
    text: str,
    wanted: RequestFilter,
    *,
    embedder: Path | None,
    how: EmbeddingConfig,
    reporter: Reporter,
) -> list[Similar]:
    """Return the stored requests whose answers come nearest to a text; answers without a vector get one first.

    `embedder` is the model that reads them; None: the one that answered last, of those that lie where they were saved.
    Raises: ConfigError if no model is named and none is found; CheckpointError for one that cannot be opened.
    """
    directory = embedder or _last_that_answered(database, wanted.model)
    reporter.stage("load")
    with load(directory) as model:
        reporter.stage("read answers")
        answers = SimilarAnswers(database, vector_space(model, how), lambda texts: _embed(model, texts, how))
        found = answers.search(text, wanted, on_progress=lambda done, total: reporter.progress(done, total))
    return list(found.hits)


def vector_space(model: LoadedModel, how: EmbeddingConfig) -> VectorSpace:
    """Return what the vectors of a model are kept under."""
    (num_blocks,) = how.blocks(model.model.config)
    return VectorSpace(model_sha256=model.sha256, pooling=str(how.pooling), layer=num_blocks)


def _embed(model: LoadedModel, texts: Sequence[str], how: EmbeddingConfig) -> Vectors:
    vectors: Vectors = model.engine.embed(texts, how)[:, 0].numpy()
    return vectors


def _last_that_answered(database: Database, name: str | None) -> Path:
    with database.read() as connection:
        places = checkpoints_that_answered(connection, name=name)
    found = next((Path(place) for place in places if Path(place).is_dir()), None)
    if found is None:
        raise ConfigError(
            "no model is known to read the stored answers with: none that gave them lies where it was saved.",
            hint="name one: --embedder runs/demo/best",
        )
    return found
