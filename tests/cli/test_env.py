import os
from collections.abc import Callable
from typing import Any

import pytest

from banyan import __version__


def test_it_names_versions_and_places(banyan: Callable[..., Any]) -> None:
    facts = banyan("env", "--json").answer
    assert facts["banyan"] == __version__
    assert facts["runs"] == os.environ["BANYAN_RUNS"]
    assert facts["torch"] and facts["processor_cores"] >= 1


def test_a_database_address_is_not_shown(banyan: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANYAN_DATABASE", "postgresql://me:secret@host/db")
    shown = banyan("env").out
    assert "set by BANYAN_DATABASE" in shown and "secret" not in shown


def test_quiet_shows_nothing(banyan: Callable[..., Any]) -> None:
    ran = banyan("env", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
