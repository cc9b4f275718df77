import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from banyan.cli.keys import app
from banyan.core.errors import ConfigError, UnknownNameError
from banyan.store.keys import verify_key
from banyan.store.sql_store import open_database


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "a.db")


def run(address: str, *words: str) -> Result:
    result = CliRunner().invoke(app, [*words, "--database", address])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def opens(address: str, secret: str) -> bool:
    database = open_database(address)
    found = verify_key(database, secret)
    database.close()
    return found is not None


@pytest.mark.parametrize("words", [[], ["--quiet"]], ids=["", "quiet"])
def test_a_new_keys_secret_is_all_that_is_printed(address: str, words: list[str]) -> None:
    secret = run(address, "create", "laptop", *words).stdout.strip()
    assert opens(address, secret)


def test_a_key_as_json_has_its_secret_once(address: str) -> None:
    made = json.loads(run(address, "create", "laptop", "--scope", "infer", "--json").stdout)
    assert (made["name"], made["scopes"], made["state"]) == ("laptop", ["infer"], "valid")
    listed = run(address, "list", "--json").stdout
    assert made["secret"] not in listed
    assert [key["id"] for key in json.loads(listed)["keys"]] == [made["id"]]


def test_a_revoked_key_opens_nothing(address: str) -> None:
    secret = run(address, "create", "laptop").stdout.strip()
    assert "is revoked" in run(address, "revoke", "laptop").stdout
    assert not opens(address, secret)
    assert "revoked" in run(address, "list").stdout


def test_an_expiry_must_lie_ahead(address: str) -> None:
    made = json.loads(run(address, "create", "guest", "--expires", "2999-01-01", "--json").stdout)
    assert made["expires_at"].startswith("2999-01-01")
    with pytest.raises(ConfigError, match="lies in the past"):
        run(address, "create", "guest", "--expires", "2001-01-01")


def test_without_keys_the_list_says_how_to_make_one(address: str) -> None:
    run(address, "create", "x")
    with pytest.raises(UnknownNameError):
        run(address, "revoke", "nobody")
    assert json.loads(run(address, "list", "--json").stdout)["keys"][0]["state"] == "valid"


def test_rights_are_given_changed_one_by_one_and_shown(address: str) -> None:
    words = ["--requests-per-minute", "60", "--max-concurrent", "2", "--store", "redacted", "--training", "--json"]
    made = json.loads(run(address, "create", "laptop", *words).stdout)
    assert made["limits"] == {"requests_per_minute": 60, "max_concurrent": 2}
    assert (made["store_mode"], made["training_ok"]) == ("redacted", True)
    changed = json.loads(run(address, "change", "laptop", "--max-concurrent", "0", "--no-training", "--json").stdout)
    assert (changed["limits"], changed["training_ok"]) == ({"requests_per_minute": 60}, False)
    assert "no training" in run(address, "change", "laptop").stdout


def test_rights_that_mean_nothing_are_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="requests_per_minute=-1"):
        run(address, "create", "laptop", "--requests-per-minute", "-1")
    with pytest.raises(UnknownNameError, match="did you mean redacted"):
        run(address, "create", "laptop", "--store", "redact")
