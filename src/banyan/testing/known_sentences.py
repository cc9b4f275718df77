"""A tiny model that knows twenty sentences by heart: its next token is never in doubt, whoever computes it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from banyan.core.model_directory import new_model_directory
from banyan.model.checkpoint import save_model
from banyan.model.transformer import Transformer
from banyan.runtime.description import describe_model, write_description
from banyan.tasks.dialogue import Dialogue
from banyan.tasks.language_modeling import LanguageModeling
from banyan.testing.models import tiny_model_config
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.vocabulary import Vocabulary

# The first word of each is a prompt that nothing else begins with.
SENTENCES = (
    "Apples fall when nobody looks.",
    "Banyans grow into a forest.",
    "Clouds cross 3 valleys a day.",
    "Doors open at 8:30.",
    "Every tree has a name.",
    "Frost came early in 1987!",
    "Gardens need water, and time.",
    "He's seen 12 of them.",
    "It isn't far: two hours.",
    "Joy returns with the spring.",
    "独木成林，一棵树。",
    "今天天气很好。",
    "树下有人说话。",
    "def add(a, b): return a + b",
    "for x in range(10): pass",
    "Große Bäume werfen Schatten.",
    "Où sont les arbres ?",
    "Zebras 🦓 run in 2 rows.",
    "{\"key\": [1, 2, 3]}",
    "Quiet    spaces  stay.",
)  # fmt: skip
PROMPTS = tuple(
    sentence[: 2 if not sentence[0].isascii() else max(4, sentence.find(" "))].rstrip() for sentence in SENTENCES
)
TASKS = (LanguageModeling(name="text"), Dialogue(name="chat"))
_STEPS = 120


def save_known_sentences(directory: Path, **changes: Any) -> Path:
    """Write a model directory that `banyan.load` opens; `changes` are fields of its config."""
    vocabulary = tiny_vocabulary([task.name for task in TASKS])
    model = _model_that_knows(tuple(sorted(changes.items())))
    with new_model_directory(directory) as temporary:
        eos_ids = (vocabulary.eos_id, vocabulary.end_id)
        save_model(model, temporary, bos_id=vocabulary.bos_id, eos_ids=eos_ids, pad_id=vocabulary.pad_id)
        vocabulary.save(temporary)
        write_description(temporary, describe_model(TASKS))
    return directory


@cache
def _model_that_knows(changes: tuple[tuple[str, Any], ...]) -> Transformer:
    vocabulary = tiny_vocabulary([task.name for task in TASKS])
    config = tiny_model_config(**{"embed_dim": 64, "max_seq_len": 128, "vocab_size": vocabulary.size, **dict(changes)})
    torch.manual_seed(0)
    model = Transformer(config)
    token_ids, targets = _rows(vocabulary)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(_STEPS):
        logits = model.logits(model(token_ids))
        loss = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def _rows(vocabulary: Vocabulary) -> tuple[torch.Tensor, torch.Tensor]:
    texts = [[vocabulary.bos_id, *vocabulary.encode(sentence), vocabulary.eos_id] for sentence in SENTENCES]
    longest = max(map(len, texts))
    padded = torch.tensor([text + [vocabulary.pad_id] * (longest - len(text)) for text in texts])
    targets = padded[:, 1:].masked_fill(padded[:, 1:] == vocabulary.pad_id, -1)
    return padded[:, :-1], targets
