"""Generated text beside real text: how it is made, cut, scored and written down."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from banyan.core.errors import ConfigError, DataError
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.testing.model_directories import save_tiny_model
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.text_comparison import compare_texts
from banyan.workflows.text_samples import text_log_probs
from banyan.workflows.text_scores import TextComparison
from banyan.workflows.training import TrainingOutcome


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(directory: Path) -> Iterator[LoadedModel]:
    with load(directory, device="cpu", num_slots=4) as loaded:
        yield loaded


@pytest.fixture
def real_file(tmp_path: Path) -> Path:
    path = tmp_path / "real.jsonl"
    texts = [
        "The banyan grows one tree at a time until it is a whole forest. " * 2,
        "今天天气很好，我们去看一棵大树。" * 2,
    ]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*texts, "short"]), encoding="utf-8")
    return path


def compare(directory: Path, real: Path, **options: Any) -> TextComparison:
    options = {"prompt_tokens": 8, "sample_tokens": 24, "seed": 1, **options}
    return compare_texts(directory, real, reporter=SilentReporter(), **options)


def test_the_model_writes_as_much_as_the_real_text_holds(directory: Path, real_file: Path) -> None:
    found = compare(directory, real_file)
    assert found.num_real == found.num_generated >= 2 and found.num_too_short == 1
    assert all(score.generated.value >= 0 for score in found.scores)


def test_the_same_seed_writes_the_same_text(directory: Path, real_file: Path) -> None:
    first, again, other = (compare(directory, real_file, seed=seed).samples.generated for seed in (1, 1, 2))
    assert first == again != other


def test_prompt_and_rest_joined_are_stretches_of_the_real_text(directory: Path, real_file: Path) -> None:
    samples = compare(directory, real_file).samples
    texts = [json.loads(line)["text"] for line in real_file.read_text("utf-8").splitlines()]
    for prompt, rest in zip(samples.prompts, samples.real, strict=True):
        assert any(prompt + rest in text for text in texts)


def test_perplexity_is_that_of_the_text_behind_its_prompt(model: LoadedModel, directory: Path, real_file: Path) -> None:
    found = compare(directory, real_file)
    total = num_tokens = 0.0
    for prompt, rest in zip(found.samples.prompts, found.samples.real, strict=True):
        log_probs, counts = text_log_probs(model, [prompt], [rest])
        ids = model.vocabulary.encode(rest)
        bits_with, bits_without = model.engine.bits([prompt + rest]), model.engine.bits([prompt])
        assert counts == [len(ids)]
        if model.vocabulary.encode(prompt) + ids == model.vocabulary.encode(prompt + rest):  # cut where tokens end
            expected = (bits_without[0] - bits_with[0]) * math.log(2)
            assert log_probs[0] == pytest.approx(expected, abs=1e-2)
        total, num_tokens = total + log_probs[0], num_tokens + counts[0]
    perplexity = found.named("perplexity").real
    assert perplexity is not None and perplexity.value == pytest.approx(math.exp(-total / num_tokens), rel=1e-5)


def test_files_without_equal_numbers_are_compared_without_pairs(
    directory: Path, real_file: Path, tmp_path: Path
) -> None:
    generated = tmp_path / "generated.txt"
    generated.write_text("The banyan grows until it is a forest.", encoding="utf-8")
    found = compare(directory, real_file, generated=generated)
    assert (found.num_real, found.num_generated) == (3, 1)
    assert "BLEU" not in {score.name for score in found.scores}
    assert any("need pairs" in note for note in found.notes)


def test_a_folder_gets_scores_texts_and_a_plot(directory: Path, real_file: Path, tmp_path: Path) -> None:
    found = compare(directory, real_file, output=tmp_path / "out")
    written = json.loads((tmp_path / "out" / "comparison.json").read_text("utf-8"))
    assert written["length_quantiles"]["real"][1] == statistics.median(found.lengths["real"])
    assert written["scores"]["chrF"]["generated"]["value"] == found.named("chrF").generated.value
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "out" / "samples.jsonl").read_text("utf-8").splitlines()) == found.num_real


def test_a_trained_model_knows_what_it_learned_from(tiny_run: TrainingOutcome, tmp_path: Path) -> None:
    real = tmp_path / "real.txt"
    real.write_text("def f1():\n    return 'blue' and so on and so on and so on", encoding="utf-8")
    found = compare(tiny_run.run_directory / "best", real)
    copied = found.named("in training text-4")
    assert copied.real is not None and copied.real.value > 0.5


def test_texts_that_are_too_short_are_refused_with_a_way_out(directory: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.txt"
    real.write_text("short", encoding="utf-8")
    with pytest.raises(DataError, match=r"none of its 1 texts has 16 tokens") as caught:
        compare(directory, real)
    assert "--prompt-tokens" in str(caught.value.hint)


def test_more_than_the_model_reads_is_refused_with_what_fits(directory: Path, real_file: Path) -> None:
    with pytest.raises(ConfigError, match="the model reads 96") as caught:
        compare(directory, real_file, prompt_tokens=50, sample_tokens=80)
    assert caught.value.hint == "--sample-tokens 44"
