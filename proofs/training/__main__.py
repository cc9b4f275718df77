"""`python -m proofs.training`: try the faults that have not been tried yet, and write down what was seen.

Results are kept in runs/proofs/training, so that a long proof may be done in several calls: a trial that passed is not
done again unless --again asks for it, one that failed is tried again when the code has changed. The trials run on a
copy of the sources, so that editing may go on meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "runs/proofs/training"
PAGE = ROOT / "docs/proofs/training.md"
_CODE = "BANYAN_PROOF_CODE"  # hash of the sources this process runs


def main() -> int:
    """Run what was asked for, print the table, and return 1 if anything failed."""
    options = _options()
    if _CODE not in os.environ:
        _start_again_from_a_copy(committed=options.committed)
    from proofs.training.evidence import table, write_page  # from the copy, as everything that is tried
    from proofs.training.matrix import CELLS
    from proofs.training.running import Runner

    code, folder = os.environ[_CODE], RESULTS / ("quick" if options.quick else "")
    chosen = [cell for cell in CELLS if not options.only or cell.number in options.only]
    runner = Runner(folder, code=code, date=datetime.now(UTC).date().isoformat())
    if not options.show:
        runner.run(chosen, seconds=options.time_limit, quick=options.quick, again=options.again or options.quick)
    sys.stdout.write("\n".join(table(chosen, folder)) + "\n")
    if options.page:
        write_page(PAGE, CELLS, folder)
    return 1 if runner.num_failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofs.training", description=__doc__)
    parser.add_argument("--only", nargs="*", metavar="D-01", help="rows of the matrix; all unless given")
    parser.add_argument("--time-limit", type=float, default=7200, metavar="SECONDS", help="begin no trial after it")
    parser.add_argument("--quick", action="store_true", help="the 90-second form; keeps its results apart")
    parser.add_argument("--again", action="store_true", help="repeat what has passed")
    parser.add_argument("--show", action="store_true", help="only print what is known")
    parser.add_argument("--committed", action="store_true", help="try the last commit, not the files as they are")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    return parser.parse_args()


def _start_again_from_a_copy(*, committed: bool) -> None:
    """Copy the sources and become a process that imports them, on one thread, with repeatable matrix products."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:
        made = Path(folder) / "code"
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
        copy = RESULTS / "code" / code[:12]
        copy.parent.mkdir(exist_ok=True)
        with suppress(OSError):  # it is there already
            made.rename(copy)
    path = os.pathsep.join((str(copy / "src"), str(ROOT)))
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_CBWR": "AUTO", "OMP_WAIT_POLICY": "PASSIVE"}
    environment = {**os.environ, "PYTHONPATH": path, _CODE: code, **one_thread}
    os.execve(sys.executable, [sys.executable, "-m", "proofs.training", *sys.argv[1:]], environment)


if __name__ == "__main__":
    sys.exit(main())
