"""`python -m proofs.training.make_fixture`: the run that tests/fixtures keeps of the present checkpoint format.

Made once, when a format is released, and never again: later versions must go on from it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import yaml

FIXTURE = Path(__file__).resolve().parents[2] / "tests/fixtures/run-format-1"
_KEPT = ("recipe.yaml", "run.json", "metrics.jsonl")  # of the run directory
_STEPS = 4


def main() -> None:
    """Train four steps of the smallest model and keep what a resume needs."""
    if FIXTURE.exists():
        sys.exit(f"{FIXTURE} is there; a released format does not change")
    with tempfile.TemporaryDirectory(prefix="banyan-") as temporary:
        folder = Path(temporary)
        _train(folder)
        run, kept = folder / "runs/run", FIXTURE / "run"  # not called runs/, which no repository keeps
        kept.mkdir(parents=True)
        for path in (folder / "recipe.yaml", folder / "rows.jsonl"):
            shutil.copy(path, FIXTURE)
        for file in _KEPT:
            shutil.copy(run / file, kept)
        checkpoint = f"checkpoints/step-{_STEPS:08d}"
        for name in ("tokenizer", checkpoint):
            shutil.copytree(run / name, kept / name)
        for link in ("last", "best"):
            (kept / link).symlink_to(checkpoint)


def _train(folder: Path) -> None:
    rows = [{"text": f"{['red', '蓝色'][n % 2]} stone {n}"} for n in range(24)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    recipe = {
        "name": "run",
        "model": {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 8, "head_dim": 4, "ffn_dim": 8},
        "tokenizer": {"vocab_size": 257},
        "train": {"steps": 2 * _STEPS, "seq_len": 16, "micro_batch_seqs": 2, "checkpoint_every": _STEPS},
        "tasks": [{"name": "text", "kind": "language_modeling", "data": {"train": "rows.jsonl"}}],
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    os.chdir(folder)
    from banyan.cli.main import main as banyan

    words = ["train", "recipe.yaml", f"train.steps={_STEPS}", "--database", "sqlite:///it.db", "--quiet"]
    try:
        banyan(words)
    except SystemExit as end:
        assert end.code == 0
    os.chdir("/")


if __name__ == "__main__":
    main()
