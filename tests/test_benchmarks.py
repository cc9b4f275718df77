import json
import math
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
    assert "--quick" in text.getvalue(), script
"""


def test_every_benchmark_starts_and_has_a_quick_form() -> None:
    scripts = [path for path in sorted((ROOT / "benchmarks").glob("*.py")) if "add_argument(" in path.read_text()]
    named = [str(path.relative_to(ROOT)) for path in scripts]
    assert len(named) > 10
    done = subprocess.run(
        [sys.executable, "-c", ASK_ALL_FOR_HELP, *named], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("contender", "recipe"), [("peers.shakespeare", "small"), ("banyan_text", "recipes/shakespeare.yaml")]
)
def test_both_contenders_of_the_race_to_a_loss_learn_a_text_for_some_seconds(
    contender: str, recipe: str, tmp_path: Path
) -> None:
    generator = random.Random(0)
    texts = {"train": 20_000, "validation": 2_000}
    for part, size in texts.items():
        (tmp_path / f"{part}.bin").write_bytes(bytes(generator.choices(b"abcd", weights=(8, 4, 2, 1), k=size)))
    (tmp_path / "alphabet.bin").write_bytes(b"abcd")
    report = tmp_path / "report.json"
    words = {"texts": tmp_path, "report": report, "recipe": recipe, "seq-len": 64, "seed": 0}
    words |= {"max-seconds": 8, "started": time.monotonic()}
    command = [sys.executable, "-m", f"benchmarks.{contender}", *(f"--{name}={value}" for name, value in words.items())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text())["curve"][-1]["loss"] < math.log(4)
