"""Client keys: strict reading, look-up that tells nothing by its time, and nothing of a key in any message."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from gate.errors import ConfigError, RequestError
from gate.proxy import keys as module
from gate.proxy.keys import ANYONE, ROLES, Keys, Rate, Spend, hash_of, new_key, new_salt
from gate.well_known_secrets import EXAMPLES

SALT = "s" * 24
A, B = f"gate-{'aB3_x' * 8}-aa", f"gate-{'Zy9_q' * 8}-bb"
FILE = f"""\
keys:
  - name: team-a
    hash: "{hash_of(A, SALT)}"
    policies: [balanced, strict]
    models: [gpt-4o-mini]
    rate: {{requests_per_minute: 600, tokens_per_minute: 200000, concurrency: 20}}
    spend: {{limit: 50.0, per: month}}
    roles: [ask, feedback]
    expires: 2999-01-01
  - name: team-b
    hash: "{hash_of(B, SALT)}"
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str = FILE, mode: int = 0o600) -> Path:
        path = tmp_path / "keys.yaml"
        path.write_text(text)
        path.chmod(mode)
        return path

    return written


def test_every_field_is_read(write: Write) -> None:
    keys = Keys.load(write())
    a, b = keys.clients
    assert keys.identify(f"Bearer {A}", None) == a
    assert (a.name, a.policies, a.models) == ("team-a", ("balanced", "strict"), ("gpt-4o-mini",))
    assert a.rate == Rate(requests_per_minute=600, tokens_per_minute=200000, concurrency=20)
    assert a.spend == Spend(limit=50.0, per="month")
    assert (a.roles, a.expires) == ({"ask", "feedback"}, date(2999, 1, 1))
    assert keys.identify(None, B) == b
    assert (b.policies, b.models, b.rate, b.spend, b.roles) == ((), (), Rate(), None, {"ask"})


def test_what_a_client_may() -> None:
    salted = [module.KeyEntry(name="a", hash=hash_of(A, SALT), **more) for more in ({}, {"models": "*"})]
    plain, open_ = (module._client(entry, ("balanced", "strict")) for entry in salted)
    assert plain.policies == ("balanced", "strict"), "none named: all of the server's"
    assert (plain.may("ask"), plain.may("admin")) == (True, False)
    assert (plain.models, open_.models) == ((), ("*",))
    assert all(ANYONE.may(role) for role in ROLES)


@pytest.mark.parametrize(
    ("authorization", "x_api_key"),
    [
        (f"Bearer {A}", None),
        (f"bearer {A}", None),
        (f"BEARER   {A} ", None),
        (None, A),
        (None, f" {A} "),
        (f"Bearer {A}", A),
    ],
)
def test_a_key_comes_in_either_header(write: Write, authorization: str | None, x_api_key: str | None) -> None:
    assert Keys.load(write()).authenticate(authorization, x_api_key).name == "team-a"


REFUSED = [
    (None, None, "no key was given"),
    ("", None, "must be 'Bearer' and the key"),
    ("Bearer", None, "no key was given"),
    ("Bearer ", None, "no key was given"),
    ("Bearer \t", None, "one word of printable ASCII"),
    (None, "", "no key was given"),
    ("Bearer", "", "no key was given"),
    (f"Basic {A}", None, "must be 'Bearer' and the key"),
    (A, None, "must be 'Bearer' and the key"),
    (f"Bearer{A}", None, "must be 'Bearer' and the key"),
    (f"Bearer {A}", B, "different keys"),
    ("Bearer ", B, "different keys"),
    (f"Bearer {A}", "", "different keys"),
    (f"Bearer {A} {B}", None, "one word of printable ASCII"),
    (f"Bearer {A}, Bearer {A}", None, "one word of printable ASCII"),
    (f"Bearer {A}\n", None, "one word of printable ASCII"),
    (f"Bearer {A}\x00", None, "one word of printable ASCII"),
    (f"Bearer {A[:-1]}", None, "not known here"),
    (f"Bearer {A}x", None, "not known here"),
    (f"Bearer {A.upper()}", None, "not known here"),
    (f"Bearer {'x' * 1_000_000}", None, "one word of printable ASCII"),
    ("Bearer gate-ключ", None, "one word of printable ASCII"),
    ("Bearer gate-\ud800", None, "one word of printable ASCII"),
    (None, "\uff47ate-" + A[5:], "one word of printable ASCII"),
    (f"Bearer {hash_of(A, SALT)}", None, "not known here"),
]


@pytest.mark.parametrize(("authorization", "x_api_key", "said"), REFUSED)
def test_everything_else_is_refused_without_a_word_of_it(
    write: Write, caplog: pytest.LogCaptureFixture, authorization: str | None, x_api_key: str | None, said: str
) -> None:
    keys = Keys.load(write())
    assert keys.identify(authorization, x_api_key) is None
    with pytest.raises(RequestError, match=said) as caught:
        keys.authenticate(authorization, x_api_key)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert A[5:] not in str(caught.value)
    assert B[5:] not in str(caught.value)
    assert not caplog.records


@given(st.text(max_size=300), st.none() | st.text(max_size=300))
def test_no_header_lets_anybody_in_or_raises(authorization: str, x_api_key: str | None) -> None:
    entry = module.KeyEntry(name="a", hash=hash_of(A, SALT))
    keys = Keys(SALT, [(entry, module._client(entry, ()))])
    assert keys.identify(authorization, x_api_key) is None
    assert keys.identify(f"Bearer {authorization}", x_api_key) is None


@pytest.mark.parametrize("place", [0, 7, 19, None])
def test_every_entry_is_compared_whichever_fits(
    write: Write, monkeypatch: pytest.MonkeyPatch, place: int | None
) -> None:
    made = [new_key() for _ in range(20)]
    listed = "".join(f"  - {{name: t{n}, hash: '{hash_of(key, SALT)}'}}\n" for n, key in enumerate(made))
    keys = Keys.load(write("keys:\n" + listed))
    compared: list[bool] = []

    def counting(a: Any, b: Any, compare: Callable[[Any, Any], bool] = hmac.compare_digest) -> bool:
        compared.append(compare(a, b))
        return compared[-1]

    monkeypatch.setattr(hmac, "compare_digest", counting)
    client = keys.identify(f"Bearer {new_key() if place is None else made[place]}", None)
    assert (client and client.name) == (None if place is None else f"t{place}")
    assert compared == [n == place for n in range(20)]


def test_disabled_and_expired_keys_let_nobody_in(write: Write) -> None:
    today = datetime.now(UTC).date()
    expired = Keys.load(write(FILE.replace("2999-01-01", str(today))))
    with pytest.raises(RequestError, match="has expired"):
        expired.authenticate(f"Bearer {A}", None)
    tomorrow = Keys.load(write(FILE.replace("2999-01-01", str(today + timedelta(days=1)))))
    assert tomorrow.identify(f"Bearer {A}", None)
    disabled = Keys.load(write(FILE.replace("    expires: 2999-01-01", "    disabled: true")))
    with pytest.raises(RequestError, match="is disabled"):
        disabled.authenticate(f"Bearer {A}", None)
    assert disabled.identify(f"Bearer {B}", None)


def test_a_key_ends_while_the_server_runs(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys.load(write())
    end = datetime(2999, 1, 1, tzinfo=UTC).timestamp()
    monkeypatch.setattr(time, "time", lambda: end - 1)
    assert keys.identify(f"Bearer {A}", None)
    monkeypatch.setattr(time, "time", lambda: end)
    assert keys.identify(f"Bearer {A}", None) is None


@pytest.mark.parametrize("query", [f"api_key={A}", f"key={A}", f"authorization=Bearer {A}", f"access_token={A}"])
def test_a_key_in_the_address_is_no_key(write: Write, query: str) -> None:
    """Addresses end up in logs: a key that worked there would be one that leaks."""
    keys = Keys.load(write())

    def who(request: Request) -> PlainTextResponse:
        client = keys.identify(request.headers.get("authorization"), request.headers.get("x-api-key"))
        return PlainTextResponse(client.name if client else "nobody")

    with TestClient(Starlette(routes=[Route("/", who)])) as http:
        assert http.get(f"/?{query}").text == "nobody"
        assert http.get("/", headers={"authorization": f"Bearer {A}"}).text == "team-a"
        assert http.get("/", headers={"x-api-key": A}).text == "team-a"


OTHER = hash_of(A, "o" * 24)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("name: team-b", "name: team-a", 10, "the key 'team-a' stands twice"),
        (hash_of(B, SALT), hash_of(A, SALT), 11, "the keys 'team-a' and 'team-b' are the same"),
        (hash_of(B, SALT), OTHER, 11, "the hash of the key 'team-b' has another salt"),
        (hash_of(B, SALT), B, 11, "keys.1.hash: must be 'sha256:<salt>:<hex>'"),
        ('hash: "' + hash_of(B, SALT), 'key: "' + B, 11, "a key itself must never stand in a file"),
        ("    models: [gpt-4o-mini]", "    model: [gpt-4o-mini]", 5, "unknown key 'model'; did you mean 'models'?"),
        ("[ask, feedback]", "[ask, feedbak]", 8, "unknown value of keys.0.roles.1 'feedbak'; did you mean 'feedback'?"),
        ("per: month", "per: week", 7, "unknown value of keys.0.spend.per 'week'; known: day, month, total"),
        ("limit: 50.0", "limit: 0", 7, "keys.0.spend.limit: Input should be greater than 0"),
        ("limit: 50.0", "limit: .nan", 7, "keys.0.spend.limit"),
        ("concurrency: 20", "concurrency: 0", 6, "keys.0.rate.concurrency"),
        ("2999-01-01", "2999-01-01 12:00", 9, "keys.0.expires"),
        ("2999-01-01", "soon", 9, "keys.0.expires"),
        ("[balanced, strict]", "[balanced, strickt]", 4, "unknown policy 'strickt'; did you mean 'strict'?"),
        ("[balanced, strict]", "[]", 4, "keys.0.policies"),
        ("name: team-a", "name: 'team a'", 2, "keys.0.name"),
        (FILE, "keys: []", 1, "keys: Tuple should have at least 1 item"),
        (FILE, "keys: 3", 1, "keys: Input should be a valid tuple"),
        (FILE, "keys: [3]", 1, "keys.0: Input should be a valid dictionary"),
        (FILE, "[]", 1, "a key file is a mapping"),
        (FILE, "keys:\n  - name: 'a", 2, "not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(
    write: Write, old: str, new: str, line: int, said: str
) -> None:
    assert old in FILE
    path = write(FILE.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        Keys.load(path, ("balanced", "strict"))
    assert str(caught.value).startswith(f"{path}:{line}: {said}")
    assert B not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        *("sk-1234", "SK-TEST", "changeme", "Changeme", "test", "SECRET", "password", "your-api-key", "gate-example"),
        *("YOUR_OPENAI_API_KEY", "EMPTY", "none", "unused", "gate-changeme", *EXAMPLES),
    ],
)
def test_a_key_that_everybody_knows_is_refused_by_the_name_of_its_entry(write: Write, key: str) -> None:
    salt = new_salt()
    path = write(f"keys:\n  - name: mine\n    hash: {hash_of(key, salt)}\n")
    with pytest.raises(ConfigError, match="the key 'mine' is an example or a well-known key") as caught:
        Keys.load(path)
    assert caught.value.where == f"{path}:3"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(write: Write, mode: int) -> None:
    with pytest.raises(ConfigError, match=r"others than its owner may write this key file .*chmod go-w"):
        Keys.load(write(mode=mode))
    assert Keys.load(write(mode=0o644)), "hashes may be read"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, write: Write) -> None:
    with pytest.raises(ConfigError, match="cannot read the key file"):
        Keys.load(tmp_path / "none.yaml")
    path = write()
    path.write_bytes(b"keys: \xff")
    with pytest.raises(ConfigError, match="cannot read the key file"):
        Keys.load(path)


def test_keys_are_long_and_never_the_same() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(len(key) == 48 and key.startswith("gate-") for key in made)
    assert hash_of(A, new_salt()) != hash_of(A, new_salt())
