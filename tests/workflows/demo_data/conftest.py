"""A small library of made-up modules, so that the demo's data can be built in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

MODULES = """
textwrap difflib string pprint json/decoder json/encoder json/__init__ csv shelve socket ssl
http/client http/server asyncio/locks asyncio/tasks asyncio/queues threading queue heapq copy enum
datetime calendar sched shutil glob tempfile fnmatch logging/handlers logging/config traceback pdb
email/message email/parser mailbox xml/dom xml/sax html/parser random fractions statistics argparse
cmd getpass typing inspect functools site venv
"""

SOURCE = '''"""Everything about {word}s, for programs that work with {word}s all day."""

import os


class {title}(Exception):
    """Hold one {word} and what belongs to it."""

    def open_{word}(self, path, mode="r", *, size=10):
        """Open the {word} at a path and return its handle.

        Raises ValueError if the {word} is broken.
        """
        handle = os.path.join(path, "{word}")
        return self.check(handle, mode=mode, size=size)


def count_{word}(values: list, start: int = 0) -> int:
    """Count the {word}s among the values and return their number."""
    total = start + len(values)
    return total  # of all {word}s


def copied(first, second):
    """Say in many plain words that this text stands in every single module."""
    return first + second + {number}
'''


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("library")
    for number, name in enumerate(MODULES.split()):
        path = root / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        word = name.replace("/", "_").strip("_")
        path.write_text(SOURCE.format(word=word, title=word.title().replace("_", ""), number=number))
    (root / "pydoc_data").mkdir()
    topics = {f"topic{index}": f"The statement number {index} of the language.\n" * 30 for index in range(30)}
    (root / "pydoc_data" / "topics.py").write_text(f"topics = {topics!r}\n")
    return root
