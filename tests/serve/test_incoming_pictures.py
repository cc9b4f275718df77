"""Pictures in a request: what is read, what is stored, and what is refused."""

import base64
import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import PngImagePlugin

from banyan.core.model_directory import IMAGE_TOKENIZER_FILE, write_manifest
from banyan.core.types import HeadKind, HeadSpec
from banyan.model.checkpoint import save_model
from banyan.runtime.description import describe_model, write_description
from banyan.runtime.loading import load
from banyan.serve.local_model import LocalModel
from banyan.store.queries import RequestFilter
from banyan.store.sql_store import SqlStore
from banyan.tasks.captioning import Captioning
from banyan.tasks.dialogue import Dialogue
from banyan.tasks.picture_classification import PictureClassification
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.serving import RunningServer, running_server
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.images import image_from_array, save_image_tokenizer
from banyan.tokenizers.patch_codebook import PatchCodebook

SECRET = "taken at 52.5 N 13.4 E"
PIXELS = (np.arange(64, dtype=np.uint8) * 4).reshape(8, 8)
PICTURES = [image_from_array((PIXELS + shift).astype(np.uint8)) for shift in range(4)]


def data_uri(array: np.ndarray, *, kind: str = "PNG") -> str:
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", SECRET)
    exif = Pillow.Exif()
    exif[0x010E] = SECRET
    buffer = io.BytesIO()
    Pillow.fromarray(array).save(buffer, format=kind, pnginfo=told, exif=exif)
    assert SECRET.encode() in buffer.getvalue()
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


URI = data_uri(PIXELS)


def plain_uri(kind: str, picture: Pillow.Image, **how: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **how)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


def bomb() -> str:
    """A file of some hundred bytes that claims to hold 3,600 million pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(9999))), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(own)) + name + own + struct.pack(">I", zlib.crc32(name + own)) for name, own in parts
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that classifies pictures, words them, and talks about them."""
    path = tmp_path_factory.mktemp("seeing") / "seeing"
    path.mkdir()
    tasks = [
        PictureClassification(name="look", labels=("a", "b")),
        Captioning(name="say", max_answer_tokens=4),
        Dialogue(name="chat", max_answer_tokens=8, sees_pictures=True),
    ]
    codes = PatchCodebook.train(PICTURES, patch_size=4, num_codes=4, seed=0)
    vocabulary = tiny_vocabulary([task.name for task in tasks], num_image_codes=codes.num_codes)
    config = tiny_model_config(
        vocab_size=vocabulary.size, num_image_codes=codes.num_codes, grid_size=codes.grid_size, max_seq_len=96
    )
    head = HeadSpec(name="look", kind=HeadKind.CLASSIFICATION, labels=("a", "b"))
    save_model(tiny_model(config, [head]), path)
    vocabulary.save(path)
    save_image_tokenizer(codes, path / IMAGE_TOKENIZER_FILE)
    write_description(path, describe_model(tasks, image_tokenizer=codes))
    write_manifest(path)
    return path


@pytest.fixture(scope="module")
def seeing(directory: Path, store: SqlStore) -> Iterator[RunningServer]:
    with load(directory, device="cpu", num_slots=2) as loaded, running_server(LocalModel(loaded), store) as server:
        yield server


@pytest.fixture(scope="module")
def client(seeing: RunningServer) -> Iterator[httpx.Client]:
    with seeing.client() as client:
        yield client


def talk(*parts: object) -> dict[str, object]:
    return {"model": "seeing", "messages": [{"role": "user", "content": list(parts)}], "max_tokens": 2}


def shown(uri: object) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": uri, "detail": "low"}}


WORDS = {"type": "text", "text": "what is it?"}


def last_stored(server: RunningServer) -> str:
    exchange = next(iter(server.store.queries.iterate(RequestFilter(limit=1))))
    return json.dumps([exchange.request.body, exchange.request.source])


def test_a_picture_in_a_message_is_read_and_stored_as_our_own_png(client: httpx.Client, seeing: RunningServer) -> None:
    answered = client.post("/v1/chat/completions", json=talk(WORDS, shown(URI)))
    assert answered.status_code == 200, answered.text
    blind = client.post("/v1/chat/completions", json=talk(WORDS)).json()["usage"]["prompt_tokens"]
    assert answered.json()["usage"]["prompt_tokens"] == blind + 4 + 2  # the codes between their marks


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_nothing_but_pixels_is_stored(client: httpx.Client, seeing: RunningServer, kind: str) -> None:
    uri = data_uri(PIXELS, kind=kind)
    assert client.post("/v1/tasks/look", json={"input": {"image": uri, "text": "x"}}).status_code == 200
    kept = last_stored(seeing)
    [own, *_] = [part.split('"')[0] for part in kept.split("data:image/png;base64,")[1:]]
    raw = base64.b64decode(own)
    assert SECRET.encode() not in raw and uri not in kept
    with Pillow.open(io.BytesIO(raw)) as opened:
        assert opened.size == (8, 8) and not opened.getexif() and not opened.info.get("Comment")


def test_the_same_picture_gets_the_same_answer_as_without_a_server(client: httpx.Client, directory: Path) -> None:
    served = client.post("/v1/tasks/look", json={"inputs": [{"image": URI, "text": "x"}]}).json()["predictions"][0]
    with load(directory, device="cpu", num_slots=1) as loaded:
        own = loaded.predict("look", {"image": URI, "text": "x"})[0]
    assert served["labels"] == pytest.approx(own.labels)
    assert client.post("/v1/tasks/say", json={"input": {"image": URI}}).status_code == 200


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.org/cat.png",
        "file:///etc/hostname",
        "/etc/hostname",
        "data:text/plain;base64,AAAA",
        "data:image/png;base64,AAAA",
        "data:image/png;base64,%%%",
        data_uri(np.zeros((1, 2049), dtype=np.uint8)),
        data_uri(PIXELS, kind="TIFF"),
        plain_uri("GIF", Pillow.new("L", (8, 8)), save_all=True, append_images=[Pillow.new("L", (8, 8), 99)]),
        plain_uri("JPEG", Pillow.new("CMYK", (8, 8))),
        plain_uri("PNG", Pillow.new("I;16", (8, 8))),
        bomb(),
        7,
    ],
    ids=[
        "address", "file address", "path", "no picture", "broken", "no base64", "too wide", "other format", "animated",
        "CMYK", "16 bits", "a bomb", "number",
    ],
)  # fmt: skip
def test_what_may_not_be_opened_is_refused_everywhere(client: httpx.Client, uri: object) -> None:
    requests = [
        ("/v1/chat/completions", talk(WORDS, shown(uri))),
        ("/v1/tasks/look", {"input": {"image": uri, "text": "x"}}),
        ("/v1/tasks/say", {"input": {"image": uri}}),
        ("/v1/tasks/chat", {"input": {"messages": [{"role": "user", "content": [shown(uri)]}]}}),
    ]
    for path, body in requests:
        answered = client.post(path, json=body)
        assert answered.status_code == 400, (path, answered.text)
        assert "hostname" not in answered.text.replace("/etc/hostname", "") and "Traceback" not in answered.text


def test_a_bomb_is_refused_by_the_size_it_claims(client: httpx.Client) -> None:
    answered = client.post("/v1/tasks/say", json={"input": {"image": bomb()}})
    assert "at most 2048×2048 pixels" in answered.json()["error"]["message"]


def test_a_picture_task_takes_no_line_of_text_for_it_might_be_a_path(client: httpx.Client) -> None:
    for task in ("look", "say"):
        answered = client.post(f"/v1/tasks/{task}", json={"input": "/etc/hostname"})
        assert answered.status_code == 400 and "data:image/png" in answered.json()["error"]["message"]


def test_too_many_pictures_in_a_message_are_refused(client: httpx.Client) -> None:
    answered = client.post("/v1/chat/completions", json=talk(*[shown(URI)] * 9))
    assert answered.status_code == 400 and answered.json()["error"]["code"] == "out_of_range"


def test_a_model_that_was_not_taught_to_see_says_so(server: RunningServer) -> None:
    with server.client() as blind:
        answered = blind.post("/v1/chat/completions", json={**talk(WORDS, shown(URI)), "model": "tiny"})
        assert answered.status_code == 400 and "not taught to look" in answered.text
