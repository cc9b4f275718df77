"""Answers given without a server, remembered like those of the server: predict, chat, generate, draw, demo."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from banyan.core.config import config_to_mapping
from banyan.core.hashing import hash_token_ids
from banyan.core.model_directory import name_of
from banyan.core.paths import default_database_url
from banyan.core.types import Image, Prediction, Row
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.defaults import own_seeds
from banyan.runtime.loaded_model import LoadedModel
from banyan.store.export import prediction_to_json
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import StoredAnswer, StoredArtifact, StoredOutput, StoredRequest
from banyan.tokenizers.pictures import image_to_png


class AnswerRecorder:
    """Writes requests and their answers together, in one transaction each. Use it as a context manager.

    `wait` returns when everything is committed; a failed write is raised there.
    """

    def __init__(self, model: LoadedModel, *, endpoint: str, database: str | None = None) -> None:
        self._model = model
        self._endpoint = endpoint
        self._url = database or default_database_url()
        self._store: SqlStore | None = None
        self._pending: list[Future[str]] = []

    def __enter__(self) -> Self:
        self._store = open_store(self._url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is None:
            return
        try:
            if error is None:
                self.wait()
        finally:
            self._store.close()

    def record_answers(
        self,
        task: str,
        examples: Sequence[Any],
        predictions: Sequence[Prediction],
        *,
        bodies: Sequence[Row] = (),
        rows: Sequence[Row] = (),
        sampling: SamplingConfig | None = None,
        num_recorded: int = 0,
    ) -> None:
        """Write the answers of one task to examples.

        `bodies` are the questions as they were asked, and `rows` the same under the names of the task's own format, if
        at hand. `sampling` is what was asked for; None: the task's own. The first `num_recorded` are written already.
        """
        prompts = [self._model.prompt(task, example) for example in examples]
        samplings = own_seeds(prompts, sampling or self._model.sampling_for(task))  # as `LoadedModel.answer` draws
        answered = list(enumerate(zip(examples, predictions, strict=True)))
        for number, (example, prediction) in answered[num_recorded:]:
            body = bodies[number] if bodies else {"text": self._model.task(task).source(example)}
            row = rows[number] if rows else body
            self.record(
                task,
                body=body,
                source=None if row == body else row,
                outputs=(output_of(prediction),),
                prompt_token_ids=prompts[number].token_ids,
                num_completion_tokens=prediction.num_completion_tokens,
                sampling=samplings[number],
            )

    def record(
        self,
        task: str,
        *,
        body: Mapping[str, Any],
        outputs: tuple[StoredOutput, ...],
        prompt_token_ids: Sequence[int],
        num_completion_tokens: int,
        sampling: SamplingConfig,
        source: Mapping[str, Any] | None = None,
    ) -> str:
        """Write one request with its answers and return its id.

        `source` is the question under the names of the task's own format; None: `body` has those names.
        """
        assert self._store is not None, "AnswerRecorder is used as a context manager"
        known = self._model.tasks.get(task)  # any model goes on with a text, also one that has no task for it
        request = StoredRequest(
            endpoint=self._endpoint,
            task=task,
            task_kind=known.kind if known else "",
            model_name=name_of(self._model.directory),
            model_sha256=self._model.sha256,
            body=_json_ready(body),
            source=_json_ready(source),
            params=config_to_mapping(sampling),
            seed=sampling.seed,
            num_choices=len(outputs),
            prompt_sha256=hash_token_ids([prompt_token_ids]),
            num_prompt_tokens=len(prompt_token_ids),
        )
        answer = StoredAnswer(outputs=outputs, num_completion_tokens=num_completion_tokens)
        self._pending.append(self._store.record(request, answer))
        return request.request_id

    def wait(self) -> None:
        """Return when everything recorded so far is on disk.

        Raises: StoreError if something could not be written.
        """
        for pending in self._pending:
            pending.result()
        self._pending.clear()


def output_of(prediction: Prediction, *, choice_index: int = 0) -> StoredOutput:
    """Return a prediction as the store keeps it, its picture as an artifact."""
    artifacts = (artifact_of(prediction.image),) if prediction.image is not None else ()
    return StoredOutput(
        choice_index=choice_index,
        text=prediction.text,
        finish_reason=prediction.finish_reason.value,
        prediction=prediction_to_json(prediction),
        artifacts=artifacts,
    )


def artifact_of(image: Image) -> StoredArtifact:
    """Return a picture as a PNG artifact."""
    return StoredArtifact(media_type="image/png", data=image_to_png(image), width=image.width, height=image.height)


def _json_ready(value: Any) -> Any:
    """Return a row without what JSON cannot hold: pictures and bytes are named, not copied."""
    if isinstance(value, Mapping):
        return {str(key): _json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(item) for item in value]
    if isinstance(value, bytes | Image):
        return "<picture>"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _json_ready(dataclasses.asdict(value))
    return value
