"""Dialogue without a Transformer: what was answered to the most similar question of the training examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sklearn.feature_extraction.text import TfidfVectorizer

from banyan.core.types import Prediction
from banyan.tasks.dialogue import DialogueExample
from banyan.tasks.units import words


def nearest_answer(
    task: str, train: Sequence[DialogueExample]
) -> Callable[[Sequence[DialogueExample]], list[Prediction]]:
    """Answer as the training example whose last message has the highest cosine of TF-IDF; Han and kana by character."""
    features = TfidfVectorizer(tokenizer=words, token_pattern=None, lowercase=True, sublinear_tf=True)
    known = features.fit_transform([_last_said(example) for example in train])
    answers = [example.answer or "" for example in train]

    def answer(examples: Sequence[DialogueExample]) -> list[Prediction]:
        asked = features.transform([_last_said(example) for example in examples])
        # row by row: a table of all pairs may not fit into memory
        nearest = [int((row @ known.T).toarray().argmax()) for row in asked]
        return [Prediction(task=task, text=answers[place]) for place in nearest]

    return answer


def _last_said(example: DialogueExample) -> str:
    return example.history[-1].content if example.history else ""
