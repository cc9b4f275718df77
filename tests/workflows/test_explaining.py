"""A map shows what the model has learned: held against a model of which it is known what it decides by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from banyan.core.errors import InputError, UnknownNameError
from banyan.infer.attribution import METHODS
from banyan.infer.random_weights import with_random_weights
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.classification import Classification
from banyan.tasks.tagging import Tagging
from banyan.testing.adapters import save_random_adapter
from banyan.testing.foreign_models import save_tiny_foreign_model
from banyan.testing.keyword_model import TASK, save_keyword_model, sentences
from banyan.testing.model_directories import save_tiny_model
from banyan.workflows.explaining import ExplainedAnswer, ExplainQuestion, explain_answer
from banyan.workflows.reporter import SilentReporter

ASKED = [(text, keyword) for text, keyword, _ in sentences(16, seed=10**6) if keyword]


@pytest.fixture(scope="module")
def keyword_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    directory = save_keyword_model(tmp_path_factory.mktemp("models") / "keyword")
    with load(directory, device="cpu", num_slots=1) as model:
        yield model


def explained(model: LoadedModel, task: str, text: str, **changes: object) -> ExplainedAnswer:
    asked = ExplainQuestion(task=task, text=text, **changes)  # type: ignore[arg-type]
    return explain_answer(model, asked, reporter=SilentReporter())


def strongest(answer: ExplainedAnswer) -> str:
    return max(answer.explanations[0].words, key=lambda word: abs(word.value)).text.strip()


def num_found(model: LoadedModel, method: str) -> int:
    return sum(strongest(explained(model, TASK.name, text, method=method)) == keyword for text, keyword in ASKED)


@pytest.mark.parametrize("method", METHODS)
def test_the_word_that_decides_is_found_in_both_scripts_and_a_random_model_gives_no_such_map(
    keyword_model: LoadedModel, method: str
) -> None:
    assert len(ASKED) >= 8
    assert num_found(keyword_model, method) == len(ASKED)
    learned = keyword_model.model.state_dict()
    kept = {name: weight.clone() for name, weight in learned.items()}
    random = with_random_weights(keyword_model.model, generator=torch.Generator().manual_seed(0))
    try:
        keyword_model.model.load_state_dict(random.state_dict())
        assert num_found(keyword_model, method) <= len(ASKED) // 2
    finally:
        keyword_model.model.load_state_dict(kept)


def test_sanity_compares_with_models_of_random_weights(keyword_model: LoadedModel) -> None:
    answer = explained(keyword_model, TASK.name, "the grand tree is a forest until one time", checks_sanity=True)
    sanity = answer.explanations[0].sanity
    assert sanity is not None and len(sanity.strengths) == len(sanity.signed) == 5
    assert all(-1 <= value <= 1 for value in (*sanity.strengths, *sanity.signed))
    assert not sanity.is_above_chance and sanity.num_same_strongest <= 2


def test_another_label_can_be_asked_about_and_every_label(keyword_model: LoadedModel) -> None:
    text = "the grand tree is a forest"
    (bad,) = explained(keyword_model, TASK.name, text, about="bad").explanations
    assert bad.about == "bad" and bad.log_odds < 0
    every = explained(keyword_model, TASK.name, text, each=True).explanations
    assert [explanation.about for explanation in every] == list(TASK.labels)
    with pytest.raises(UnknownNameError, match="did you mean good"):
        explained(keyword_model, TASK.name, text, about="god")


@pytest.mark.parametrize("family", ["llama2", "qwen2.5"])
def test_imported_models_are_explained_in_their_chat_format(family: str, tmp_path: Path) -> None:
    tasks = [Classification(name="topic", labels=("tree", "树"), answer="words"), Tagging(name="tags", labels=("x",))]
    with load(save_tiny_foreign_model(family, tmp_path / "m", tasks=tasks), device="cpu", num_slots=1) as model:
        for text in ("An oak, not a fir.", "一棵树"):
            (topic,) = explained(model, "topic", text, method="occlusion").explanations
            assert "".join(word.text for word in topic.words).strip() == text
            (reply,) = explained(model, "dialogue", text, max_tokens=3).explanations
            assert any(word.value for word in reply.words)
        (word,) = explained(model, "tags", "An oak.", about="oak").explanations
        assert word.about.startswith("oak (")


def test_an_answer_under_an_adapter_is_explained_under_it(tmp_path: Path) -> None:
    task = Classification(name="topic", labels=("tree", "树"))
    adapter = save_random_adapter(tmp_path / "adapter", save_tiny_model(tmp_path / "model"), tasks=[task])
    with load(adapter, device="cpu", num_slots=1) as model:
        answer = explained(model, "topic", "An oak.", checks_sanity=True)
    assert answer.probability is not None
    odds = answer.probability / (1 - answer.probability)
    assert answer.explanations[0].log_odds == pytest.approx(math.log(odds), abs=1e-4)


def test_a_head_that_adds_up_n_grams_is_explained_by_leaving_words_out_and_not_by_gradients(tmp_path: Path) -> None:
    task = Classification(name="topic", labels=("tree", "树"), pooling="mean", ngram_buckets=64)
    adapter = save_random_adapter(tmp_path / "adapter", save_tiny_model(tmp_path / "model"), tasks=[task])
    with load(adapter, device="cpu", num_slots=1) as model:
        answer = explained(model, "topic", "An oak.")
        assert answer.method == "occlusion" and answer.probability is not None
        odds = answer.probability / (1 - answer.probability)
        assert answer.explanations[0].log_odds == pytest.approx(math.log(odds), abs=1e-4)
        assert any(word.value for word in answer.explanations[0].words)
        with pytest.raises(InputError, match="task topic cannot be explained by integrated-gradients"):
            explained(model, "topic", "An oak.", method="integrated-gradients")


def test_a_word_that_is_not_there_is_refused(keyword_model: LoadedModel, tmp_path: Path) -> None:
    with load(save_tiny_foreign_model("qwen2.5", tmp_path / "m", tasks=[Tagging(name="tags", labels=("x",))])) as model:
        with pytest.raises(InputError, match="is no word of the text"):
            explained(model, "tags", "An oak.", about="elm")
        with pytest.raises(InputError, match="is no word of the answer"):
            explained(model, "dialogue", "An oak.", about="elm", max_tokens=2)
