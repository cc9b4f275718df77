"""What a model in training answers, one question per task, written down at every evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.errors import SpaceError
from banyan.core.files import atomic_write_bytes, atomic_write_text
from banyan.core.run_directory import SAMPLES_DIRECTORY
from banyan.core.types import Image, Prediction
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.base import Task
from banyan.tasks.language_modeling import LanguageModeling
from banyan.tokenizers.pictures import image_to_png
from banyan.workflows.scoring import TaskResult

_BEGINNING_CHARACTERS = 80  # of a text that the model is to go on with
_CONTINUATION_TOKENS = 48
_CONTINUATION_TEMPERATURE = 0.7  # without chance a young model repeats one word
_MAX_CHARACTERS = 600  # of a question or an answer
_PICTURE_SCALE = 6  # pixels of the file for each pixel of the picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One question and what the model answered."""

    task: str
    prompt: str
    answer: str
    reference: str = ""  # the right answer, where there is one
    image: Image | None = None

    @property
    def line(self) -> str:
        """All of it on one line, for a terminal."""
        answer = f"a picture of {self.image.width} × {self.image.height}" if self.image else self.answer
        return " ".join(f"{self.task}: {self.prompt} → {answer}".split())


def take_samples(model: LoadedModel, results: Mapping[str, TaskResult]) -> list[Sample]:
    """Return a sample of every task: an answer that was scored, or, where only texts were scored, a continuation.

    The first example is asked every time, so that the course of a run can be read; what is drawn has a fixed seed.
    """
    return [_sample(model, result) for result in results.values()]


def _sample(model: LoadedModel, result: TaskResult) -> Sample:
    task, example = result.task, result.examples[0]
    if isinstance(task, LanguageModeling):
        return _continuation(model, task, example.text)
    predictions = result.evaluation.predictions
    prediction = predictions[0] if predictions else model.answer(task.name, [example])[0]
    return _answered(task, example, prediction)


def _continuation(model: LoadedModel, task: LanguageModeling, text: str) -> Sample:
    beginning = text[:_BEGINNING_CHARACTERS].rpartition(" ")[0] or text[:_BEGINNING_CHARACTERS]
    answer = model.generate(beginning, max_tokens=_CONTINUATION_TOKENS, temperature=_CONTINUATION_TEMPERATURE, seed=0)
    return Sample(task=task.name, prompt=beginning, answer=answer)


def _answered(task: Task[Any], example: Any, prediction: Prediction) -> Sample:
    return Sample(
        task=task.name,
        prompt=task.source(example),
        answer=prediction.text,
        reference=task.reference(example),
        image=prediction.image,
    )


class SampleBook:
    """Writes `samples/step-00001200.md` with its pictures, and tells one sample of each evaluation in turn."""

    def __init__(self, run_directory: Path, *, tell: Callable[[str], None]) -> None:
        self._directory = run_directory / SAMPLES_DIRECTORY
        self._tell = tell
        self._num_told = 0

    def __call__(self, step: int, samples: Sequence[Sample]) -> None:
        """Write the samples of one evaluation. A disk that is full does not stop a run."""
        if not samples:
            return
        with suppress(SpaceError):
            self._write(step, samples)
        self._tell(samples[self._num_told % len(samples)].line)
        self._num_told += 1

    def _write(self, step: int, samples: Sequence[Sample]) -> None:
        name = f"step-{step:08d}"
        pictures = {}
        for sample in samples:
            if sample.image is not None:
                pictures[sample.task] = f"{name}-{sample.task}.png"
                atomic_write_bytes(self._directory / pictures[sample.task], image_to_png(sample.image, _PICTURE_SCALE))
        text = samples_as_markdown(samples, step=step, pictures=pictures)
        atomic_write_text(self._directory / f"{name}.md", text)


def samples_as_markdown(samples: Sequence[Sample], *, step: int, pictures: Mapping[str, str]) -> str:
    """Return samples as a page; `pictures` names the file of each task that draws."""
    lines = [f"# Samples after step {step}", ""]
    for sample in samples:
        answer = [f"![{sample.task}](<{pictures[sample.task]}>)"] if sample.task in pictures else _block(sample.answer)
        lines += [f"## {sample.task}", "", "Asked:", "", *_block(sample.prompt), "", "Answered:", "", *answer, ""]
        if sample.reference and sample.task not in pictures:
            lines += ["Right:", "", *_block(sample.reference), ""]
    return "\n".join(lines)


def _block(text: str) -> list[str]:
    """Return a text as an indented block, in which nothing is markup, whatever the model wrote."""
    short = text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"
    return [f"    {line}" for line in (short or "(nothing)").splitlines() or [""]]
