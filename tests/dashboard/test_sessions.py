"""Cookies that only we can make, and tokens that belong to one session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.dashboard.sessions import LIFETIME, Sessions
from gate.errors import ConfigError

SECRET = b"0123456789abcdef0123456789abcdef"


def test_a_session_lasts_eight_hours_and_no_second_more() -> None:
    now = [1000.0]
    sessions = Sessions(SECRET, lambda: now[0])
    cookie = sessions.begin("ops", "ab12")
    now[0] += LIFETIME - 1
    session = sessions.read(cookie)
    assert session is not None
    assert (session.name, session.mark, session.until) == ("ops", "ab12", 1000 + 8 * 3600)
    now[0] += 1
    assert sessions.read(cookie) is None


@given(st.text(max_size=200))
def test_nothing_else_is_a_session(cookie: str) -> None:
    assert Sessions(SECRET).read(cookie) is None


def test_no_byte_of_a_cookie_can_be_changed() -> None:
    sessions = Sessions(SECRET)
    cookie = sessions.begin("ops")
    for place in range(len(cookie)):
        other = "A" if cookie[place] != "A" else "B"
        changed = cookie[:place] + other + cookie[place + 1 :]
        assert sessions.read(changed) is None, place


def test_workers_that_share_the_secret_share_sessions_and_others_do_not() -> None:
    cookie = Sessions(SECRET).begin("ops")
    assert Sessions(SECRET).read(cookie) is not None
    assert Sessions(b"x" * 32).read(cookie) is None


def test_a_session_that_was_ended_is_over() -> None:
    sessions = Sessions(SECRET)
    one, other = sessions.begin("ops"), sessions.begin("ops")
    ended = sessions.read(one)
    assert ended is not None
    sessions.end(ended)
    assert sessions.read(one) is None
    assert sessions.read(other) is not None


def test_a_token_is_of_one_session_and_no_cookie_signature() -> None:
    sessions = Sessions(SECRET)
    assert sessions.made(sessions.token("a"), "a")
    assert not sessions.made(sessions.token("a"), "b")
    assert not sessions.made("", "a")
    assert not sessions.made("é", "a")
    body, _, signature = sessions.begin("ops").partition(".")
    assert sessions.token(body) != signature


def test_no_cookie_and_one_without_end() -> None:
    assert Sessions(SECRET).read(None) is None
    assert Sessions(SECRET).read("a" * 100_000) is None


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ConfigError, match="32 bytes or more, got 5"):
        Sessions(b"short")
