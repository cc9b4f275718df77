import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from sqlalchemy import text, update

from banyan.store.presence import Presence
from banyan.store.recovery import is_alive
from banyan.store.schema import ServerInstanceRow
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import RequestState, StoredAnswer, StoredOutput
from banyan.store.verify import verify_database
from banyan.testing.store import tiny_request

WRITER = """
import os, sys, threading
from banyan.store.sql_store import open_store
from banyan.store.types import StoredAnswer, StoredOutput
from banyan.testing.store import tiny_request

store = open_store(sys.argv[1])

def work(name):
    number = 0
    while True:
        key = store.begin(tiny_request()).result()
        os.write(1, f"begun {key}\\n".encode())
        if number % 2:
            store.finish(key, StoredAnswer(outputs=(StoredOutput(text=key),))).result()
            os.write(1, f"ended {key}\\n".encode())
        number += 1

threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
[thread.start() for thread in threads]
"""


def instance_is(store: SqlStore, **changes: object) -> None:
    with store.database.write() as connection:
        connection.execute(update(ServerInstanceRow).values(changes))


def abandoned(path: Path) -> str:
    """Leave one open request behind whose process looks alive, and return its id."""
    store = open_store(str(path))
    key = store.begin(tiny_request()).result(10)
    store.progress(key, "half")
    store.flush()
    store._writer.close()
    store.database.close()
    store._presence.close()
    return key


def test_a_killed_process_loses_no_acknowledged_row(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "a.db")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(60)]
    child.send_signal(signal.SIGKILL)
    said += child.stdout.read().splitlines(keepends=True)
    child.wait()
    child.stdout.close()
    # The last line may have been cut off together with the process.
    acknowledged = [line.split() for line in said if line.endswith("\n")]
    with open_store(str(tmp_path / "a.db")) as store:
        found = {exchange.request.request_id: exchange for exchange in store.queries.iterate()}
        assert {key for word, key in acknowledged if word == "begun"} <= set(found)
        for key in (key for word, key in acknowledged if word == "ended"):
            answer = found[key].answer
            assert answer is not None and answer.outputs[0].text == key
        assert all(exchange.state in (RequestState.COMPLETED, RequestState.INTERRUPTED) for exchange in found.values())
        assert store.num_recovered > 0
        assert verify_database(store.database).is_sound


def test_a_living_neighbour_is_left_alone(tmp_path: Path) -> None:
    key = abandoned(tmp_path / "a.db")
    with open_store(str(tmp_path / "a.db")) as store:
        assert store.num_recovered == 0
        assert store.queries.show(key).state is RequestState.RUNNING


def test_a_dead_process_leaves_its_requests_interrupted_with_what_was_answered(tmp_path: Path) -> None:
    key = abandoned(tmp_path / "a.db")
    with open_store(str(tmp_path / "a.db")) as store:
        instance_is(store, pid=2**22 + 1)
    with open_store(str(tmp_path / "a.db")) as store:
        assert store.num_recovered == 1
        found = store.queries.show(key)
        assert found.state is RequestState.INTERRUPTED
        assert found.answer is not None and found.answer.outputs == (StoredOutput(text="half", finish_reason=None),)
    with open_store(str(tmp_path / "a.db")) as store:
        assert store.num_recovered == 0


def test_a_later_process_with_the_same_number_is_not_the_same(tmp_path: Path) -> None:
    abandoned(tmp_path / "a.db")
    with open_store(str(tmp_path / "a.db")) as store:
        instance_is(store, process_started_at=1)
    with open_store(str(tmp_path / "a.db")) as store:
        assert store.num_recovered == 1


def test_processes_of_other_hosts_are_left_alone_unless_nobody_else_is_there(tmp_path: Path) -> None:
    key = abandoned(tmp_path / "a.db")
    with open_store(str(tmp_path / "a.db")) as store:
        instance_is(store, pid=2**22 + 1, host="another container", ended_at=None)
        with open_store(str(tmp_path / "a.db")) as second:
            assert second.num_recovered == 0
            assert second.queries.show(key).state is RequestState.RUNNING
    with open_store(str(tmp_path / "a.db")) as store:
        assert store.num_recovered == 1
        assert store.queries.show(key).state is RequestState.INTERRUPTED


def test_who_comes_first_is_alone_until_others_may_come(tmp_path: Path) -> None:
    first = Presence(tmp_path)
    assert first.is_alone and not Presence(None).is_alone and not Presence(tmp_path / "nowhere").is_alone
    second = Presence(tmp_path)
    assert not second.is_alone
    first.share()
    second.share()
    third = Presence(tmp_path)
    assert not third.is_alone
    for each in (first, second, third, first):
        each.close()
    last = Presence(tmp_path)
    assert last.is_alone
    last.close()


def test_a_process_that_ended_but_was_not_collected_counts_as_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    born = round(psutil.Process(child.pid).create_time() * 1e6)
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not is_alive(child.pid, born)
    child.wait()
    assert is_alive(os.getpid(), round(psutil.Process().create_time() * 1e6))


def test_a_finish_after_the_recovery_changes_nothing(store: SqlStore) -> None:
    key = store.begin(tiny_request()).result(10)
    with store.database.write() as connection:
        connection.execute(text("UPDATE requests SET state = 'interrupted', finished_at = 1"))
    store.finish(key, StoredAnswer(outputs=(StoredOutput(text="late"),))).result(10)
    found = store.queries.show(key).answer
    assert found is not None and found.state is RequestState.INTERRUPTED and found.outputs == ()
