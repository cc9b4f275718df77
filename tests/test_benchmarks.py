import importlib
import json
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file

from banyan.core.before_torch import ENGINE_SPINNING, PASSIVE_WAITING, REPEATABLE_PRODUCTS
from banyan.testing.foreign_tokenizers import write_foreign_tokenizer
from banyan.train.head_loss import head_cross_entropy
from benchmarks import gpu, time_to_loss
from benchmarks.peers.breakdown import HEAD, PRODUCTS, breakdown

ROOT = Path(__file__).resolve().parents[1]
PEERS = [str(ROOT / "benchmarks" / folder) for folder in ("", "peers")]  # where its scripts find each other
# One process for all, for each would load torch anew.
ASK_ALL_FOR_HELP = """
import contextlib, io, runpy, sys
sys.path[:0] = ["benchmarks"]
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    text = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(text):
        runpy.run_path(script, run_name="__main__")
    assert "\\n  --quick" in text.getvalue(), script  # among the options
"""


def test_every_benchmark_starts_and_has_a_quick_form() -> None:
    scripts = [path for path in sorted((ROOT / "benchmarks").glob("*.py")) if "add_argument(" in path.read_text()]
    named = [str(path.relative_to(ROOT)) for path in scripts]
    assert len(named) > 10
    done = subprocess.run(
        [sys.executable, "-c", ASK_ALL_FOR_HELP, *named], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    generator = random.Random(0)
    for part, size in {"train": 20_000, "validation": 2_000}.items():
        (tmp_path / f"{part}.bin").write_bytes(bytes(generator.choices(b"abcd", weights=(8, 4, 2, 1), k=size)))
    (tmp_path / "alphabet.bin").write_bytes(b"abcd")
    return tmp_path


def last_loss(contender: str, texts: Path, **words: object) -> float:
    report = texts / "report.json"
    words |= {"texts": texts, "report": report, "seq-len": 64, "seed": 0, "started": time.monotonic()}
    command = [sys.executable, "-m", f"benchmarks.{contender}", *(f"--{name}={value}" for name, value in words.items())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(json.loads(report.read_text())["curve"][-1]["loss"])


def test_our_contender_of_the_race_to_a_loss_learns_a_text(texts: Path) -> None:
    recipe = yaml.safe_load((ROOT / "recipes/shakespeare.yaml").read_text())
    recipe["train"]["steps"] = 24  # steps, not seconds: a slow machine learns as much
    own = texts / "recipe.yaml"
    own.write_text(yaml.safe_dump(recipe))
    assert last_loss("banyan_text", texts, recipe=own) < math.log(4)


def test_the_reference_of_the_race_to_a_loss_runs_and_reports(texts: Path) -> None:
    assert math.isfinite(last_loss("peers.shakespeare", texts, **{"recipe": "small", "max-seconds": 4}))


def test_products_of_the_output_layer_count_beside_its_cross_entropy_and_others_do_not() -> None:
    x, inner, weight = (torch.randn(*size, requires_grad=True) for size in ((8, 16), (16, 16), (65, 16)))
    targets, weights = torch.arange(8), torch.ones(8)

    def plainly() -> None:
        F.cross_entropy(F.linear(x, weight), targets).backward()

    def in_one() -> None:
        head_cross_entropy(x, weight, targets, weights_M=weights).sum().backward()

    def with_a_layer() -> None:
        F.linear(x, inner).sum().backward()

    found = [breakdown(step, num_steps=2, vocab_size=size) for step, size in ((plainly, 65), (in_one, 1))]
    assert all(HEAD in shares and PRODUCTS not in shares for shares in found)
    shares = breakdown(with_a_layer, num_steps=2, vocab_size=65)
    assert PRODUCTS in shares and HEAD not in shares


@pytest.fixture(scope="module")
def throughput() -> Iterator[Any]:
    """The script that measures training, which finds its neighbours as a script does."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in PEERS:
            patch.syspath_prepend(folder)
        yield importlib.import_module("benchmarks.training_throughput")


def contender_names(throughput: Any, *words: str) -> list[str]:
    return [row.name for row in throughput.contenders(throughput.read_options(words))]


def test_a_gpu_trains_124m_at_1024_tokens_compiled_in_bfloat16(throughput: Any) -> None:
    options = throughput.read_options(["--device", "cuda"])
    assert options.shapes == ["124M-1024"]
    shape = throughput.SHAPES["124M-1024"]
    assert (shape.num_layers, shape.embed_dim, shape.seq_len, shape.num_rows, shape.accumulation) == (
        12,
        768,
        1024,
        64,
        4,
    )
    assert 120e6 < shape.num_matrix_weights < 130e6
    assert all(row.mode == "bfloat16" and row.device == "cuda" for row in throughput.contenders(options))
    expected = ["reference-bfloat16", "transformers-bfloat16", "banyan-bfloat16"]
    assert contender_names(throughput, "--device", "cuda") == expected
    assert contender_names(throughput, "--device", "cuda", "--contenders", "banyan-bfloat16") == expected[::2]


def test_a_cpu_is_measured_as_before_there_was_a_choice(throughput: Any) -> None:
    assert throughput.read_options([]).shapes == ["tiny", "small", "124M"]
    assert contender_names(throughput, "--contenders", "banyan-int8") == ["reference-eager", "banyan-int8"]
    assert len(contender_names(throughput)) == 12


@pytest.mark.parametrize(
    "words",
    [["--device", "cuda", "--shapes", "tiny"], ["--device", "cuda", "--breakdown"], ["--micro-batch", "8"]],
    ids=" ".join,
)
def test_what_a_device_does_not_have_is_refused(throughput: Any, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        throughput.read_options(words)
    assert ended.value.code == 2


def test_mfu_is_the_share_of_the_peak_that_the_arithmetic_of_a_step_takes(throughput: Any) -> None:
    shape = throughput.SHAPES["124M-1024"]
    weights = 12 * (4 * 768**2 + 2 * 768 * 3072) + 50304 * 768
    flops = 64 * 1024 * (6 * weights + 12 * 12 * 768 * 1024)
    assert throughput.mfu(shape, step_seconds=0.5, peak=flops / 0.2) == pytest.approx(0.4)
    cut = throughput.with_micro_batches(shape, 8)
    assert cut.accumulation == 8 and cut.step_flops == shape.step_flops


def test_a_peer_learns_the_same_from_micro_batches_as_from_the_whole_step(throughput: Any) -> None:
    gpt2_loop, turns = importlib.import_module("gpt2_loop"), importlib.import_module("turns")
    whole = turns.Shape(1, 2, 16, 8, 4, 64)
    loops = [gpt2_loop.Loop(turns.with_micro_batches(whole, rows), mode="eager") for rows in (None, 1)]
    for loop in loops:
        loop.step()
    for expected, found in zip(*(loop.model.parameters() for loop in loops), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


def test_an_unknown_gpu_is_held_against_a_measured_peak_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "peak_flops", lambda device: 5e12)
    assert gpu.gpu_peak("NVIDIA H200") == (
        989e12,
        "NVIDIA H200: 989 TFLOP/s in bfloat16, dense, as its maker publishes",
    )
    measured, words = gpu.gpu_peak("Some GPU")
    assert measured == 5e12 and "measured here" in words


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("script", ["training_throughput.py", "time_to_loss.py"])
def test_a_gpu_that_is_not_there_is_one_line(script: str) -> None:
    command = [sys.executable, f"benchmarks/{script}", "--device", "cuda", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "sees no GPU here" in done.stderr


def test_our_recipe_of_the_race_on_a_gpu_learns_a_text(texts: Path) -> None:
    recipe = yaml.safe_load(time_to_loss.ELTEC_ON_GPU.ours.read_text())
    recipe["train"] |= {"steps": 6, "micro_batch_seqs": 4}
    recipe["model"]["num_layers"] = 1
    own = texts / "recipe.yaml"
    own.write_text(yaml.safe_dump(recipe))
    assert last_loss("banyan_text", texts, recipe=own) < math.log(4)


CTRANSLATE2_STAND_IN = {  # it answers as its original does, and writes down that it converted
    "__init__.py": """
from types import SimpleNamespace
class Generator:
    def __init__(self, path, **settings):
        open(path).close()
    def generate_batch(self, prompts, *, max_length, min_length, **settings):
        assert max_length == min_length and all(isinstance(token, str) for prompt in prompts for token in prompt)
        return [SimpleNamespace(sequences_ids=[[0] * max_length]) for _ in prompts]
""",
    "converters/__init__.py": """
class TransformersConverter:
    def __init__(self, path):
        pass
    def convert(self, path, *, quantization):
        with open(path, "a") as file:
            file.write(quantization)
""",
    "converters/transformers.py": """
class GPT2Loader:
    def get_vocabulary(self, model, tokenizer):
        return []
""",
}


@pytest.fixture(scope="module")
def serving() -> Any:
    """The script that measures a server; what it sets for its own process is taken back."""
    with pytest.MonkeyPatch.context() as patch:
        for setting in (REPEATABLE_PRODUCTS, PASSIVE_WAITING, ENGINE_SPINNING):
            patch.setenv(*setting)
        return importlib.import_module("benchmarks.serving")


def test_ctranslate2_stays_loaded_between_its_turns(
    serving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in CTRANSLATE2_STAND_IN.items():
        place = tmp_path / "modules" / "ctranslate2" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    exported, converted = write_foreign_tokenizer("gpt2", tmp_path / "hf"), tmp_path / "converted"
    with serving.peer_offline(sys.executable, serving.CTRANSLATE2, exported, converted) as turn:
        found = [turn(["one", "two words"], num_tokens) for num_tokens in (3, 5)]
    assert [streams.num_tokens for streams in found] == [6, 10] and all(streams.seconds > 0 for streams in found)
    assert converted.read_text() == "float32"


def test_a_ctranslate2_that_does_not_start_is_one_line(serving: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(SystemExit, match="ctranslate2_offline.py says what its environment needs") as ended,
        serving.peer_offline("false", serving.CTRANSLATE2, tmp_path, tmp_path),
    ):
        pass
    assert "\n" not in str(ended.value)


def test_peers_have_none_of_the_settings_that_are_ours(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = (REPEATABLE_PRODUCTS, PASSIVE_WAITING, ENGINE_SPINNING)
    for setting in ours:
        monkeypatch.setenv(*setting)
    monkeypatch.setenv("HOME_OF_THE_PEER", "kept")
    found = serving.environment_of_peers()
    assert not {name for name, _ in ours} & set(found) and found["HOME_OF_THE_PEER"] == "kept"


def test_a_server_is_held_against_ctranslate2_without_one(serving: Any) -> None:
    rows = [
        serving.Contender(name=name, turn=None, rounds=[serving.Streams(seconds=1.0, num_tokens=count)])
        for name, count in (("banyan server", 90), ("ctranslate2 offline", 60))
    ]
    figures = {figure["name"]: figure for figure in serving.report(rows)}
    assert figures["serving/over ctranslate2 offline"]["ratio"] == 1.5


def test_no_two_weights_of_the_model_that_writes_are_equal(serving: Any, tmp_path: Path) -> None:
    sizes = {"num_layers": 2, "embed_dim": 16, "num_heads": 1, "num_kv_heads": 1, "head_dim": 16, "ffn_dim": 16}
    weights = load_file(serving.write_gpt2(tmp_path / "model", sizes) / "model.safetensors")
    matrices = [weight for weight in weights.values() if weight.dim() > 1]
    assert len(matrices) > 8
    assert len({weight.numpy().tobytes() for weight in matrices}) == len(matrices)


class LabelServer(BaseHTTPRequestHandler):
    """Answers whoever asks for labels, up to a number, and remembers what was asked over which connection."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[int, str]]
    last = 100

    def do_GET(self) -> None:
        self._answer(200, {"data": [{"name": "tags", "kind": "tagging"}, {"name": "topic", "kind": "classification"}]})

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        self.asked.append((self.client_address[1], text))
        assert self.path == "/v1/tasks/topic"
        self._answer(200 if len(self.asked) <= self.last else 503, {"predictions": [{"label": "tree"}]})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def label_server() -> Iterator[tuple[str, type[LabelServer]]]:
    handler = type("Handler", (LabelServer,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()


def test_labels_are_asked_once_each_over_as_many_connections_as_are_asked_at_once(
    serving: Any, label_server: tuple[str, type[LabelServer]]
) -> None:
    url, handler = label_server
    found = serving.classify(url, num_requests=6, at_once=3)
    assert len(found.answer_seconds) == 6 and found.per_second > 0
    assert sorted(text for _, text in handler.asked) == sorted(f"{serving.QUESTION}{n}" for n in range(-3, 6))
    assert len({port for port, _ in handler.asked}) == 2 * 3  # those that warm up, and those that are measured


def test_a_label_that_is_refused_is_no_answer(serving: Any, label_server: tuple[str, type[LabelServer]]) -> None:
    url, handler = label_server
    handler.last = 4
    with pytest.raises(AssertionError, match="503"):
        serving.classify(url, num_requests=6, at_once=2)
