"""What a Python user sees: every task by name, text, talk, pictures, bits; and that it is what the engine answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from banyan.core.errors import ConfigError, ContextLengthError, DataError, InputError, UnknownNameError
from banyan.core.model_directory import write_manifest
from banyan.core.types import Prediction
from banyan.infer.candidates import best_candidate, candidates_of
from banyan.infer.sampling import GREEDY, SamplingConfig
from banyan.model.checkpoint import save_model
from banyan.runtime.description import describe_model, write_description
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.testing.model_directories import save_tiny_model
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.tasks import CHINESE, ENGLISH, HOSTILE, TASKS, example_about
from banyan.testing.vocabulary import tiny_vocabulary

ASKED = {
    "lm": "def add(",
    "topic": ENGLISH,
    "words": CHINESE,
    "tags": "The banyan in India",
    "mt": "en>zh: three trees",
    "sum": ENGLISH,
    "qa": "What grows? ||| The banyan grows.",
    "chat": "What does it return?",
    "draw": "a handwritten seven",
}


def said(prediction: Prediction) -> tuple[object, ...]:
    """Everything but the probabilities, whose last digits may depend on the size of a batch."""
    return prediction.text, prediction.tags, prediction.span, prediction.image_codes, prediction.finish_reason


@pytest.mark.parametrize("task", list(ASKED))
def test_every_task_answers_a_typed_question(model: LoadedModel, task: str) -> None:
    [prediction] = model.predict(task, ASKED[task])
    assert isinstance(prediction, Prediction)
    assert prediction.task == task and prediction.num_prompt_tokens > 0
    again, repeated = model.predict(task, [ASKED[task]] * 2)
    assert said(again) == said(prediction)
    assert said(repeated) == said(prediction) or not model.sampling_for(task).is_greedy


@pytest.mark.parametrize("kind", list(TASKS))
@pytest.mark.parametrize("text", [ENGLISH, HOSTILE], ids=["plain", "special tokens as text"])
def test_every_task_answers_parsed_examples_as_the_training_prompt_asks_them(
    model: LoadedModel, kind: str, text: str
) -> None:
    task, example = TASKS[kind], example_about(kind, text[:60])
    prompt = model.prompt(task.name, example)
    trained = task.render(example, model.vocabulary, max_tokens=model.max_seq_len)
    assert trained.token_ids[: len(prompt)] == prompt.token_ids
    [prediction] = model.answer(task.name, [example])
    assert prediction.num_prompt_tokens == len(prompt)


def test_closed_answers_are_inside_what_may_be_answered(model: LoadedModel) -> None:
    for task in ("topic", "words"):
        prediction = model.predict(task, ENGLISH)[0]
        assert prediction.labels is not None and set(prediction.labels) == {"tree", "树"}
        assert sum(prediction.labels.values()) == pytest.approx(1)
    context = "The banyan grows."
    answer = model.predict("qa", {"question": "What grows?", "context": context})[0]
    assert answer.text in context
    picture = model.predict("draw", "seven")[0]
    assert picture.image is not None and picture.image_codes is not None and len(picture.image_codes) == 4


def test_records_are_read_by_the_tasks_own_columns(model: LoadedModel) -> None:
    assert said(model.predict("topic", {"text": ENGLISH})[0]) == said(model.predict("topic", ENGLISH)[0])
    with pytest.raises(DataError, match="text"):
        model.predict("topic", [{"txt": ENGLISH}])


def test_an_unknown_task_names_the_nearest(model: LoadedModel) -> None:
    with pytest.raises(UnknownNameError, match="did you mean topic"):
        model.predict("topc", "x")


def test_text_goes_on_the_same_with_the_same_seed_and_as_a_stream(model: LoadedModel) -> None:
    text = model.generate("The banyan", max_tokens=20, seed=3)
    assert text == model.generate("The banyan", max_tokens=20, seed=3)
    assert text == "".join(model.generate_stream("The banyan", max_tokens=20, seed=3))
    assert len({model.generate("The banyan", max_tokens=20, seed=seed) for seed in range(4)}) > 1
    assert model.generate("The", max_tokens=5, temperature=0) == model.generate("The", max_tokens=5, sampling=GREEDY)


def test_a_text_can_begin_from_nothing(model: LoadedModel) -> None:
    assert isinstance(model.generate(max_tokens=3), str)


def test_a_text_longer_than_the_context_is_refused_at_once_and_not_cut(model: LoadedModel) -> None:
    with pytest.raises(ContextLengthError):
        model.generate("树 " * 200)
    with pytest.raises(ContextLengthError):
        model.generate_stream("树 " * 200)


def test_a_stream_that_is_left_early_frees_its_slot(model: LoadedModel) -> None:
    for _ in range(model.engine.num_slots + 1):
        stream = model.generate_stream("The banyan", max_tokens=80, temperature=1.0)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    assert model.generate("The", max_tokens=2) is not None


def test_talk_is_the_dialogue_task(model: LoadedModel) -> None:
    reply = model.chat("What grows?", max_tokens=12)
    messages = [{"role": "user", "content": "What grows?"}]
    assert reply == model.chat(messages, max_tokens=12) == "".join(model.chat_stream(messages, max_tokens=12))
    [prediction] = model.predict("chat", {"messages": messages}, sampling=SamplingConfig(max_tokens=12))
    assert prediction.text == reply
    with pytest.raises(DataError):
        model.chat([])


def test_pictures_have_seeds_of_their_own_that_follow_from_one(model: LoadedModel) -> None:
    images = model.draw("a seven", num=5, seed=1)
    assert len(images) == 5 and len(set(images)) > 1
    assert all((image.width, image.height) == (4, 4) for image in images)
    assert model.draw("a seven", num=2, seed=1) == images[:2]
    assert model.draw("a seven", num=1, seed=1, guidance_scale=1.0) == images[:1]
    with pytest.raises(InputError, match="num=0"):
        model.draw("a seven", num=0)


def test_a_picture_is_the_best_of_its_candidates(model: LoadedModel) -> None:
    sampling = SamplingConfig(temperature=1.0, seed=1, num_candidates=4)
    task = model.task_of_kind("image_generation")
    prompt = model.prompt(task.name, task.example_from_text("a seven"))
    candidates = model.engine.complete([prompt] * 4, candidates_of(prompt, sampling))
    assert model.draw("a seven", sampling=sampling) == [model.read(prompt, best_candidate(candidates)).image]


def test_bits_per_byte_weigh_texts_by_their_bytes(model: LoadedModel) -> None:
    texts = [ENGLISH, CHINESE * 5]
    expected = sum(model.bits_per_byte([text]) * len(text.encode()) for text in texts)
    assert model.bits_per_byte(texts) == pytest.approx(expected / sum(len(text.encode()) for text in texts), rel=1e-5)
    with pytest.raises(InputError, match="not empty"):
        model.bits_per_byte([""])


def test_the_models_own_sampling_is_used_unless_the_request_says_otherwise(tmp_path: Path) -> None:
    directory = save_tiny_model(tmp_path / "model", sampling={"chat": SamplingConfig(max_tokens=3)})
    with load(directory, device="cpu", num_slots=2) as model:
        assert model.sampling_for("chat").max_tokens == 3
        assert model.predict("chat", "What?")[0].num_completion_tokens <= 3
        assert model.sampling_for("mt") == GREEDY


def test_a_model_that_cannot_talk_or_draw_says_what_it_can(tmp_path: Path) -> None:
    save_model(tiny_model(tiny_model_config()), tmp_path)
    tiny_vocabulary(("mt",)).save(tmp_path)
    write_description(tmp_path, describe_model([TASKS["translation"]]))
    write_manifest(tmp_path)
    with load(tmp_path, device="cpu", num_slots=1) as model:
        for ask in (lambda: model.chat("hi"), lambda: model.draw("seven")):
            with pytest.raises(ConfigError, match="mt \\(translation\\)"):
                ask()
        assert isinstance(model.generate("The", max_tokens=2), str)  # plain text needs no task


def test_a_repr_shows_where_the_model_is_and_what_it_can(model: LoadedModel) -> None:
    assert "tiny" in repr(model) and "topic" in repr(model) and model.num_parameters > 10_000


def test_texts_become_unit_vectors_whose_dot_product_is_the_cosine(model: LoadedModel) -> None:
    vectors = model.embed(["three days ago", "三天前"])
    assert vectors.shape == (2, model.model.config.embed_dim) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.embed("三天前")[0], vectors[1], atol=1e-6)
    raw = model.embed("三天前", pooling="last", layer=0, normalise=False)[0]
    last_id = model.vocabulary.encode("三天前")[-1]
    np.testing.assert_allclose(raw, model.model.embedding.weight[last_id].detach().numpy(), atol=1e-6)
