"""`python -m proofs.pictures`: do the cells that have not been done yet, and write down what they found.

A set has four: its picture tokenizer, its judge, the model that draws, and what is measured of it. Results lie in
runs/proofs/pictures, one file a cell; a run that is stopped goes on in the next call. Three sets stand in for a user's
own 28×28 grey pictures, and lie in runs/proofs/pictures/sets as any recipe can name them: digits (npz), grey-cifar
(IDX) and glyphs (a folder for each class). cifar10 and emoji come from the catalog; cifar10-gpu is done if it is asked
for, and there is a GPU. --page also records what sets that
are done have found in docs/proofs/pictures.json, so that another machine goes on with the next set.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from banyan.cli.main import flushed_denormals, prepare_process
from banyan.cli.output import console
from banyan.cli.progress import TerminalReporter
from proofs.pictures.sets import SETS

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "runs/proofs/pictures"
PAGE = ROOT / "docs/pictures.md"
RECORD = ROOT / "docs/proofs/pictures.json"


def main() -> int:
    """Do what is left of the chosen sets within the time, and write the page if asked to."""
    options = _options()
    prepare_process(debug=False)
    import torch  # here, for it reads its threads from the environment

    from proofs.pictures import page
    from proofs.pictures.cells import Cells, Sizes
    from proofs.pictures.quick import QUICK

    chosen = [own for own in SETS if own.name in options.sets]
    if any(own.needs_gpu for own in chosen) and not (options.show or options.quick or torch.cuda.is_available()):
        sys.exit("cifar10-gpu needs a GPU, and there is none; choose others with --sets")
    with tempfile.TemporaryDirectory() as scratch, flushed_denormals(), TerminalReporter(console()) as reporter:
        folder, sizes = (Path(scratch), QUICK) if options.quick else (RESULTS, Sizes())
        cells = Cells(folder, sizes=sizes, reporter=reporter, record=None if options.quick else RECORD)
        cells.deadline = time.monotonic() + options.time_limit
        for own in [] if options.show else chosen:
            cells.do(own)
        if options.page:
            page.write_page(PAGE, cells)
        sys.stdout.write("\n".join((*page.lines(cells, chosen, images=PAGE.parent / "images"), "")))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofs.pictures", description=__doc__)
    names = [own.name for own in SETS]
    usual = [own.name for own in SETS if not own.needs_gpu]
    parser.add_argument("--sets", nargs="*", choices=names, default=usual)
    parser.add_argument("--time-limit", type=float, default=7200, metavar="SECONDS", help="save and stop after it")
    parser.add_argument("--quick", action="store_true", help="every set at toy size, kept nowhere")
    parser.add_argument("--show", action="store_true", help="only print what is known")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    if options.quick and options.page:
        parser.error("--quick keeps no figures, so there are none for --page")
    needy = [own.name for own in SETS if own.needs_catalog and own.name in options.sets]
    if needy and not options.show and "BANYAN_DATA" not in os.environ:
        parser.error(f"{', '.join(needy)} need BANYAN_DATA, the folder of the data sets; or choose others with --sets")
    return options


if __name__ == "__main__":
    sys.exit(main())
