import hmac

import pytest
from sqlalchemy import select

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.store import keys as keys_module
from banyan.store.key_types import KeyLimits, StoreMode
from banyan.store.keys import change_key, create_key, list_keys, revoke_key, verify_key
from banyan.store.schema import ApiKeyRow
from banyan.store.sql_store import SqlStore
from banyan.store.times import MICROSECONDS
from banyan.testing.own_modules import module_with


def test_a_key_opens_until_it_is_revoked(store: SqlStore) -> None:
    made = create_key(store.database, name="laptop")
    assert verify_key(store.database, made.secret) == made.key
    revoke_key(store.database, made.key.key_id)
    assert verify_key(store.database, made.secret) is None


def test_a_key_opens_until_it_expires(store: SqlStore) -> None:
    made = create_key(store.database, name="guest", expires_at=100, now=1)
    assert verify_key(store.database, made.secret, now=99) is not None
    assert verify_key(store.database, made.secret, now=100) is None


@pytest.mark.parametrize(
    "change", [str.upper, str.lower, lambda s: s + " ", lambda s: s[:-1], lambda s: "", lambda s: "\ud800"]
)
def test_nothing_but_the_exact_secret_opens(store: SqlStore, change: object) -> None:
    secret = create_key(store.database, name="laptop").secret
    assert verify_key(store.database, change(secret)) is None  # type: ignore[operator]


def test_the_secret_is_nowhere_in_the_database(store: SqlStore) -> None:
    secret = create_key(store.database, name="laptop").secret
    with store.database.read() as connection:
        row = connection.execute(select(ApiKeyRow.__table__)).one()
    assert secret not in repr(row)
    assert len(secret) > 40 and row.prefix == secret[:8]


def test_a_repr_does_not_show_the_secret(store: SqlStore) -> None:
    made = create_key(store.database, name="laptop")
    assert made.secret not in repr(made)


def test_known_and_unknown_keys_are_compared_alike(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def compare(given: str, known: str) -> bool:
        compared.append((given, known))
        return given == known

    monkeypatch.setattr(keys_module, "hmac", module_with(hmac, compare_digest=compare))
    verify_key(store.database, create_key(store.database, name="a").secret)
    verify_key(store.database, "unknown")
    assert [(len(a), len(b)) for a, b in compared] == [(64, 64), (64, 64)]


def test_keys_are_listed_newest_first_with_revoked_ones(store: SqlStore) -> None:
    made = [create_key(store.database, name=str(at), now=at).key for at in (1, 2, 3)]
    revoke_key(store.database, "2", now=9)
    assert [(key.name, key.revoked_at) for key in list_keys(store.database)] == [("3", None), ("2", 9), ("1", None)]
    assert made[0].scopes == ("infer", "outputs")


def test_revoking_twice_keeps_the_first_moment(store: SqlStore) -> None:
    key = create_key(store.database, name="laptop").key
    assert revoke_key(store.database, key.prefix, now=5).revoked_at == 5
    assert revoke_key(store.database, key.key_id, now=6).revoked_at == 5


def test_a_name_must_say_which_key_is_meant(store: SqlStore) -> None:
    first = create_key(store.database, name="laptop").key
    create_key(store.database, name="laptop")
    with pytest.raises(ConfigError, match="2 keys are called 'laptop'"):
        revoke_key(store.database, "laptop")
    revoke_key(store.database, first.key_id)
    assert revoke_key(store.database, "laptop").key_id != first.key_id
    with pytest.raises(UnknownNameError, match="did you mean laptop"):
        revoke_key(store.database, "laptpo")


@pytest.mark.parametrize(
    ("name", "scopes", "error"),
    [(" ", ("infer",), ConfigError), ("a", (), ConfigError), ("a", ("infre",), UnknownNameError)],
)
def test_a_key_needs_a_name_and_known_scopes(
    store: SqlStore, name: str, scopes: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        create_key(store.database, name=name, scopes=scopes)


def test_a_server_notes_the_last_use_at_most_once_a_minute(store: SqlStore) -> None:
    now = [1_000 * MICROSECONDS]
    store._keys._clock = lambda: now[0]
    secret = create_key(store.database, name="a", now=0).secret
    noted = []
    for seconds in (0, 30, 90):
        now[0] = (1_000 + seconds) * MICROSECONDS
        assert store.verify_key(secret)
        store.flush()
        noted.append(list_keys(store.database)[0].last_used_at)
    assert noted == [1_000 * MICROSECONDS, 1_000 * MICROSECONDS, 1_090 * MICROSECONDS]
    assert store.verify_key("wrong") is None


def test_a_key_carries_its_rights(store: SqlStore) -> None:
    limits = KeyLimits(requests_per_minute=60, tokens_per_day=1000)
    rights = {"limits": limits, "store_mode": StoreMode.REDACTED, "training_ok": True}
    made = create_key(store.database, name="laptop", **rights)  # type: ignore[arg-type]
    assert verify_key(store.database, made.secret) == made.key
    assert (made.key.limits, made.key.store_mode, made.key.training_ok) == tuple(rights.values())


def test_rights_can_be_changed_one_by_one(store: SqlStore) -> None:
    create_key(store.database, name="laptop", limits=KeyLimits(max_concurrent=2))
    changed = change_key(store.database, "laptop", training_ok=True)
    assert (changed.training_ok, changed.limits, changed.store_mode) == (True, KeyLimits(max_concurrent=2), "full")
    again = change_key(store.database, "laptop", limits=KeyLimits(), store_mode=StoreMode.HASH)
    assert (again.training_ok, again.limits, again.store_mode) == (True, KeyLimits(), "hash")


def test_a_limit_that_lets_nothing_through_is_refused() -> None:
    with pytest.raises(ConfigError, match="requests_per_minute=0"):
        KeyLimits(requests_per_minute=0)
