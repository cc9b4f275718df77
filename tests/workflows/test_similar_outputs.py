from __future__ import annotations

from pathlib import Path

import pytest

from banyan.core.errors import ConfigError
from banyan.runtime.loaded_model import LoadedModel
from banyan.store.queries import RequestFilter
from banyan.store.similar import Similar
from banyan.store.sql_store import open_database, open_store
from banyan.store.types import StoredAnswer, StoredCheckpoint, StoredOutput, StoredRun
from banyan.testing.store import tiny_request
from banyan.workflows.embedding import embedding_config
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.similar_outputs import find_similar

HOW = embedding_config(pooling="mean", layer=0, normalises=True, splits_long_texts=True)


def fill(address: str, model: LoadedModel) -> None:
    with open_store(address) as store:
        for text in ("three apples", "Return the path.", "五个苹果"):
            request = tiny_request(model_name=model.directory.name, model_sha256=model.sha256)
            store.record(request, StoredAnswer(outputs=(StoredOutput(text=text),))).result(10)


def search(address: str, text: str, *, embedder: Path | None = None) -> list[Similar]:
    database = open_database(address)
    try:
        return find_similar(database, text, RequestFilter(), embedder=embedder, how=HOW, reporter=SilentReporter())
    finally:
        database.close()


def test_scores_are_the_cosines_of_the_models_own_vectors(address: str, loaded: LoadedModel) -> None:
    fill(address, loaded)
    found = search(address, "three apples", embedder=loaded.directory)
    texts = [hit.exchange.answer.outputs[0].text for hit in found if hit.exchange.answer]
    assert texts[0] == "three apples" and len(texts) == 3
    cosines = loaded.embed(texts, layer=0) @ loaded.embed("three apples", layer=0)[0]
    assert [hit.score for hit in found] == pytest.approx(cosines.tolist(), abs=1e-5)


def test_the_model_that_answered_is_found_where_it_was_saved(address: str, loaded: LoadedModel) -> None:
    fill(address, loaded)
    with pytest.raises(ConfigError, match="no model is known"):
        search(address, "three apples")
    with open_store(address) as store:
        run_id = store.runs.record_run(StoredRun(name="tiny", kind="train", config={})).result(10)
        saved = StoredCheckpoint(run_id=run_id, step=1, path=str(loaded.directory), manifest_sha256=loaded.sha256)
        store.runs.record_checkpoint(saved).result(10)
    assert search(address, "three apples")[0].score == pytest.approx(1, abs=1e-5)
