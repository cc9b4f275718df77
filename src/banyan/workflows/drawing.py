"""`banyan draw`: words → pictures, saved as one sheet and remembered one by one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from banyan.core.files import atomic_write_bytes
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.tokenizers.pictures import contact_sheet, image_to_png
from banyan.workflows.answer_records import AnswerRecorder, output_of

_SHEET_COLUMNS = 8
_SMALL_PICTURE = 64  # pixels; smaller ones are enlarged on the sheet, so that a person can see them


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """Where the sheet is, and under which id the pictures are stored."""

    request_id: str
    output: Path
    num_pictures: int
    width: int  # of one picture, in pixels
    height: int


def draw(
    model: LoadedModel,
    text: str,
    output: Path,
    *,
    num: int,
    sampling: SamplingConfig,
    recorder: AnswerRecorder,
) -> Drawing:
    """Draw pictures of a text, write them as one PNG sheet, and store each of them.

    Raises: ConfigError if the model does not draw; InputError for a blank wish; SpaceError if nothing can be written.
    """
    task = model.task_of_kind("image_generation")
    example = task.example_from_text(text)
    predictions = model.answer(task.name, [example] * num, sampling=sampling)
    images = [prediction.image for prediction in predictions if prediction.image is not None]
    request_id = recorder.record(
        task.name,
        body={"prompt": text, "n": num},
        outputs=tuple(output_of(prediction, choice_index=n) for n, prediction in enumerate(predictions)),
        prompt_token_ids=model.prompt(task.name, example).token_ids,
        num_completion_tokens=sum(prediction.num_completion_tokens for prediction in predictions),
        sampling=sampling,
    )
    recorder.wait()
    scale = max(1, _SMALL_PICTURE // max(images[0].width, images[0].height))
    sheet = contact_sheet(images, columns=min(num, _SHEET_COLUMNS), scale=scale)
    atomic_write_bytes(output, image_to_png(sheet))
    return Drawing(
        request_id=request_id, output=output, num_pictures=num, width=images[0].width, height=images[0].height
    )
