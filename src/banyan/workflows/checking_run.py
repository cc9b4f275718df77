"""`banyan train RECIPE --check`: what can be found out about a run in a minute, before it takes hours."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psutil

from banyan.core.devices import choose_device
from banyan.core.errors import DataError, DivergedError, MemoryLimitError
from banyan.core.types import TokenSequence
from banyan.data.batch import Batch, collate
from banyan.model.transformer import Transformer
from banyan.train.checks import BY_HEART_NATS, BY_HEART_STEPS, LearnedByHeart, first_leak, learn_by_heart, peak_bytes
from banyan.train.losses import joint_loss
from banyan.train.measure import measure_step_seconds
from banyan.workflows.learning import balance_of, prepare_learning
from banyan.workflows.material import Material, gather_material
from banyan.workflows.number_formats import settle_formats
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter, SilentReporter
from banyan.workflows.resuming import settle_recipe
from banyan.workflows.settling import new_model, settle_sizes

_SAMPLES = 50  # sequences and texts of each task that are looked at
_MAX_TOKENS = 128  # of a sequence that is learned by heart
_FEW_TARGETS = 0.01  # of the positions: mostly computed for nothing
_LOST_SHARE = 0.05  # of a task's rows

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was tried."""

    name: str
    state: State
    found: str
    hint: str | None = None
    exit_code: int = 0  # of a failed check


def check_run(recipe: Recipe, *, reporter: Reporter) -> list[Check]:
    """Try everything that a long run depends on; nothing is written into the run's folder.

    Raises: the errors of data and configuration that `train` would raise before its first step.
    """
    device = choose_device(recipe.device)
    with tempfile.TemporaryDirectory(prefix="banyan-check-") as name:
        recipe = settle_recipe(recipe, Path(name), resume=False)
        material = gather_material(recipe, Path(name), reporter=reporter)
        recipe = settle_sizes(recipe, material, reporter=reporter, device=device)
        model = new_model(recipe, material).to(device)
        recipe = settle_formats(recipe, model, reporter=reporter)
        samples = {source.task: _spread(source) for source in material.sources}
        reporter.stage("look at the examples")
        checks = [_vocabulary(material, samples), *_targets(material, samples)]
        reporter.stage("try the masks")
        checks.append(_masks(model, material, samples, seq_len=recipe.train.seq_len))
        reporter.stage("learn one batch by heart")
        checks += _by_heart(model, recipe, material, samples)
        reporter.stage("measure a step")
        checks += _cost(model, recipe, material, Path(name))
    return checks


def exit_code_of(checks: Sequence[Check]) -> int:
    """Return that of the first check that failed, or 0."""
    return next((check.exit_code for check in checks if check.state == "failed"), 0)


def _spread(source: Any) -> list[TokenSequence]:
    step = max(1, len(source) // _SAMPLES)
    return [source[number] for number in range(0, len(source), step)][:_SAMPLES]


def _vocabulary(material: Material, samples: dict[str, list[TokenSequence]]) -> Check:
    """Every id is one the model has, texts come back as they were, and no text can become a special token."""
    vocabulary, hint = material.vocabulary, "train a tokenizer on this data: leave tokenizer.path out"
    fail = partial(Check, name="vocabulary", state="failed", hint=hint, exit_code=DataError.exit_code)
    for task, sequences in samples.items():
        highest = max(max(sequence.token_ids) for sequence in sequences)
        if highest >= vocabulary.size:
            return fail(found=f"task {task} holds id {highest}, but the vocabulary ends at {vocabulary.size - 1}")
    texts = [text for examples in material.train.values() for text in _texts_in(examples[:_SAMPLES])]
    for text in texts:
        if vocabulary.decode(vocabulary.encode(text)) != text:
            return fail(found=f"{text[:60]!r} does not come back from its token ids as it was")
    if vocabulary.bos_id in vocabulary.encode("<|bos|> <|pad|> <|user|>"):
        return fail(found="a user's text can become a special token")
    return Check(
        name="vocabulary", state="ok", found=f"{vocabulary.size} ids; {len(texts)} texts come back as they were"
    )


def _texts_in(value: Any) -> Iterator[str]:
    """Yield the texts of an example, wherever they are."""
    if isinstance(value, str):
        yield value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _texts_in(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts_in(item)


def _targets(material: Material, samples: dict[str, list[TokenSequence]]) -> Iterator[Check]:
    """Count the positions of each task that carry loss, and the rows that were lost."""
    for task, sequences in samples.items():
        num_tokens = sum(len(sequence) for sequence in sequences)
        num_targets = sum(weight > 0 for sequence in sequences for weight in sequence.loss_weights)
        num_empty = sum(not any(sequence.loss_weights) for sequence in sequences)
        lost, num_rows = material.skipped.get(task, 0), max(1, len(material.train[task]))
        found = f"{num_targets / num_tokens:.1%} of the positions carry loss; {lost} of {num_rows} rows are left out"
        check = partial(Check, name=f"targets of {task}", found=found)
        hint = "raise train.seq_len or set max_source_tokens, so that answers are not cut off"
        if num_empty:
            yield check(
                state="failed", hint=hint, exit_code=DataError.exit_code,
                found=f"{num_empty} of {len(sequences)} examples have no target at all",
            )  # fmt: skip
        elif lost > _LOST_SHARE * num_rows or num_targets < _FEW_TARGETS * num_tokens:
            yield check(state="warning", hint=hint)
        else:
            yield check(state="ok")


def _masks(model: Transformer, material: Material, samples: dict[str, list[TokenSequence]], *, seq_len: int) -> Check:
    sequences = [_shortest(found) for found in samples.values()]
    kinds = ", ".join(sorted({str(sequence.mask) for sequence in sequences}))
    leak = first_leak(model, sequences, seq_len=seq_len, pad_id=material.vocabulary.pad_id)
    if leak is not None:
        return Check(name="masks", state="failed", found=leak, exit_code=DivergedError.exit_code)
    return Check(name="masks", state="ok", found=f"no position sees what it must not ({kinds}; packed rows)")


def _shortest(sequences: Sequence[TokenSequence]) -> TokenSequence:
    """Return one that has something to look at."""
    return min((s for s in sequences if len(s) > 3), key=len, default=sequences[0])


def _by_heart(
    model: Transformer, recipe: Recipe, material: Material, samples: dict[str, list[TokenSequence]]
) -> Iterator[Check]:
    names = [task.name for task in material.tasks]
    heads = tuple(task.head for task in material.tasks)
    learned = learn_by_heart(
        model,
        small_batch(material, samples, seq_len=recipe.train.seq_len),
        loss_function=partial(joint_loss, task_heads=heads),
        balance=balance_of(recipe, material),
        optimizer=dataclasses.replace(recipe.optimizer, weight_decay=0.0),
    )
    yield _gradients(learned)
    slow = [
        f"{name} {loss:.3f}" for name, loss in zip(names, learned.task_losses, strict=True) if loss >= BY_HEART_NATS
    ]
    is_number = all(math.isfinite(loss) for loss in learned.task_losses)
    if slow or not is_number:
        found = f"after {learned.num_steps} steps, in nats per target: {', '.join(slow) or 'not a number'}"
        yield _not_by_heart(found, is_failure=not is_number or _learns_whole(model, recipe))
    else:
        found = f"every task below {BY_HEART_NATS} nats per target after {learned.num_steps} of {BY_HEART_STEPS} steps"
        yield Check(name="one batch by heart", state="ok", found=found)


def _learns_whole(model: Transformer, recipe: Recipe) -> bool:
    """Whether every block learns at once; what a head makes of a frozen trunk need not be enough for any batch."""
    return recipe.transfer.parent is None or all(parameter.requires_grad for parameter in model.blocks.parameters())


def _not_by_heart(found: str, *, is_failure: bool) -> Check:
    if is_failure:
        hint = "are the learning rates far from the preset's? does the answer follow from the input at all?"
        code = DivergedError.exit_code
        return Check(name="one batch by heart", state="failed", found=found, hint=hint, exit_code=code)
    hint = "most weights are frozen; where scores stay low, let more of them learn (transfer.last_blocks, mode=full)"
    return Check(name="one batch by heart", state="warning", found=found, hint=hint)


def _gradients(learned: LearnedByHeart) -> Check:
    if not learned.bad_gradients:
        return Check(name="gradients", state="ok", found="every weight is reached")
    names = ", ".join(learned.bad_gradients[:5])
    return Check(
        name="gradients",
        state="failed",
        found=f"no usable gradient: {names}{' …' if len(learned.bad_gradients) > 5 else ''}",
        exit_code=DivergedError.exit_code,
    )


def small_batch(material: Material, samples: dict[str, list[TokenSequence]], *, seq_len: int) -> Batch:
    """Return one row for each task: an example that is short enough to be learned by heart in a moment."""
    rows = []
    for sequences in samples.values():
        fitting = [s for s in sequences if len(s) <= _MAX_TOKENS and any(s.loss_weights)]
        rows.append([max(fitting, key=len) if fitting else min(sequences, key=len)])
    length = min(seq_len, max(len(row[0]) for row in rows))
    names = [task.name for task in material.tasks]
    return collate(rows, seq_len=length, pad_id=material.vocabulary.pad_id, task_names=names)


def _cost(model: Transformer, recipe: Recipe, material: Material, directory: Path) -> Iterator[Check]:
    """Measure a real step: its seconds and the memory it needs."""
    seconds: list[float] = []
    learning = prepare_learning(recipe, model, material, run_directory=directory, reporter=SilentReporter())

    def measure() -> None:
        measured = measure_step_seconds(
            model,
            loader=learning.loader,
            task_heads=learning.task_heads,
            loss_function=learning.loss_function,
            config=recipe.train,
            optimizer=recipe.optimizer,
            num_steps=2,
        )
        seconds.append(measured)

    free = psutil.virtual_memory().available + psutil.Process().memory_info().rss
    try:
        peak = peak_bytes(measure, model.device)
    except MemoryLimitError as error:
        yield Check(
            name="memory", state="failed", found=error.message, hint=error.hint, exit_code=MemoryLimitError.exit_code
        )
        return
    state: State = "warning" if peak > 0.9 * free else "ok"
    yield Check(name="memory", state=state, found=f"a step needs {peak / 1e9:.2f} GB; {free / 1e9:.1f} GB can be had")
    yield Check(name="pace", state="ok", found=_pace(recipe, seconds[0]))


def _pace(recipe: Recipe, seconds: float) -> str:
    pace = f"a step takes {1e3 * seconds:.0f} ms"
    if recipe.minutes is not None:
        return f"{pace}: about {int(60 * recipe.minutes / seconds)} steps in {recipe.minutes:g} minutes"
    return f"{pace}: {recipe.train.steps} steps take about {recipe.train.steps * seconds / 60:.1f} minutes"
