"""What every test shares: one thread, tiny rows of all eight kinds, and one tiny run trained on them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from banyan.core.before_torch import REPEATABLE_PRODUCTS

os.environ.setdefault(*REPEATABLE_PRODUCTS)  # as the program does

import pytest
import torch
from hypothesis import HealthCheck, settings

from banyan.core.config import config_from_mapping
from banyan.workflows.picture_judging import JUDGE_FILE, JudgeRecipe, SavedJudge, load_judge, train_judge_of
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome, train

# Property tests are judged by what they find, not by how busy the machine is. It is set here because a test takes the
# profile that is in force when its file is read.
settings.register_profile("no-clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no-clock")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # Two test processes would otherwise fight over two cores.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _random_numbers_of_its_own() -> None:
    # What a test draws without a seed would otherwise depend on what the tests before it have drawn.
    torch.manual_seed(0)


def _picture(number: int) -> dict[str, Any]:
    """Return a picture of kind number % 3, of which no other number has the same."""
    label = number % 3
    pixels = [240 if (x + y * label) % 3 == 0 else 16 * label for y in range(4) for x in range(4)]
    pixels[number % 16] += 1 + number // 16 % 15
    return {"width": 4, "height": 4, "channels": 1, "pixels": pixels}


def rows_of_every_kind(num: int) -> dict[str, list[dict[str, Any]]]:
    """Return rows in the field's formats, both scripts, several of them too long for a row of training."""
    words = ["red", "blue", "gelb", "红色", "蓝色", "alpha", "beta", "gamma"]
    colour = [words[i % len(words)] for i in range(num)]
    long = ["", " and so on" * 60]
    return {
        "language_modeling": [
            {"text": f"def f{i}():\n    return '{colour[i]}'" + long[i % 9 == 0]} for i in range(num)
        ],
        "classification": [
            {"text": f"{colour[i]} thing number {i}{long[i % 11 == 0]}", "label": ["cold", "warm"][i % 2]}
            for i in range(num)
        ],
        "tagging": [
            {"tokens": ["see", colour[i], "in", "Paris"], "tags": ["O", "B-colour", "O", "B-place"]} for i in range(num)
        ],
        "translation": [
            {
                "translation": {"en": f"{i} apples", "de": f"{i} Äpfel"}
                if i % 2
                else {"zh": f"{i}个苹果", "en": f"{i}"},
                "source_language": "en" if i % 2 else "zh",
                "target_language": "de" if i % 2 else "en",
            }
            for i in range(num)
        ],
        "summarization": [
            {"document": f"def name_{i}(x):\n    return x{long[i % 7 == 0]}", "summary": f"Return {colour[i]}."}
            for i in range(num)
        ],
        "question_answering": [
            {
                "context": f"f{i}(width={i}) makes {colour[i]}.",
                "question": "What is the default of width?",
                "answers": [{"text": str(i), "start": len(f"f{i}(width=")}],
            }
            for i in range(num)
        ],
        "dialogue": [
            {
                "messages": [
                    {"role": "user", "content": f"What is {colour[i]}?"},
                    {"role": "assistant", "content": "A colour."},
                    {"role": "user", "content": "Sure?"},
                    {"role": "assistant", "content": "Yes."},
                ]
            }
            for i in range(num)
        ],
        "image_generation": [
            {"image": _picture(i), "text": [f"picture {i % 3}", f"图片{i % 3}"][i % 2], "label": str(i % 3)}
            for i in range(num)
        ],
    }


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One JSON-lines file for each kind of task."""
    directory = tmp_path_factory.mktemp("rows")
    files = {}
    for kind, rows in rows_of_every_kind(210).items():
        files[kind] = directory / f"{kind}.jsonl"
        files[kind].write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return files


@pytest.fixture(scope="session")
def tiny_recipe(tiny_files: dict[str, Path]) -> Recipe:
    """All eight kinds of task in a model that trains in seconds."""
    return config_from_mapping(
        Recipe,
        {
            "name": "tiny",
            "model": {
                "num_layers": 2,
                "embed_dim": 32,
                "num_heads": 2,
                "num_kv_heads": 1,
                "head_dim": 16,
                "ffn_dim": 48,
            },
            "tokenizer": {"vocab_size": 300},
            "image_tokenizer": {"num_codes": 8},
            "train": {"steps": 6, "seq_len": 96, "micro_batch_seqs": 8, "evaluate_every": 3, "log_every": 1},
            "evaluation": {"max_validation_examples": 2},
            "tasks": [
                {
                    "name": kind,
                    "kind": kind,
                    "data": {"train": str(path), "validation_fraction": 0.02, "test_fraction": 0.02},
                }
                for kind, path in tiny_files.items()
            ],
        },
    )


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> TrainingOutcome:
    """One finished training run over all eight kinds of task."""
    return train(tiny_recipe, reporter=SilentReporter(), run_directory=tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(autouse=True)
def _log_lines_go_where_they_went() -> Iterator[None]:
    """Undo what the program's entry point does to our logger, for the tests that come after."""
    logger = logging.getLogger("banyan")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture(scope="session")
def judge_keys(tiny_files: dict[str, Path]) -> dict[str, Any]:
    """The recipe of a judge of the tiny pictures."""
    return {
        "kind": "picture_judge",
        "name": "judge",
        "width": 8,
        "data": {"train": str(tiny_files["image_generation"]), "test_fraction": 0.2},
        "training": {"epochs": 25, "batch_pictures": 32, "max_shift": 0},
    }


@pytest.fixture(scope="session")
def judge_file(judge_keys: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge of the tiny pictures."""
    directory = tmp_path_factory.mktemp("judges") / "judge"
    train_judge_of(config_from_mapping(JudgeRecipe, judge_keys), reporter=SilentReporter(), directory=directory)
    return directory / JUDGE_FILE


@pytest.fixture(scope="session")
def judge(judge_file: Path) -> SavedJudge:
    """The same, ready to look."""
    return load_judge(judge_file)
