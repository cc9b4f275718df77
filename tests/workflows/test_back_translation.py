from typing import Any

import pytest

from banyan.core.errors import ConfigError
from banyan.core.types import FinishReason, Prediction
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.augmentation.config import Augmentation
from banyan.tasks.translation import TranslationExample
from banyan.workflows.back_translation import translated_texts


def ask(model: LoadedModel, examples: list[Any], texts: list[str], **changes: Any) -> dict[str, str]:
    augment = Augmentation(**{"back_translation": 1.0, **changes})
    return translated_texts(model, augment, examples, texts, progress=lambda done, total: None)


def into_english(model: LoadedModel, text: str) -> Prediction:
    """Ask as the augmentation does, for a model that was taught the other direction only."""
    return model.answer("translation", [TranslationExample(text=text, source_language="de", target_language="en")])[0]


def test_the_source_of_a_translation_is_made_anew_from_its_translation(loaded: LoadedModel) -> None:
    examples = [
        TranslationExample(text=f"{n} apples", source_language="en", target_language="de", translation=f"{n} Äpfel")
        for n in range(6)
    ]
    found = ask(loaded, examples, [])
    asked = {e.text: into_english(loaded, e.translation or "") for e in examples}
    expected = {text: a.text for text, a in asked.items() if a.finish_reason is FinishReason.STOP and a.text}
    assert found == expected


def test_a_text_goes_there_and_back_and_what_is_not_finished_is_left_out(loaded: LoadedModel) -> None:
    texts = [f"{n} apples" for n in range(8)]
    found = ask(loaded, [], texts, pivot="en>de")
    assert len(ask(loaded, [], texts, pivot="en>de", max_translated=2)) <= 2
    for text, other in found.items():
        there = loaded.predict("translation", f"en>de: {text}")[0].text
        assert into_english(loaded, there).text == other


def test_a_task_that_does_not_translate_is_named(loaded: LoadedModel) -> None:
    with pytest.raises(ConfigError, match=r"augment\.translator=classification is a classification task"):
        ask(loaded, [], ["a"], pivot="en>de", translator="classification")
