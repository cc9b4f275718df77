"""`banyan train` on a real terminal, as a person sees it."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import yaml


def write_recipe(folder: Path) -> Path:
    rows = [json.dumps({"text": f"{['red', '蓝色'][n % 2]} thing {n}", "label": "ab"[n % 2]}) for n in range(24)]
    (folder / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    recipe = {
        "name": "watched",
        "model": {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 16},
        "tokenizer": {"vocab_size": 260},
        "train": {"steps": 100_000, "seq_len": 32, "micro_batch_seqs": 2, "evaluate_every": 20},
        "tasks": [
            {"name": "颜色", "kind": "classification", "data": {"train": "rows.jsonl", "validation_fraction": 0.2}}
        ],
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    return folder / "recipe.yaml"


def test_a_watched_run_shows_its_losses_and_a_key_press_ends_it_with_the_command_that_goes_on(tmp_path: Path) -> None:
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "banyan", "train", str(write_recipe(tmp_path))],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        cwd=tmp_path,
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # the terminal that ^C comes from
        env={**os.environ, "TERM": "xterm", "COLUMNS": "90", "LINES": "30", "OMP_NUM_THREADS": "1"},
    )
    os.close(inside)
    shown, is_pressed = "", False
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while piece := os.read(terminal, 65536):
            shown += piece.decode(errors="replace")
            if not is_pressed and "sample 颜色: " in shown and "MFU " in shown:
                os.write(terminal, b"\x03")
                is_pressed = True
    os.close(terminal)
    assert process.wait(60) == 130, shown[-2000:]
    assert "颜色" in shown and "tokens/s" in shown and "score " in shown
    last = shown.rstrip().splitlines()[-1].removeprefix("\x1b[?25h")  # the cursor is visible again
    assert last.startswith("saved step ") and last.endswith(f"banyan train {tmp_path / 'recipe.yaml'} --resume")
