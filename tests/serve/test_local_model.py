from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from banyan.core.errors import ContextLengthError
from banyan.core.types import MaskKind, Prompt, Text
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.local_model import LocalModel, name_of
from banyan.serve.served_model import Piece

DRAWN = SamplingConfig(temperature=1, seed=5, max_tokens=20)


def ask(model: LocalModel, text: str = "The banyan") -> Prompt:
    task = model.tasks["lm"]
    return model.prompt("lm", task.example_from_text(text))


def test_the_pieces_heard_are_the_whole_answer_with_all_its_tokens(model: LocalModel) -> None:
    pieces: list[Piece] = []
    completion = asyncio.run(model.answer(ask(model), DRAWN, listener=pieces.append))
    assert "".join(piece.text for piece in pieces) == completion.text
    tokens = [token for piece in pieces for token in piece.tokens]
    assert [token_id for token_id, _ in tokens] == list(completion.token_ids)
    assert [log_prob for _, log_prob in tokens] == list(completion.token_log_probs)


def test_a_cancelled_answer_frees_the_engine(model: LocalModel, loaded: LoadedModel) -> None:
    async def run() -> None:
        prompt = ask(model)
        long = Prompt(
            task="lm",
            token_ids=prompt.token_ids,
            mask=MaskKind.CAUSAL,
            decoding=Text(max_tokens=10_000, stop_token_ids=()),
        )
        work = asyncio.create_task(model.answer(long, SamplingConfig(temperature=1, max_tokens=10_000)))
        while loaded.engine.num_live == 0 and not work.done():
            await asyncio.sleep(0.005)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        async with asyncio.timeout(30):
            while loaded.engine.num_live:
                await asyncio.sleep(0.005)

    asyncio.run(run())


def test_a_prompt_that_is_too_long_is_refused_at_once(model: LocalModel) -> None:
    ids = (5,) * (model.facts.max_seq_len + 1)
    prompt = Prompt(task="lm", token_ids=ids, mask=MaskKind.CAUSAL, decoding=Text(max_tokens=1, stop_token_ids=()))
    with pytest.raises(ContextLengthError):
        asyncio.run(model.answer(prompt, DRAWN))


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("runs/demo/best", "demo"),
        ("runs/demo/last", "demo"),
        ("runs/demo/checkpoints/step-00000120", "demo"),
        ("models/my model", "my-model"),
        ("榕", "banyan"),
    ],
)
def test_a_model_is_called_by_its_folder_or_its_run(directory: str, name: str) -> None:
    assert name_of(Path(directory)) == name
