"""Requests whose process died before their answer was written: found at the next start and marked as interrupted.

A process is known by host, number and moment of birth, so a living neighbour is never touched. Those of other hosts are
dead where nobody else holds the database's folder: see presence.py.
"""

from __future__ import annotations

import os
import socket

import psutil
from sqlalchemy import Connection, insert, select, update

from banyan import __version__
from banyan.core.ids import new_ulid
from banyan.store.schema import RequestRow, ServerInstanceRow
from banyan.store.times import MICROSECONDS
from banyan.store.types import OPEN_STATES, RequestState

_SAME_BIRTH_SECONDS = 2  # two readings of one process's start differ by less


def register_instance(connection: Connection, *, at: int) -> str:
    """Note that this process writes from now on, and return the id that its requests will carry."""
    row = {
        "id": new_ulid(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started_at": _birth(psutil.Process()),
        "version": __version__,
        "started_at": at,
    }
    connection.execute(insert(ServerInstanceRow).values(row))
    return str(row["id"])


def recover(connection: Connection, *, at: int, is_alone: bool = False) -> int:
    """Mark the open requests of dead processes as interrupted and return how many there were.

    Partial answers stay. Processes of other hosts cannot be asked; they are left alone unless this one is alone.
    """
    here, running = socket.gethostname(), select(ServerInstanceRow).where(ServerInstanceRow.ended_at.is_(None))
    dead = [
        row.id
        for row in connection.execute(running)
        if (is_alone if row.host != here else not is_alive(row.pid, row.process_started_at))
    ]
    return sum(end_instance(connection, instance_id, reason="died", at=at) for instance_id in dead)


def end_instance(connection: Connection, instance_id: str, *, reason: str, at: int) -> int:
    """Note the end of a process, interrupt what it left open, and return how many requests that were."""
    is_open = RequestRow.state.in_([str(state) for state in OPEN_STATES])
    interrupted = {"state": str(RequestState.INTERRUPTED), "finished_at": at}
    left = update(RequestRow).where(RequestRow.server_instance_id == instance_id, is_open).values(interrupted)
    count = connection.execute(left).rowcount
    ended = {"ended_at": at, "end_reason": reason}
    connection.execute(update(ServerInstanceRow).where(ServerInstanceRow.id == instance_id).values(ended))
    return count


def is_alive(pid: int, process_started_at: int) -> bool:
    """Whether the process with this number is still the one that was born at that moment."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(_birth(process) - process_started_at) < _SAME_BIRTH_SECONDS * MICROSECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _birth(process: psutil.Process) -> int:
    return round(float(process.create_time()) * MICROSECONDS)
