"""G11: model directories made to do harm, given to a running server and to the command line; none of them does."""

from __future__ import annotations

import json
import os
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from proofs.evidence import Cell
from proofs.serving.goals.bench import MODEL_NAME, Bench, Server
from proofs.serving.goals.blocks import blocks, numbers_of
from proofs.serving.goals.processes import BanyanProcess
from proofs.serving.goals.watch import watch
from proofs.training.hostile import hostile_directory

_TOTAL, _BLOCK = 10_000, 250
_MAX_SECONDS = 2.0
_MAX_GROWTH_BYTES = 200e6
_WAIT_SECONDS = 280.0
_CANARY = Path("/tmp/banyan-was-here")  # what the pickles of the corpus would write
_NAME = "hostile"
# A directory cannot lie about itself, and what is read must be what it says; harm to a file that nothing reads, or a
# change that leaves a model, may leave one that answers.
_NEVER_OPENED = ("path_outside", "link", "pipe", "sparse")
_NEVER_READ_WITH = ("pickle", "header_length", "deep_header", "json_bomb")
_UNREAD_FILES = ("config.json", "tokenizer_config.json")


def run(bench: Bench, trial: str) -> str:
    """Offer a block of directories to a server, and then to the command line."""
    numbers, folder = numbers_of(trial), bench.place(f"G11-{trial}-models")
    _CANARY.unlink(missing_ok=True)
    served = _offer_to_a_server(bench, trial, numbers, folder)
    commanded = _offer_to_commands(bench, numbers, folder)
    shutil.rmtree(folder)
    return f"server: {_counted(served)}; commands: {_counted(commanded)}"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items(), reverse=True))


def may_open(what: str) -> bool:
    """Whether a harm may leave a directory that is a model: nothing of it is read, or it is a valid change."""
    kind, name = what.split()[:2]
    return kind not in _NEVER_OPENED and (kind not in _NEVER_READ_WITH or name in _UNREAD_FILES)


# ------------------------------------------------------------------------------- a running server


def _offer_to_a_server(bench: Bench, trial: str, numbers: range, folder: Path) -> dict[str, int]:
    root, seen = folder / "root", folder / "seen-by-the-server.txt"
    root.mkdir()
    shutil.copytree(bench.model, root / "good")
    with bench.server(f"G11-{trial}", "--model-root", str(root), fault=partial(watch, seen)) as server:
        with server.client() as client:
            _open(client, "good").raise_for_status()
            _answer_and_close(client).raise_for_status()  # whatever is imported late is there now
            seen.touch()
            before, counts = _peak_bytes(server), Counter[str]()
            for number in numbers:
                what = _fresh(bench.model, root / "bad", number)
                counts[_offer(client, number, what)] += 1
                growth = _peak_bytes(server) - before
                assert growth < _MAX_GROWTH_BYTES, f"{number} {what}: memory grew by {growth / 1e6:.0f} MB"
                _check_seen(seen, f"{number} {what}")
            answer = client.post("/v1/completions", json={"model": MODEL_NAME, "prompt": "a", "max_tokens": 2})
            assert answer.status_code == 200, f"the good model answers {answer.text}"
        assert server.stop() == 0
        assert "internal_error" not in server.said(), server.said()[-800:]
    return dict(counts)


def _offer(client: httpx.Client, number: int, what: str) -> str:
    """Ask the server to open the directory; one that it opens must answer, and is taken out again."""
    answer = _timed(lambda: _open(client, "bad"), f"{number} {what}")
    if answer.status_code == 400:
        assert answer.json()["error"]["code"] == "model_not_loadable", f"{number} {what}: {answer.text}"
        return "refused"
    assert answer.status_code == 200 and may_open(what), f"{number} {what}: {answer.status_code} {answer.text[:300]}"
    said = _answer_and_close(client)
    assert said.status_code in (200, 400, 404), f"{number} {what}: opened, and answers {said.text[:300]}"
    return "harmless"


def _answer_and_close(client: httpx.Client) -> httpx.Response:
    said = client.post("/v1/completions", json={"model": _NAME, "prompt": "a", "max_tokens": 2})
    client.delete(f"/admin/models/{_NAME}").raise_for_status()
    return said


def _open(client: httpx.Client, directory: str) -> httpx.Response:
    return client.post("/admin/models", json={"name": _NAME, "directory": directory})


def _peak_bytes(server: Server) -> int:
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


# ------------------------------------------------------------------------------- the command line


def _offer_to_commands(bench: Bench, numbers: range, folder: Path) -> dict[str, int]:
    work = partial(_command_block, bench.model, folder, numbers)
    process = BanyanProcess((), output=folder / "commands.txt", fault=work)
    code = process.wait(_WAIT_SECONDS)
    assert code == 0, f"{'it still runs' if code is None else f'exit code {code}'}: {process.said()[-800:]}"
    counts: dict[str, int] = json.loads((folder / "counts.json").read_text())
    return counts


def _command_block(good: Path, folder: Path, numbers: range) -> None:
    """Run a command on every directory of the block, in this process, which is watched and then ends."""
    seen, database = folder / "seen-by-commands.txt", f"sqlite:///{folder / 'commands.db'}"
    watch(seen, writable=(folder,))  # which is made, in case it is not there, before a database in it is opened
    assert _exit_code(good, database) == 0, "the good model does not answer"
    before, counts = _own_peak_bytes(), Counter[str]()
    for number in numbers:
        directory = folder / "bad"
        what = _fresh(good, directory, number)
        seen.touch()  # what the trial itself does is not watched
        code = _timed(lambda directory=directory: _exit_code(directory, database), f"{number} {what}")
        assert code == 4 or (code in (0, 2) and may_open(what)), f"{number} {what}: exit code {code}"
        counts["refused with exit code 4" if code == 4 else "harmless"] += 1
        growth = _own_peak_bytes() - before
        assert growth < _MAX_GROWTH_BYTES, f"{number} {what}: memory grew by {growth / 1e6:.0f} MB"
        _check_seen(seen, f"{number} {what}")
        seen.unlink()
    (folder / "counts.json").write_text(json.dumps(counts))
    os._exit(0)


def _exit_code(directory: Path, database: str) -> int:
    from banyan.cli.main import main

    try:
        main(["generate", str(directory), "a", "--max-tokens", "1", "--quiet", "--database", database])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _own_peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# ------------------------------------------------------------------------------- both


def _fresh(good: Path, directory: Path, number: int) -> str:
    shutil.rmtree(directory, ignore_errors=True)
    return hostile_directory(good, directory, number)


def _timed(work: Callable[[], Any], what: str) -> Any:
    """Do something that may not take long; a machine that was busy is given a second chance."""
    for _ in range(2):
        began = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - began
        if seconds < _MAX_SECONDS:
            return result
    raise AssertionError(f"{what}: took {seconds:.1f} s, twice")


def _check_seen(seen: Path, what: str) -> None:
    assert not _CANARY.exists(), f"{what}: code has run"
    assert not seen.stat().st_size, f"{what}: {seen.read_text()[:1500]}"


CELLS = (
    Cell(
        number="G11",
        fault=f"{_TOTAL:,} model directories made to do harm, with manifests that fit (those of D-10), given to a "
        "running server over HTTP and to the command line",
        passes_if="refused with 400 and exit code 4, or a model that answers where the harm is in what nothing reads; "
        "no code or library of theirs runs, no process or connection is opened, nothing but the database is written; "
        "< 2 s and < 200 MB more memory",
        trials=blocks("directories", total=_TOTAL, size=_BLOCK),
        run=run,
        quick=("directories 1-32",),
        trial_size=f"{_BLOCK} directories",
    ),
)
