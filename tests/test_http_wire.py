"""What every HTTP dialect shares: addresses, secrets, waits, errors in gate's own words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from gate.errors import ConfigError, UpstreamError
from gate.http_wire import BROKEN, headers_without_keys, http_address, json_of, masked, parsed, retry_after, secret_of


def test_an_address_loses_the_slash_at_its_end_and_shows_how_it_should_look() -> None:
    assert http_address("http://host/a/", example="http://x/a") == "http://host/a"
    for broken, said in (("host/a", "such as http://x/a"), ("http://me:pw@h", "no user name"), ("http://h?a", "…/a")):
        with pytest.raises(ValueError, match=said):
            http_address(broken, example="http://x/a")


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key", "api-key"])
def test_headers_hold_no_keys(name: str) -> None:
    with pytest.raises(ValueError, match="holds a key"):
        headers_without_keys({name: "x"})
    with pytest.raises(ValueError, match="printable ASCII"):
        headers_without_keys({"x-team": "a\nb"})
    assert headers_without_keys({"x-team": "maps"}) == {"x-team": "maps"}


def test_a_secret_is_in_the_environment_or_its_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", " s3 \n")
    assert secret_of("MY_SECRET") == "s3"
    monkeypatch.setenv("MY_SECRET", " ")
    with pytest.raises(ConfigError, match="'MY_SECRET' is not set: it must hold the secret"):
        secret_of("MY_SECRET", "the secret")
    monkeypatch.setenv("MY_SECRET", "sk-1234")
    with pytest.raises(ConfigError, match="'MY_SECRET' holds an example or a well-known key") as caught:
        secret_of("MY_SECRET")
    assert "1234" not in str(caught.value)


def test_json_is_taken_as_servers_send_it() -> None:
    assert parsed(b'{"a": 1}') == {"a": 1}
    assert parsed(b'"\\ud800"') == "\ud800"
    assert parsed(b"9" * 30) == pytest.approx(1e30)
    assert parsed(b"{") is BROKEN
    assert parsed(b"[" * 100_000) is BROKEN


@pytest.mark.parametrize(
    ("status", "body", "cause", "retryable"),
    [
        (200, b"<html>", "answered HTML, not JSON (is url right?)", False),
        (200, b" ", "answered with an empty body", True),
        (200, b"{", "answered with broken JSON", True),
        (302, b"{}", "answered with status 302, not 200 (is url right?)", False),
        (404, b'{"error": {"reason": "no such index key-1"}}', "refused with status 404", False),
        (503, b"<html>", "refused with status 503: answered HTML, not JSON (is url right?)", True),
    ],
)
def test_what_is_no_reply_of_success_is_one_clear_error(status: int, body: bytes, cause: str, retryable: bool) -> None:
    with pytest.raises(UpstreamError) as caught:
        json_of("mine", status, {}, body, "key-1", "url")
    assert (caught.value.cause, caught.value.retryable, caught.value.status) == (cause, retryable, status)
    assert caught.value.said == ("no such index ***" if status == 404 else "")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({}, None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_wait_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after({"retry-after": soon}) == pytest.approx(30, abs=2)
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    assert retry_after({"retry-after": past}) == 0.0


def test_keys_are_masked_and_long_causes_cut() -> None:
    said = masked("Incorrect API key provided: sk-abc123def. Bearer tok-456789 was sent; mysecret", "mysecret")
    assert "abc123" not in said
    assert "456789" not in said
    assert "mysecret" not in said
    assert len(masked("x" * 1000, None)) == 300
