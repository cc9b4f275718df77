"""What a model is served is what it was taught: the same ids in training, evaluation, files and a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from banyan.core.hashing import hash_token_ids
from banyan.core.types import MaskKind, Prompt, TokenSequence
from banyan.infer.engine import Engine
from banyan.runtime.loading import load
from banyan.store.queries import RequestFilter
from banyan.store.sql_store import open_store
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.datasets import load_splits
from banyan.workflows.prediction import predict_file
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.scoring import evaluate_model
from banyan.workflows.training import TrainingOutcome

NUM_EXAMPLES = 200
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def taught(tiny_run: TrainingOutcome) -> dict[str, list[TokenSequence]]:
    """The sequences that training saw, in the order of the training rows."""
    material, seq_len = tiny_run.material, tiny_run.recipe.train.seq_len
    taught = {}
    for task, source in zip(material.tasks, material.sources, strict=True):
        if task.kind == "image_generation":  # rendered several times, with and without the wish
            examples = material.train[task.name]
            with_codes = [
                source[i] for i in range(len(source)) if material.vocabulary.null_id not in source[i].token_ids
            ]
            assert len(with_codes) == len(examples)
            taught[task.name] = with_codes
        elif task.kind == "language_modeling":
            taught[task.name] = first_windows([source[i] for i in range(len(source))], material.vocabulary.bos_id)
        else:
            taught[task.name] = [source[i] for i in range(len(source))]
        assert all(len(sequence) <= seq_len for sequence in taught[task.name])
    return taught


def first_windows(windows: Sequence[TokenSequence], bos_id: int) -> list[TokenSequence]:
    """Leave out the windows in which a long document goes on."""
    return [window for window in windows if window.token_ids[0] == bos_id]


@pytest.fixture(scope="module")
def asked(tiny_run: TrainingOutcome) -> Rows:
    """The training rows of every task, without their answers where the answer would be part of the question."""
    splits = {task.name: load_splits(task, seed=tiny_run.recipe.seed) for task in tiny_run.recipe.tasks}
    rows = {name: [dict(row) for row in split.train[:NUM_EXAMPLES]] for name, split in splits.items()}
    for row in rows["dialogue"]:
        row["messages"] = row["messages"][:-1]
    for row in rows["image_generation"]:
        del row["image"]
    return rows


def expected_prompt(sequence: TokenSequence, num_prompt_tokens: int) -> tuple[int, ...]:
    """Return the part of a training sequence that is its question."""
    if sequence.mask is MaskKind.FULL:
        return sequence.token_ids
    return sequence.token_ids[: sequence.prefix_len or num_prompt_tokens]


def check(sequences: Sequence[TokenSequence], hashes: Sequence[tuple[str, int]]) -> None:
    assert len(hashes) == min(NUM_EXAMPLES, len(sequences)) > 150
    for sequence, (digest, num_prompt_tokens) in zip(sequences, hashes, strict=False):
        assert digest == hash_token_ids([expected_prompt(sequence, num_prompt_tokens)])


def stored_hashes(database: str, task: str, rows: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return what the store knows of each row's prompt, in the order of the rows."""
    with open_store(database) as store:
        requests = [exchange.request for exchange in store.queries.iterate(RequestFilter(task=task, limit=10_000))]
    assert len(requests) == len(rows)
    asked = {canonical(request.body.get("input", request.body)): request for request in requests}
    found = [asked[canonical(row)] for row in rows]
    return [(request.prompt_sha256, request.num_prompt_tokens) for request in found]


def canonical(row: Any) -> str:
    return json.dumps(row, sort_keys=True)


@contextmanager
def served(model: Path, database: str) -> Iterator[str]:
    command = [sys.executable, "-m", "banyan", "serve", str(model), "--port", "0", "--no-auth", "--database", database]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split(" at ")[1].split()[0]
        finally:
            process.terminate()


def test_a_server_process_gives_the_engine_the_ids_of_training(
    tiny_run: TrainingOutcome, taught: dict[str, list[TokenSequence]], asked: Rows, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path / 'served.db'}"
    with served(tiny_run.result.last_checkpoint, database) as url, httpx.Client(base_url=url, timeout=60) as client:

        def ask(job: tuple[str, dict[str, Any]]) -> int:
            task, row = job
            return client.post(f"/v1/tasks/{task}", json={"input": row, "max_tokens": 1}).status_code

        jobs = [(task, row) for task, rows in asked.items() for row in rows]
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, jobs)) == {200}
    for task, sequences in taught.items():
        check(sequences, stored_hashes(database, task, asked[task]))


def test_batch_prediction_gives_the_engine_the_ids_of_training(
    tiny_run: TrainingOutcome, taught: dict[str, list[TokenSequence]], asked: Rows, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path / 'predicted.db'}"
    with load(tiny_run.result.last_checkpoint) as model:
        for task, rows in asked.items():
            source = tmp_path / f"{task}.jsonl"
            source.write_text("".join(json.dumps(row) + "\n" for row in rows))
            sampling = model.sampling_for(task)
            with AnswerRecorder(model, endpoint="predict", database=database) as recorder:
                output = tmp_path / f"{task}.out.jsonl"
                done = predict_file(
                    model, task, source, output, sampling=sampling, recorder=recorder, reporter=SilentReporter()
                )
            assert done.num_failed == 0
            check(taught[task], stored_hashes(database, task, rows))


def test_evaluation_gives_the_engine_the_ids_of_training(
    tiny_run: TrainingOutcome, taught: dict[str, list[TokenSequence]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[tuple[str, int]]] = {}
    complete = Engine.complete

    def listen(engine: Engine, prompts: Sequence[Prompt], *rest: Any) -> Any:
        seen[prompts[0].task] = [(hash_token_ids([prompt.token_ids]), len(prompt)) for prompt in prompts]
        return complete(engine, prompts, *rest)

    monkeypatch.setattr(Engine, "complete", listen)
    examples = {name: items[:NUM_EXAMPLES] for name, items in tiny_run.material.train.items()}
    del examples["language_modeling"]  # scored by likelihood: there is no prompt
    judges = {"image_generation": lambda images: ["0"] * len(images)}
    with load(tiny_run.result.last_checkpoint) as model:
        evaluate_model(model, examples, judges=judges, reporter=SilentReporter(), num_samples=2)
    assert set(seen) == set(examples)
    for task, hashes in seen.items():
        check(taught[task], hashes)
