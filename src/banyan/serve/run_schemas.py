"""What can be asked about training runs, and what is answered: neither the recipe nor any path is in it."""

from __future__ import annotations

from typing import Annotated, Literal

from banyan.serve.answer_base import Answer
from banyan.serve.rules import Whole
from banyan.serve.schemas import Body

Numbers = list[float | None]  # None: nothing was measured there


class RunsQuery(Body):
    """GET /v1/runs: how many of the newest runs to list."""

    limit: Annotated[int, Whole(1, 100)] = 20


class SamplesQuery(Body):
    """GET /v1/runs/{id}/samples: of which evaluation; by default the newest."""

    step: Annotated[int, Whole(0, 10**12 - 1)] | None = None


class RunFacts(Answer):
    """One training run."""

    id: str
    object: Literal["run"]
    name: str
    kind: str
    state: str  # running, completed, failed, interrupted
    exit_code: int | None
    seed: int | None
    world_size: int
    code_version: str
    started_at: str
    ended_at: str | None


class Curves(Answer):
    """Curves over the same steps; a point is the mean of the steps since the point before it."""

    steps: list[int]
    curves: dict[str, Numbers]


class NewestStep(Answer):
    """The step that was logged last."""

    step: int
    loss: float | None
    learning_rate: float | None
    grad_norm: float | None
    tokens_per_second: float | None
    seconds: float | None


class RunEvent(Answer):
    """Something that happened in a run: a resume, a skipped step, an alarm of the watch over its health."""

    at: str
    step: int | None
    kind: str
    detail: dict[str, str | int | float | bool | None]


class RunStory(RunFacts):
    """GET /v1/runs/{id}: one run with its curves and what happened in it."""

    num_steps: int | None  # that the recipe asks for
    has_files: bool  # False: its folder is not on this machine, and what only the folder tells is missing
    heard_at: str | None  # when it last wrote down a loss
    newest: NewestStep | None
    loss: Curves  # its one curve is called loss: balanced over the tasks, near 1 for a model that knows nothing
    task_losses: Curves  # nats, by task
    scores: Curves  # of the evaluations
    events: list[RunEvent]  # the newest, in order
    sample_steps: list[int]  # evaluations whose samples can be asked for


class RunSample(Answer):
    """What one task was asked, what the model answered, and what would have been right."""

    task: str
    asked: str
    answered: str
    right: str
    b64_png: str | None  # where the answer is a picture


class RunSamples(Answer):
    """GET /v1/runs/{id}/samples: what the model answered at one evaluation."""

    object: Literal["run.samples"]
    run_id: str
    step: int | None  # None: no samples were taken yet
    samples: list[RunSample]
