"""Builds a wheel, installs it into a fresh environment in another folder, and uses it there as a stranger would."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECIPE = """
name: tiny
model: {num_layers: 1, embed_dim: 32, num_heads: 2, num_kv_heads: 1, head_dim: 16, ffn_dim: 48}
tokenizer: {vocab_size: 300}
train: {steps: 3, seq_len: 64, micro_batch_seqs: 4}
tasks:
- {name: notes, kind: language_modeling, data: {train: notes.txt}}
- {name: mood, kind: classification, data: {train: moods.csv, test_fraction: 0.2}}
"""


def run(*command: str | Path, cwd: Path, environment: dict[str, str]) -> str:
    print("$", *command, flush=True)
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        environment = {**os.environ, "BANYAN_RUNS": str(place / "runs")}
        run(sys.executable, "-m", "build", "--wheel", "--outdir", place, ROOT, cwd=place, environment=environment)
        wheel = next(place.glob("*.whl"))
        # The packages of this environment are seen, so that nothing is downloaded twice; Banyan comes from the wheel.
        venv.create(place / "env", with_pip=True, system_site_packages=False)
        site = next((place / "env").glob("lib/python*/site-packages"))
        own = next(Path(sys.prefix).glob("lib/python*/site-packages"))
        python = place / "env" / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=place, environment=environment)
        (site / "packages-of-the-tests.pth").write_text(f"{own}\n")
        (place / "notes.txt").write_text("The banyan grows. 榕树生长。\n" * 40, encoding="utf-8")
        rows = "".join(f"{['fine', 'bad'][i % 2]} day {i},{['good', 'sad'][i % 2]}\n" for i in range(30))
        (place / "moods.csv").write_text("text,label\n" + rows)
        (place / "recipe.yaml").write_text(RECIPE)
        banyan = place / "env" / "bin" / "banyan"
        where = run(python, "-c", "import banyan; print(banyan.__file__)", cwd=place, environment=environment)
        if not where.startswith(str(place)):
            sys.exit(f"the wheel is not what was imported: {where}")
        run(banyan, "train", "recipe.yaml", cwd=place, environment=environment)
        best = "runs/tiny/best"
        run(banyan, "predict", best, "mood", "a fine day", "--json", cwd=place, environment=environment)
        run(banyan, "generate", best, "The", "--max-tokens", "5", cwd=place, environment=environment)
        run(banyan, "outputs", "list", cwd=place, environment=environment)
        run(python, "-c", PYTHON, cwd=place, environment=environment)
    print("the wheel works outside the checkout")


PYTHON = """
from importlib.resources import files
import banyan
with banyan.load("runs/tiny/best") as model:
    assert model.predict("mood", ["a bad day"])[0].labels
    assert isinstance(model.generate("The", max_tokens=3), str)
assert (files("banyan.serve") / "assets" / "index.html").is_file()
assert (files("banyan.recipes") / "demo.yaml").is_file()
"""

if __name__ == "__main__":
    main()
