"""`python -m proofs.joint`: do the runs that have not been done yet, and write down what they scored.

Results lie in runs/proofs/joint, one file a run and recipe; a run that is stopped goes on in the next call. The parts
are: short (3 runs of 90 minutes), long (one run of 8 hours), twins (every task beside a model that learns it alone),
remedies (a finish for each task that loses by it), ablations (12 settings, 10 minutes and 3 seeds each). --page also
records the runs of short, long and ablations in docs/proofs/joint.json, so that another machine goes on with the rest.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from banyan.cli.main import flushed_denormals, prepare_process
from banyan.cli.output import console
from banyan.cli.progress import TerminalReporter

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "runs/proofs/joint"
PAGE = ROOT / "docs/joint.md"
RECORD = ROOT / "docs/proofs/joint.json"
RECIPE = ROOT / "recipes/joint.yaml"
PARTS = ("short", "twins", "remedies", "ablations", "long")


def main() -> int:
    """Do what is left of the chosen parts within the time, and write the page if asked to."""
    options = _options()
    prepare_process(debug=False)
    from proofs.joint.proof import Proof, quick_proof  # torch loads with it, and reads its threads from the environment

    with tempfile.TemporaryDirectory() as scratch, flushed_denormals(), TerminalReporter(console()) as reporter:
        if options.quick:
            proof = quick_proof(RECIPE, Path(scratch), reporter=reporter)
        else:
            proof = Proof(RECIPE, RESULTS, changes=options.set, helps=options.helps, reporter=reporter, record=RECORD)
        if not options.show:
            proof.do(options.parts, seconds=options.time_limit)
        for part in options.parts:
            sys.stdout.write("\n".join((f"## {part}", "", *proof.lines(part), "")) + "\n")
        if options.page:
            proof.write_page(PAGE)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofs.joint", description=__doc__)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--time-limit", type=float, default=7200, metavar="SECONDS", help="save and stop after it")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the recipe, in every run")
    parser.add_argument("--helps", choices=("leave-out", "pairs"), help="twins: also which task helps which")
    parser.add_argument("--quick", action="store_true", help="every part at toy size, kept nowhere")
    parser.add_argument("--show", action="store_true", help="only print what is known")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    if "BANYAN_DATA" not in os.environ:
        parser.error("set BANYAN_DATA to the folder of the data sets")
    return options


if __name__ == "__main__":
    sys.exit(main())
