"""Who reads the store alone learns no key, request or response; and what was tampered with is not taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gate.proxy.idempotency.sealing import Scope

TEXT = b'{"answer": "Lagos is in Nigeria."}'


@given(st.binary(max_size=500))
def test_what_is_sealed_is_opened_by_the_same_key(plain: bytes) -> None:
    scope = Scope("team", "chat", "k-1")
    sealed = scope.seal(plain)
    assert Scope("team", "chat", "k-1").open(sealed) == plain
    assert scope.seal(plain) != sealed, "each has a nonce of its own"


def test_no_other_scope_has_the_name_or_opens_it() -> None:
    scope = Scope("team", "chat", "k-1")
    sealed = scope.seal(TEXT)
    others = [
        Scope("other", "chat", "k-1"),
        Scope("team", "responses", "k-1"),
        Scope("team", "chat", "k-2"),
        Scope("team", "chat", "k-1", b"secret"),
        Scope("teamc", "hat", "k-1"),
        Scope("te\ud800am", "chat", "k-1"),
    ]
    assert len({scope.name, *(other.name for other in others)}) == 1 + len(others)
    assert [other.open(sealed) for other in others] == [None] * len(others)
    assert len({each.fingerprint(b"{}") for each in (scope, *others)}) == 1 + len(others)


def test_what_is_damaged_is_not_opened() -> None:
    scope = Scope("team", "chat", "k-1")
    sealed = scope.seal(TEXT)
    for place in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[place] ^= 1
        assert scope.open(bytes(damaged)) is None
    assert [scope.open(sealed[:length]) for length in range(len(sealed))] == [None] * len(sealed)


def test_nothing_of_it_can_be_read_in_what_is_kept() -> None:
    scope = Scope("team", "chat", "order-17")
    stored = scope.seal(bytes(2000)) + bytes.fromhex(scope.name) + bytes.fromhex(scope.fingerprint(TEXT))
    assert b"order-17" not in stored
    assert b"team" not in stored
    assert len(set(stored)) > 200, "even of zeros nothing is seen"


def test_a_request_is_known_by_its_content() -> None:
    scope = Scope("team", "chat", "k-1")
    first = scope.fingerprint(b'{"a": 1, "b": {"c": [1, 2], "d": "\\u00e9"}}')
    assert scope.fingerprint('{"b":{"d":"é","c":[1,2]},"a":1}'.encode()) == first
    assert scope.fingerprint(b'{"a": 1, "b": {"c": [2, 1], "d": "\\u00e9"}}') != first
    assert scope.fingerprint(b'{"a": 1.0, "b": {"c": [1, 2], "d": "\\u00e9"}}') != first
