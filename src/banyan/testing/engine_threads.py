"""The threads of engines in this process."""

from __future__ import annotations

import gc
import threading


def engine_threads() -> set[threading.Thread]:
    """Return the threads of the engines that somebody still holds.

    Compare sets, not numbers: an engine that another test has forgotten may end its thread at any time.
    """
    gc.collect()
    return {thread for thread in threading.enumerate() if thread.name == "banyan-engine"}
