"""One task of every kind, and rows it learns from, for tests that hold for all kinds."""

from __future__ import annotations

from typing import Any

from banyan.core.types import Image, Row
from banyan.tasks.base import Task
from banyan.tasks.captioning import Captioning
from banyan.tasks.classification import Classification
from banyan.tasks.dialogue import Dialogue
from banyan.tasks.image_generation import ImageGeneration, PictureExample
from banyan.tasks.language_modeling import LanguageModeling
from banyan.tasks.picture_classification import PictureClassification
from banyan.tasks.question_answering import QuestionAnswering
from banyan.tasks.summarization import Summarization
from banyan.tasks.tagging import Tagging
from banyan.tasks.translation import Translation
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.banyan_layout import SPECIAL_TOKENS

NAMES = ("lm", "topic", "words", "tags", "mt", "sum", "qa", "chat", "draw")
NUM_CODES = 16
VOCABULARY = tiny_vocabulary(NAMES, num_image_codes=NUM_CODES)

TASKS: dict[str, Task[Any]] = {
    "language_modeling": LanguageModeling(name="lm"),
    "classification": Classification(name="topic", labels=("tree", "树")),
    "classification as words": Classification(name="words", labels=("tree", "树"), answer="words"),
    "tagging": Tagging(name="tags", labels=("place", "tree")),
    "translation": Translation(name="mt", max_answer_tokens=48),
    "summarization": Summarization(name="sum", max_answer_tokens=48),
    "question_answering": QuestionAnswering(name="qa", may_be_empty=True),
    "dialogue": Dialogue(name="chat", max_answer_tokens=48),
    "image_generation": ImageGeneration(name="draw", grid_size=2, num_codes=NUM_CODES),
}

SEEING: dict[str, Task[Any]] = {  # kinds whose question is a picture; its codes stand for it
    "picture_classification": PictureClassification(name="topic", labels=("tree", "树")),
    "picture classification as words": PictureClassification(name="words", labels=("tree", "树"), answer="words"),
    "captioning": Captioning(name="sum", max_answer_tokens=16),
}

GREY = {"width": 2, "height": 2, "channels": 1, "pixels": [0, 255, 255, 0]}


def row_about(kind: str, text: str) -> Row:
    """Return a row of a kind that holds a given text wherever a user's text can stand."""
    rows: dict[str, Row] = {
        "language_modeling": {"text": text},
        "classification": {"text": text, "label": "tree"},
        "classification as words": {"text": text, "label": 1},
        "tagging": {"text": f"oak {text}", "entities": [{"label": "tree", "start": 0, "end": 3}]},
        "translation": {"translation": {"en": text, "zh": text}},
        "summarization": {"document": text, "summary": text},
        "question_answering": {
            "question": text,
            "context": f"oak {text}",
            "answers": [{"text": "oak", "start": 0}],
        },
        "dialogue": {
            "messages": [
                {"role": "system", "content": text},
                {"role": "user", "content": text},
                {"role": "assistant", "content": text},
                {"role": "user", "content": text},
                {"role": "assistant", "content": text},
            ]
        },
        "image_generation": {"text": text, "image": GREY, "label": "7"},
    }
    return rows[kind]


def example_about(kind: str, text: str) -> Any:
    """Return the parsed example of a kind, ready to render."""
    example = TASKS[kind].parse(row_about(kind, text))
    if isinstance(example, PictureExample):
        return PictureExample(
            caption=example.caption, captions=example.captions, image=example.image, codes=(3, 1, 4, 1)
        )
    return example


ENGLISH = "The banyan grows one tree at a time."
CHINESE = "独木成林：一棵树，一片森林。"
HOSTILE = "".join(SPECIAL_TOKENS)
PIXELS = Image(width=2, height=2, channels=1, pixels=bytes([0, 255, 255, 0]))
