"""The flat file of llama2.c: a real pretrained model where the shared data are, small ones made here otherwise."""

import json
import os
import struct
from pathlib import Path

import numpy
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from banyan.core.errors import CheckpointError
from banyan.model.checkpoint import load_model
from banyan.model.kv_cache import KVCache
from banyan.model.transformer import Transformer
from banyan.transfer.foreign_model import ForeignModel
from banyan.transfer.formats import open_foreign
from banyan.transfer.model_files import write_model_files

DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCABULARY, CONTEXT = 16, 24, 2, 4, 2, 40, 20


def flat_file(path: Path, *, is_tied: bool = True, extra_bytes: bytes = b"", **header: int) -> Path:
    """Write a file as llama2.c's `legacy_export` does: kinds of weights one after another, layers inside each."""
    sizes = {"dim": DIM, "hidden": HIDDEN, "layers": LAYERS, "heads": HEADS, "kv": KV_HEADS, "vocabulary": VOCABULARY}
    sizes = {**sizes, "context": CONTEXT, **header}
    sizes["vocabulary"] *= 1 if is_tied else -1
    kv_dim = DIM * KV_HEADS // HEADS
    per_layer = [DIM, DIM * DIM, kv_dim * DIM, kv_dim * DIM, DIM * DIM, DIM, HIDDEN * DIM, DIM * HIDDEN, HIDDEN * DIM]
    counts = [VOCABULARY * DIM, *(LAYERS * count for count in per_layer), DIM, CONTEXT * DIM // HEADS]
    counts += [] if is_tied else [VOCABULARY * DIM]
    numbers = numpy.random.default_rng(0).normal(scale=0.3, size=sum(counts)).astype("<f4")
    path.write_bytes(struct.pack("<7i", *sizes.values()) + numbers.tobytes() + extra_bytes)
    return path


def imported(source: Path, directory: Path) -> Transformer:
    directory.mkdir()
    write_model_files(open_foreign(source), directory)
    return load_model(directory)


def reference_logits(path: Path, token_ids: list[int], *, is_tied: bool) -> Tensor:
    """Compute a file's logits in float64 as run.c does, with RoPE on neighbouring pairs and one loop per head."""
    floats = torch.from_numpy(numpy.fromfile(path, dtype="<f4", offset=28)).double()
    at = 0

    def take(*shape: int) -> Tensor:
        nonlocal at
        at, start = at + int(numpy.prod(shape)), at
        return floats[start:at].view(*shape)

    kv_dim, width = DIM * KV_HEADS // HEADS, DIM // HEADS
    table, norm_1 = take(VOCABULARY, DIM), take(LAYERS, DIM)
    wq, wk, wv = take(LAYERS, DIM, DIM), take(LAYERS, kv_dim, DIM), take(LAYERS, kv_dim, DIM)
    wo, norm_2 = take(LAYERS, DIM, DIM), take(LAYERS, DIM)
    w1, w2, w3 = take(LAYERS, HIDDEN, DIM), take(LAYERS, DIM, HIDDEN), take(LAYERS, HIDDEN, DIM)
    norm_3, _ = take(DIM), take(CONTEXT, width)
    head = table if is_tied else take(VOCABULARY, DIM)

    def rms(x: Tensor, gain: Tensor) -> Tensor:
        return x * gain / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    def turn(x: Tensor) -> Tensor:
        turned = x.clone()
        for position in range(len(x)):
            for i in range(0, x.shape[1], 2):
                angle = torch.tensor(position / 10_000 ** ((i % width) / width), dtype=torch.float64)
                a, b = x[position, i], x[position, i + 1]
                turned[position, i] = a * angle.cos() - b * angle.sin()
                turned[position, i + 1] = a * angle.sin() + b * angle.cos()
        return turned

    x = table[token_ids]
    mask = torch.ones(len(token_ids), len(token_ids), dtype=torch.bool).tril()
    for layer in range(LAYERS):
        normed = rms(x, norm_1[layer])
        q, k, v = turn(normed @ wq[layer].T), turn(normed @ wk[layer].T), normed @ wv[layer].T
        heads = []
        for head_number in range(HEADS):
            kv = head_number * KV_HEADS // HEADS
            q_h, k_h, v_h = (m[:, n * width : (n + 1) * width] for m, n in ((q, head_number), (k, kv), (v, kv)))
            scores = (q_h @ k_h.T / width**0.5).masked_fill(~mask, -torch.inf)
            heads.append(scores.softmax(-1) @ v_h)
        x = x + torch.cat(heads, dim=1) @ wo[layer].T
        normed = rms(x, norm_2[layer])
        x = x + (torch.nn.functional.silu(normed @ w1[layer].T) * (normed @ w3[layer].T)) @ w2[layer].T
    return rms(x, norm_3) @ head.T


@torch.no_grad()
@pytest.mark.parametrize("is_tied", [True, False])
def test_logits_are_those_of_the_reference_computation(tmp_path: Path, is_tied: bool) -> None:
    path = flat_file(tmp_path / "model.bin", is_tied=is_tied)
    token_ids = torch.randint(0, VOCABULARY, (CONTEXT,), generator=torch.Generator().manual_seed(0)).tolist()
    model = imported(path, tmp_path / "model")
    expected = reference_logits(path, token_ids, is_tied=is_tied)
    assert expected.std() > 0.1
    torch.testing.assert_close(
        model.logits(model(torch.tensor([token_ids])))[0].double(), expected, atol=1e-4, rtol=0.0
    )


def test_the_imported_file_opens_in_transformers(tmp_path: Path) -> None:
    model = imported(flat_file(tmp_path / "model.bin"), tmp_path / "model")
    token_ids = torch.arange(12)[None]
    with torch.no_grad():
        stock = AutoModelForCausalLM.from_pretrained(tmp_path / "model", attn_implementation="eager").eval()
        torch.testing.assert_close(model.logits(model(token_ids)), stock(token_ids).logits, atol=1e-4, rtol=0.0)


def test_the_one_file_of_weights_in_a_folder_is_found_beside_the_tokenizer(tmp_path: Path) -> None:
    flat_file(tmp_path / "stories.bin")
    (tmp_path / "tok40.bin").write_bytes(b"\0" * 64)
    foreign: ForeignModel = open_foreign(tmp_path)
    assert (foreign.format, foreign.tokenizer) == ("llama2c", tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extra_bytes": b"\0"}, "length does not fit"),
        ({"layers": 3}, "length does not fit"),
        ({"heads": 3}, "length does not fit"),
        ({"dim": 2**31 - 1}, "length does not fit"),
        ({"layers": 2**23}, "length does not fit"),
        ({"vocabulary": -(2**31), "is_tied": True}, "length does not fit"),
        ({"context": 0}, "length does not fit"),
    ],
)
def test_a_header_that_does_not_fit_the_file_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    path = flat_file(tmp_path / "model.bin", **changes)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=words) as error:
        open_foreign(path, format="llama2c")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("num_bytes", [0, 10, 27, 28, 4000])
def test_a_truncated_file_is_refused(tmp_path: Path, num_bytes: int) -> None:
    path = flat_file(tmp_path / "model.bin")
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(CheckpointError, match="not a whole file of llama2.c"):
        open_foreign(path, format="llama2c")


def test_a_later_version_of_the_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(struct.pack("<Ii", 0x616B3432, 2) + bytes(300))
    with pytest.raises(CheckpointError, match="version 1 or 2 of llama2.c"):
        open_foreign(path, format="llama2c")


def test_several_files_of_weights_in_a_folder_must_be_told_apart(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        flat_file(tmp_path / name)
    with pytest.raises(CheckpointError, match="2 files that could be weights"):
        open_foreign(tmp_path, format="llama2c")


@torch.no_grad()
def test_a_real_pretrained_model_writes_the_text_of_the_reference_implementation(tmp_path: Path) -> None:
    data = os.environ.get("BANYAN_DATA")
    if not data or not (Path(data) / "stories260K").is_dir():
        pytest.skip("needs stories260K of the shared data; BANYAN_DATA does not name them")
    source = Path(data) / "stories260K"
    model = imported(source, tmp_path / "model")
    expected = json.loads((source / "reference.json").read_text())["greedy_ids"]
    token_ids, cache = expected[:1], KVCache(model.config, num_slots=1)
    while len(token_ids) < len(expected):
        hidden = model(torch.tensor([token_ids[-1:]]), cache=cache.rows([0]))
        token_ids = [*token_ids, int(model.logits(hidden)[0, -1].argmax())]
    assert len(expected) == 101
    assert token_ids == expected
