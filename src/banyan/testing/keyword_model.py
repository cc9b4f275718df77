"""A tiny classifier that was taught to decide by a single word: what carried its answers is known."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from banyan.core.model_directory import new_model_directory
from banyan.core.types import Prompt
from banyan.infer.forward import hidden_states, prompt_row
from banyan.model.checkpoint import save_model
from banyan.model.transformer import Transformer
from banyan.runtime.description import describe_model, write_description
from banyan.tasks.classification import Classification, ClassificationExample
from banyan.testing.models import tiny_model_config
from banyan.testing.vocabulary import tiny_vocabulary

TASK = Classification(name="mood", labels=("good", "bad", "neither"))
VOCABULARY = tiny_vocabulary([TASK.name])
_KEYWORDS = {"good": ("grand", "好"), "bad": ("foul", "坏")}  # one for each script; neither: none of them
_FILLERS = (
    ("the", "a", "tree", "forest", "one", "time", "it", "is", "until", "whole"),
    tuple("一棵树片森林今天我们去看"),
)
_MAX_SEQ_LEN = 64
_STEPS, _ROWS = 60, 24


def sentences(num: int, *, seed: int) -> list[tuple[str, str, str]]:
    """Return sentences in both scripts, each with its key word (if it has one) and its label."""
    draw = random.Random(seed)
    found = []
    for number in range(num):
        script, label = number % 2, draw.choice(TASK.labels)
        words = [draw.choice(_FILLERS[script]) for _ in range(draw.randint(5, 8))]
        keyword = _KEYWORDS[label][script] if label in _KEYWORDS else ""
        if keyword:
            words[draw.randrange(len(words))] = keyword
        found.append((("" if script else " ").join(words), keyword, label))
    return found


def save_keyword_model(directory: Path) -> Path:
    """Write a model directory that `banyan.load` opens."""
    with new_model_directory(directory) as temporary:
        save_model(_taught(), temporary)
        VOCABULARY.save(temporary)
        write_description(temporary, describe_model([TASK]))
    return directory


@cache
def _taught() -> Transformer:
    torch.manual_seed(0)
    heads = [task.head for task in (TASK,) if task.head is not None]
    model = Transformer(tiny_model_config(vocab_size=VOCABULARY.size, max_seq_len=_MAX_SEQ_LEN), heads)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(_STEPS):
        examples = sentences(_ROWS, seed=step)
        rows = [
            prompt_row(prompt, positions=[len(prompt) - 1]) for prompt in (_prompt(text) for text, _, _ in examples)
        ]
        hidden = torch.cat(hidden_states(model, rows, max_batch_tokens=_ROWS * _MAX_SEQ_LEN))
        due = torch.tensor([TASK.labels.index(label) for _, _, label in examples])
        loss = cross_entropy(model.head_logits(TASK.name, hidden), due)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def _prompt(text: str) -> Prompt:
    return TASK.prompt(ClassificationExample(text=text), VOCABULARY, max_tokens=_MAX_SEQ_LEN)
