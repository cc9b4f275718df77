"""The names of what a run leaves in its directory, for those who write it and those who only look."""

from __future__ import annotations

METRICS_FILE = "metrics.jsonl"  # one line for each logged step
SAMPLES_DIRECTORY = "samples"  # what the model answered at each evaluation
RUN_FILE = "run.json"  # under which id the run is recorded, also when it goes on
