import json
import math
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml

from banyan.train.head_loss import head_cross_entropy
from benchmarks.peers.breakdown import HEAD, PRODUCTS, breakdown

ROOT = Path(__file__).resolve().parents[1]
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
