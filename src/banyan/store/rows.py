"""What a write is: an object that applies itself to a connection inside somebody else's transaction.

Every one may be applied twice with the same effect as once, so that a batch can be tried again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from sqlalchemy import Connection, Insert, insert, update
from sqlalchemy.dialects import postgresql, sqlite

from banyan.store.schema import Base


class WriteOperation(Protocol):
    """One write that must happen whole or not at all."""

    @property
    def num_bytes(self) -> int:
        """About how much memory it holds while it waits."""
        ...

    def apply(self, connection: Connection) -> Any:
        """Write it, and return what its future will hold."""
        ...

    def payload(self) -> Mapping[str, Any]:
        """Return everything in it, for the dead letters."""
        ...


def insert_row(connection: Connection, table: type[Base], values: Mapping[str, Any]) -> None:
    """Insert a row."""
    connection.execute(_insertion(table), dict(values))


def insert_if_absent(connection: Connection, table: type[Base], values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with its key is there, and say whether it was inserted."""
    statement = _insertion_if_absent(table, connection.dialect.name)
    return connection.execute(statement, dict(values)).rowcount > 0


# Each statement is made once and then given its values: to make one anew takes longer than SQLite takes to run it.
@cache
def _insertion(table: type[Base]) -> Insert:
    return insert(table.__table__)  # type: ignore[arg-type]


@cache
def _insertion_if_absent(table: type[Base], dialect_name: str) -> Insert:
    dialect = postgresql if dialect_name == "postgresql" else sqlite
    statement: Insert = dialect.insert(table.__table__).on_conflict_do_nothing()
    # Without the option SQLAlchemy forgets the count of an INSERT on PostgreSQL.
    return statement.execution_options(preserve_rowcount=True)


def upsert(
    connection: Connection, table: type[Base], values: Mapping[str, Any], *, key: Sequence[str], replace: Sequence[str]
) -> None:
    """Insert a row, or where one with the same `key` columns is there, replace the columns named."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    changes = {name: values[name] for name in replace}
    statement = dialect.insert(table).values(dict(values)).on_conflict_do_update(index_elements=list(key), set_=changes)
    connection.execute(statement)


@dataclass(frozen=True, kw_only=True, slots=True)
class PutRow:
    """Insert one row; where one with its key is there, replace the columns named."""

    table: type[Base]
    values: Mapping[str, Any]
    result: Any = None  # what the future will hold
    key: tuple[str, ...] = ("id",)
    replace: tuple[str, ...] = ()

    @property
    def num_bytes(self) -> int:
        """The size of its values, roughly."""
        return 256 + len(str(dict(self.values)))

    def apply(self, connection: Connection) -> Any:
        """Write the row and return `result`."""
        if self.replace:
            upsert(connection, self.table, self.values, key=self.key, replace=self.replace)
        else:
            insert_if_absent(connection, self.table, self.values)
        return self.result

    def payload(self) -> Mapping[str, Any]:
        """Return table and values."""
        return {"table": self.table.__tablename__, "values": dict(self.values)}


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeRow:
    """Change columns of one row; nothing happens if it is not there."""

    table: type[Base]
    key: Mapping[str, Any]
    values: Mapping[str, Any]

    @property
    def num_bytes(self) -> int:
        """The size of its values, roughly."""
        return 256 + len(str(dict(self.values)))

    def apply(self, connection: Connection) -> None:
        """Update the row."""
        columns = self.table.__table__.c
        conditions = [columns[name] == value for name, value in self.key.items()]
        connection.execute(update(self.table).where(*conditions).values(dict(self.values)))

    def payload(self) -> Mapping[str, Any]:
        """Return table, key and values."""
        return {"table": self.table.__tablename__, "key": dict(self.key), "values": dict(self.values)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Together:
    """Several writes of which none may be there without the others."""

    operations: tuple[WriteOperation, ...]

    @property
    def num_bytes(self) -> int:
        """That of all of them."""
        return sum(operation.num_bytes for operation in self.operations)

    def apply(self, connection: Connection) -> list[Any]:
        """Apply them in order."""
        return [operation.apply(connection) for operation in self.operations]

    def payload(self) -> Mapping[str, Any]:
        """Return those of all of them, each with what it is."""
        return {"together": [{"source": type(each).__name__, "payload": each.payload()} for each in self.operations]}
