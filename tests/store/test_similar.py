from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sqlalchemy import delete, func, select

from banyan.core.errors import ConfigError, InputError
from banyan.store import similar
from banyan.store.queries import RequestFilter
from banyan.store.schema import OutputVectorRow, RequestRow
from banyan.store.similar import SimilarAnswers, Vectors, VectorSpace
from banyan.store.sql_store import SqlStore
from banyan.store.types import RequestState, StoredAnswer, StoredOutput
from banyan.testing.store import tiny_request

SPACE = VectorSpace(model_sha256="a" * 64, pooling="mean", layer=2)


class Letters:
    """Vectors that count letters, and a list of all that was ever read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        if any("\ud800" in text for text in texts):
            raise InputError("no Unicode")
        self.read.extend(texts)
        counts = np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)  # type: ignore[no-any-return]


def answer(store: SqlStore, *texts: str, state: RequestState = RequestState.COMPLETED, **request: object) -> str:
    outputs = tuple(StoredOutput(choice_index=index, text=text) for index, text in enumerate(texts))
    asked = tiny_request(num_choices=len(texts), **request)
    return store.record(asked, StoredAnswer(state=state, outputs=outputs)).result(10)


def found(store: SqlStore, text: str, *, embed: Letters | None = None, **wanted: object) -> list[tuple[str, float]]:
    answers = SimilarAnswers(store.database, SPACE, embed or Letters())
    hits = answers.search(text, RequestFilter(**wanted)).hits  # type: ignore[arg-type]
    return [(hit.exchange.request.request_id, round(hit.score, 4)) for hit in hits]


def test_the_nearest_answer_comes_first_with_its_cosine(store: SqlStore) -> None:
    far, near, middle = answer(store, "c"), answer(store, "aab"), answer(store, "abb")
    assert found(store, "a") == [(near, 0.8944), (middle, 0.4472), (far, 0.0)]


def test_a_request_counts_with_its_best_answer(store: SqlStore) -> None:
    both, other = answer(store, "c", "a"), answer(store, "ab")
    assert found(store, "a") == [(both, 1.0), (other, 0.7071)]


def test_every_answer_is_read_once(store: SqlStore) -> None:
    answer(store, "ab"), answer(store, "bc")
    embed = Letters()
    for _ in range(2):
        found(store, "a", embed=embed)
    answer(store, "abc")
    found(store, "a", embed=embed)
    assert sorted(embed.read) == ["a", "a", "a", "ab", "abc", "bc"]


@pytest.mark.parametrize("change", [{"model_sha256": "b" * 64}, {"pooling": "last"}, {"layer": 1}])
def test_each_model_pooling_and_layer_has_vectors_of_its_own(store: SqlStore, change: dict[str, object]) -> None:
    answer(store, "ab")
    found(store, "a")
    embed, fields = Letters(), {"model_sha256": "a" * 64, "pooling": "mean", "layer": 2}
    space = VectorSpace(**{**fields, **change})  # type: ignore[arg-type]
    SimilarAnswers(store.database, space, embed).search("a")
    assert embed.read == ["a", "ab"]


def test_a_filter_narrows_what_is_read_and_what_is_found(store: SqlStore) -> None:
    one, two = answer(store, "ab", task="one"), answer(store, "a", task="two")
    embed = Letters()
    assert found(store, "a", embed=embed, task="one") == [(one, 0.7071)]
    assert embed.read == ["a", "ab"]
    assert [key for key, _ in found(store, "a")] == [two, one]
    assert [key for key, _ in found(store, "a", limit=1)] == [two]


def test_answers_without_a_text_or_a_vector_are_passed_over(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar, "_READ_TOGETHER", 2)
    kept = [answer(store, text) for text in ("a", "\ud800", "", "b", "ab")]
    answer(store, "cut off", state=RequestState.FAILED)
    assert {key for key, _ in found(store, "a")} == {kept[0], kept[3], kept[4]}


def test_vectors_go_with_their_request(store: SqlStore) -> None:
    key = answer(store, "a")
    found(store, "a")
    with store.database.write() as connection:
        assert connection.scalar(select(func.count()).select_from(OutputVectorRow)) == 1
        connection.execute(delete(RequestRow).where(RequestRow.id == key))
        assert connection.scalar(select(func.count()).select_from(OutputVectorRow)) == 0


def test_more_answers_than_a_page_are_all_compared(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar, "_PAGE_ROWS", 3)
    keys = [answer(store, "a" + "b" * number) for number in range(8)]
    steps: list[tuple[int, int]] = []
    answers = SimilarAnswers(store.database, SPACE, Letters())
    hits = answers.search("a", on_progress=lambda *at: steps.append(at)).hits
    assert [hit.exchange.request.request_id for hit in hits] == keys
    assert steps == [(8, 8)]


def test_an_empty_text_is_near_to_nothing(store: SqlStore) -> None:
    with pytest.raises(ConfigError, match="near to nothing"):
        found(store, "  ")


def test_at_most_so_many_are_read_the_newest_first_and_the_rest_is_told(store: SqlStore) -> None:
    answer(store, "ab"), answer(store, "bc")
    newest = answer(store, "abc")
    embed = Letters()
    answers = SimilarAnswers(store.database, SPACE, embed)
    first = answers.search("a", max_new=1)
    assert (first.num_unread, embed.read) == (2, ["a", "abc"])
    assert [hit.exchange.request.request_id for hit in first.hits] == [newest]
    assert len(answers.search("a", max_new=1).hits) == 2
    assert answers.search("a", max_new=5).num_unread == 0
