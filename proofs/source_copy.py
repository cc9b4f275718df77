"""A copy of the sources for a proof to run on, so that editing may go on meanwhile; its results name its hash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from banyan.core.before_torch import PASSIVE_WAITING, REPEATABLE_PRODUCTS

ROOT = Path(__file__).resolve().parents[1]
_CODE = "BANYAN_PROOF_CODE"  # hash of the sources this process runs


def become_a_copy(module: str, folder: Path, *, committed: bool) -> str:
    """Return the hash of the copy this process runs on.

    A process that does not run on one yet copies the sources into a folder and becomes `python -m module` there, with
    the same words, on one thread, with repeatable matrix products. `committed` takes the last commit instead of the
    files as they are.
    """
    if _CODE in os.environ:
        return os.environ[_CODE]
    code, copy = _copied(folder, committed=committed)
    path = os.pathsep.join((str(copy / "src"), str(ROOT)))
    one_thread = {"OMP_NUM_THREADS": "1", **dict([REPEATABLE_PRODUCTS, PASSIVE_WAITING])}
    environment = {**os.environ, "PYTHONPATH": path, _CODE: code, **one_thread}
    os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], environment)


def _copied(folder: Path, *, committed: bool) -> tuple[str, Path]:
    """Copy the sources below a folder, unless they are there, and return their hash and their place."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        made = Path(temporary) / "code"
        if committed:
            made.mkdir()
            archive = subprocess.run(
                ["git", "archive", "HEAD", "src"], cwd=ROOT, check=True, capture_output=True
            ).stdout
            subprocess.run(["tar", "-x", "-C", made], input=archive, check=True)
        else:
            shutil.copytree(ROOT / "src", made / "src", ignore=shutil.ignore_patterns("__pycache__"))
        sources = sorted(path for path in made.rglob("*") if path.is_file())
        code = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
        copy = folder / "code" / code[:12]
        copy.parent.mkdir(exist_ok=True)
        with suppress(OSError):  # it is there already
            made.rename(copy)
    return code, copy
