"""What the environment must hold before torch loads: torch and its libraries read it once, while they load.

Each is a pair of a variable and its value, to be set where nobody has set it: `os.environ.setdefault(*PAIR)`.
"""

from __future__ import annotations

from typing import TypeAlias

Setting: TypeAlias = tuple[str, str]

# The same answer, bit for bit, whatever its neighbours: on two threads half of them differed without it. Strictly: with
# AUTO alone an Intel Xeon gave other bits to products of fewer than 16 rows, and on two threads to those of many (3,072
# to 768 wide: from 392 on). From 16 rows on it is as fast or faster; one row takes twice as long.
REPEATABLE_PRODUCTS: Setting = ("MKL_CBWR", "AUTO,STRICT")

# Spinning OpenMP barriers slow small steps several times when another process wants a core.
PASSIVE_WAITING: Setting = ("OMP_WAIT_POLICY", "PASSIVE")

# Never spinning costs a small step a third of its speed: threads spin for a moment, and sleep then.
BRIEF_SPINNING: Setting = ("GOMP_SPINCOUNT", "2000")

# A step of a server's engine is a few hundred short operations: at sixteen rows of GPT-2 it took 66 ms where threads
# spin for so long between them, 75 with the moment above (two cores of a Xeon). Beside another program it took 194
# against 122: the engine then uses fewer threads (`infer/thread_count.py`), and one alone took 116.
ENGINE_SPINNING: Setting = (BRIEF_SPINNING[0], "20000")
