from __future__ import annotations

import subprocess
import sys

from banyan.workflows.demo_data.hashing import stable_hash


def test_another_process_finds_the_same_hash() -> None:
    code = "from banyan.workflows.demo_data.hashing import stable_hash; print(stable_hash('textwrap'))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(printed) == stable_hash("textwrap")
