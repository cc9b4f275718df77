"""The official client works unchanged: whole and streamed, sync and async, typed, with its exceptions."""

from __future__ import annotations

import asyncio
import base64
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
from numpy.typing import NDArray

from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.replay import Replayer
from banyan.store.queries import RequestFilter
from banyan.store.sql_store import SqlStore
from banyan.testing.serving import RunningServer

MESSAGES = [{"role": "user", "content": "hello"}]
DRAWN = {"model": "tiny", "temperature": 1.0, "seed": 11}
TEXTS = ["three days ago", "三天前"]
ASKED = [("three days ago", "float"), ("三天前", "base64")]


@pytest.fixture(scope="module")
def official(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0, timeout=30) as client:
        yield client


def unit_row(loaded: LoadedModel, token_id: int) -> NDArray[np.float32]:
    row: NDArray[np.float32] = loaded.model.embedding.weight[token_id].detach().numpy()
    return row / np.linalg.norm(row)  # type: ignore[no-any-return]


def chat(client: openai.OpenAI, **fields: object) -> openai.types.chat.ChatCompletion:
    return client.chat.completions.create(messages=MESSAGES, **{**DRAWN, "max_tokens": 12, **fields})  # type: ignore


def text_and_stop(client: openai.OpenAI) -> tuple[str, str]:
    """Return what the model says, and a part of it that can be named (bytes that are no UTF-8 cannot)."""
    text = chat(client, max_tokens=40).choices[0].message.content or ""
    return text, re.findall(r"[ -~]{2,}", text[2:])[0]


def test_models_are_listed_and_found(official: openai.OpenAI) -> None:
    (model,) = official.models.list().data
    assert model.id == official.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError):
        official.models.retrieve("other")


def test_a_chat_answer_is_typed_and_counted(official: openai.OpenAI) -> None:
    answer = chat(official, n=2)
    assert answer.object == "chat.completion"
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.message.role == "assistant" for choice in answer.choices)
    assert {choice.finish_reason for choice in answer.choices} <= {"stop", "length"}
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert 0 < answer.usage.completion_tokens <= 24


def test_a_streamed_chat_is_the_whole_one_in_pieces(official: openai.OpenAI) -> None:
    whole = chat(official, n=2)
    chunks = list(
        official.chat.completions.create(
            messages=MESSAGES,  # type: ignore[arg-type]
            **DRAWN,  # type: ignore[arg-type]
            max_tokens=12,
            n=2,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts, reasons = ["", ""], [[], []]  # type: ignore[var-annotated]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                reasons[choice.index].append(choice.finish_reason)
    assert texts == [choice.message.content for choice in whole.choices]
    assert reasons == [[choice.finish_reason] for choice in whole.choices]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_the_stream_helper_puts_the_message_together(official: openai.OpenAI) -> None:
    text, stop = text_and_stop(official)
    fields = {**DRAWN, "messages": MESSAGES, "max_tokens": 40, "stop": [stop]}
    with official.chat.completions.stream(**fields) as stream:  # type: ignore[arg-type]
        choice = stream.get_final_completion().choices[0]
    assert (choice.message.content, choice.finish_reason) == (text[: text.index(stop)], "stop")


def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(official: openai.OpenAI) -> None:
    text, stop = text_and_stop(official)
    answer = chat(official, max_tokens=40, stop=[stop])
    assert answer.choices[0].message.content == text[: text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"
    pieces = official.chat.completions.create(
        messages=MESSAGES,  # type: ignore[arg-type]
        **DRAWN,  # type: ignore[arg-type]
        max_tokens=40,
        stop=[stop],
        stream=True,
    )
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == text[: text.index(stop)]


def test_log_probabilities_belong_to_the_tokens_of_the_answer(official: openai.OpenAI) -> None:
    answer = chat(official, logprobs=True)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    assert answer.usage is not None
    assert len(logprobs.content) == answer.usage.completion_tokens
    assert all(token.logprob <= 0 and math.isfinite(token.logprob) for token in logprobs.content)
    raw = b"".join(bytes(token.bytes or ()) for token in logprobs.content)
    assert raw.decode(errors="replace").replace("\0", "\ufffd") == answer.choices[0].message.content


def test_the_likeliest_tokens_of_each_place_come_whole_and_streamed_and_are_replayed(
    official: openai.OpenAI, loaded: LoadedModel, store: SqlStore
) -> None:
    fields: dict[str, Any] = {"logprobs": True, "top_logprobs": 4, "temperature": 0}
    answer = chat(official, **fields)
    content = answer.choices[0].logprobs.content  # type: ignore[union-attr]
    assert content
    for token in content:
        best = token.top_logprobs
        assert len(best) == 4 and [one.logprob for one in best] == sorted((one.logprob for one in best), reverse=True)
        assert (
            any((one.bytes, one.logprob) == (token.bytes, token.logprob) for one in best)
            or token.logprob < best[-1].logprob
        )
        assert sum(math.exp(one.logprob) for one in best) <= 1 + 1e-6
    streamed = [
        token
        for chunk in chat(official, stream=True, **fields)
        for choice in chunk.choices
        for token in (choice.logprobs.content or () if choice.logprobs else ())
    ]
    assert streamed == content
    by_text = official.completions.create(prompt="The banyan", max_tokens=4, logprobs=3, **DRAWN)  # type: ignore
    assert all(1 <= len(best) <= 3 for best in by_text.choices[0].logprobs.top_logprobs)  # type: ignore[union-attr]
    with Replayer(loaded) as replayer:
        for exchange in store.queries.newest(RequestFilter(limit=3)):
            assert exchange.answer is not None
            said = exchange.answer.outputs[0].prediction
            assert said is not None and len(said["alternatives"]) == len(said["log_probs"]) > 0
            assert replayer.replay(exchange).is_same


def test_a_bias_brings_a_token_in_or_keeps_it_out(official: openai.OpenAI, loaded: LoadedModel) -> None:
    first = loaded.vocabulary.encode("a")[0]
    forced = chat(official, logit_bias={str(first): 100}, temperature=0, max_tokens=5, logprobs=True)
    assert forced.choices[0].message.content == "aaaaa"
    assert all(token.logprob < 0 for token in forced.choices[0].logprobs.content)  # what the model itself thinks
    plain = chat(official, temperature=0, max_tokens=5, logprobs=True).choices[0].logprobs.content  # type: ignore[union-attr]
    likeliest = bytes(plain[0].bytes)  # type: ignore[index]
    [kept_out] = [
        number for number in range(loaded.vocabulary.text_size) if loaded.vocabulary.decode_bytes([number]) == likeliest
    ]
    other = chat(official, logit_bias={str(kept_out): -100}, temperature=0, max_tokens=5, logprobs=True)
    assert likeliest not in [bytes(token.bytes or ()) for token in other.choices[0].logprobs.content]  # type: ignore
    with pytest.raises(openai.BadRequestError, match="logit_bias names token"):
        chat(official, logit_bias={"99999999": 1})


def test_completions_take_texts_and_token_ids(official: openai.OpenAI) -> None:
    several = official.completions.create(prompt=["The banyan", "独木"], max_tokens=6, n=2, logprobs=0, **DRAWN)  # type: ignore
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[0].logprobs is not None
    assert len(several.choices[0].logprobs.token_logprobs or ()) > 0
    by_ids = official.completions.create(prompt=[5, 6, 7], max_tokens=3, **DRAWN)  # type: ignore[arg-type]
    assert by_ids.usage is not None and by_ids.usage.prompt_tokens == 3
    pieces = official.completions.create(prompt="The banyan", max_tokens=6, stream=True, **DRAWN)  # type: ignore
    alone = official.completions.create(prompt="The banyan", max_tokens=6, **DRAWN)  # type: ignore[arg-type]
    assert "".join(piece.choices[0].text for piece in pieces) == alone.choices[0].text == several.choices[0].text


def test_pictures_come_as_base64_png(official: openai.OpenAI) -> None:
    answer = official.images.generate(prompt="a seven", n=2, model="tiny", response_format="b64_json", size="16x16")  # type: ignore
    assert answer.data is not None and len(answer.data) == 2
    assert all(base64.b64decode(picture.b64_json or "").startswith(b"\x89PNG") for picture in answer.data)


@pytest.mark.parametrize("form", ["float", "base64", None])  # None: the client asks for base64 and decodes it itself
def test_embeddings_come_in_both_encodings(official: openai.OpenAI, loaded: LoadedModel, form: str | None) -> None:
    fields = {} if form is None else {"encoding_format": form}
    answer = official.embeddings.create(model="tiny", input=TEXTS, **fields)  # type: ignore[call-overload]
    for item, expected in zip(answer.data, loaded.embed(TEXTS), strict=True):
        raw = item.embedding
        found = np.frombuffer(base64.b64decode(raw), "<f4") if isinstance(raw, str) else np.array(raw)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens > 0
    ids = official.embeddings.create(model="tiny", input=[[5, 6], [7]], extra_body={"layer": 0, "pooling": "last"})
    np.testing.assert_allclose([item.embedding for item in ids.data][1], unit_row(loaded, 7), atol=1e-6)


def test_the_async_client_embeds_the_same(server: RunningServer, loaded: LoadedModel) -> None:
    async def run() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key) as client:
            asked = [client.embeddings.create(model="tiny", input=text, encoding_format=form) for text, form in ASKED]  # type: ignore
            answers = await asyncio.gather(*asked)
        return [answer.data[0].embedding for answer in answers]

    plain, packed = asyncio.run(run())
    np.testing.assert_allclose(plain, loaded.embed(ASKED[0][0])[0], atol=1e-6)
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(packed), "<f4"), loaded.embed(ASKED[1][0])[0], atol=1e-6)


def test_what_cannot_be_embedded_is_the_clients_own_exception(official: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        official.embeddings.create(model="tiny", input="a", dimensions=8)
    assert (bad.value.code, bad.value.param) == ("unsupported_value", "dimensions")


def test_the_async_client_hears_the_same(server: RunningServer, official: openai.OpenAI) -> None:
    async def run() -> str:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key) as client:
            stream = await client.chat.completions.create(messages=MESSAGES, **DRAWN, max_tokens=12, stream=True)  # type: ignore
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(run()) == chat(official).choices[0].message.content


def test_errors_become_the_clients_own_exceptions(server: RunningServer, official: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        chat(official, n=9)
    assert (bad.value.code, bad.value.param) == ("out_of_range", "n")
    with pytest.raises(openai.NotFoundError):
        chat(official, model="other")
    stranger = openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    stranger.close()


def test_the_raw_response_carries_the_request_id(official: openai.OpenAI) -> None:
    response = official.models.with_raw_response.list()
    assert response.request_id is not None and len(response.request_id) == 26
