import subprocess
import sys
from pathlib import Path

from banyan.core.before_torch import BRIEF_SPINNING, PASSIVE_WAITING, REPEATABLE_PRODUCTS

ROOT = Path(__file__).parents[2]


def test_the_settings_can_be_had_before_torch_loads() -> None:
    program = "import sys, banyan, banyan.core.before_torch; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_each_setting_stands_in_one_place() -> None:
    programs = [
        path for room in ("src", "benchmarks", "proofs", "deploy", "tests") for path in (ROOT / room).rglob("*.py")
    ]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in programs}
    for name, _ in (BRIEF_SPINNING, PASSIVE_WAITING, REPEATABLE_PRODUCTS):
        assert [place for place, text in texts.items() if f'"{name}"' in text] == ["src/banyan/core/before_torch.py"]
