"""`banyan db dead-letters`: what was refused is shown without its content, and stored when it can be."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from banyan.cli.db import app
from banyan.core.errors import InputError
from banyan.store.sql_store import open_database, open_store
from banyan.store.types import StoredAnswer, StoredOutput
from banyan.testing.store import tiny_request


@pytest.fixture
def address(tmp_path: Path) -> str:
    open_store(str(tmp_path / "a.db")).close()
    return str(tmp_path / "a.db")


def run(address: str, *words: str) -> Result:
    result = CliRunner().invoke(app, [*words, "--database", address], standalone_mode=False)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_dead_letters_are_listed_and_replayed_and_exit_code_10_says_that_some_stay(address: str) -> None:
    assert "0 dead letters" in run(address, "dead-letters", "list").stdout
    assert "0 stored" in run(address, "dead-letters", "replay").stdout
    asked = tiny_request(api_key_id="a" * 26)
    with open_store(address) as store:
        assert store.record(asked, StoredAnswer(outputs=(StoredOutput(text="secret"),))).exception(10)
        assert store.record(tiny_request(seed=2**80), StoredAnswer()).exception(10)
    listed = json.loads(run(address, "dead-letters", "list", "--json").stdout)
    assert listed["total"] == 2 and [row["operation"] for row in listed["dead_letters"]] == ["RecordExchange"] * 2
    letter = next(row for row in listed["dead_letters"] if row["request_id"] == asked.request_id)
    shown = run(address, "dead-letters", "list", "--limit", "1").stdout
    assert "of which 1 are shown" in shown and "secret" not in shown + json.dumps(listed)
    refused = run(address, "dead-letters", "replay", letter["id"][:25])
    assert refused.return_value == 10 and "stays: IntegrityError" in refused.stdout
    database = open_database(address)
    with database.write() as connection:
        row = {"id": "a" * 26, "key": "k", "scopes": "[]"}
        connection.execute(
            text(
                "INSERT INTO api_keys (id, name, prefix, key_sha256, scopes, created_at) "
                "VALUES (:id, 'late', 'k', :key, :scopes, 1)"
            ),
            row,
        )
    database.close()
    replayed = run(address, "dead-letters", "replay", "--json")
    counts = json.loads(replayed.stdout)
    assert (replayed.return_value, counts["stored"], counts["known"], counts["left"]) == (10, 1, 0, 1)
    assert run(address, "dead-letters", "replay", "--quiet").stdout == ""
    assert "1 dead letters" in run(address, "dead-letters", "list").stdout
    with pytest.raises(InputError, match="there is no dead letter"):
        run(address, "dead-letters", "replay", letter["id"])
    assert json.loads(run(address, "audit", "--json").stdout)["audit"][0]["action"] == "dead_letter.replay"
