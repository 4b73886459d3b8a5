"""What a request says of where it comes from, and what of it is believed."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from gate.dashboard.origin import Origin


def asked(scheme: str = "http", **headers: str) -> Request:
    held = {"host": "gate.test:8800", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Request(
        {
            "type": "http",
            "scheme": scheme,
            "method": "POST",
            "path": "/dashboard/login",
            "query_string": b"",
            "client": ("192.0.2.7", 5000),
            "server": ("gate.test", 8800),
            "headers": [(name.encode(), value.encode()) for name, value in held.items()],
        }
    )


@pytest.mark.parametrize("said", ["http://gate.test:8800", "https://gate.test:8800", "http://GATE.test:8800"])
def test_our_own_pages_may_send_forms(said: str) -> None:
    assert Origin().ours(asked(origin=said))


@pytest.mark.parametrize(
    "said",
    [
        "",
        "null",
        "http://evil.test",
        "http://gate.test",
        "http://gate.test:8800.evil.test",
        "http://evil.test:8800",
        "http://gate.test:8800@evil.test",
        "http://[bad",
        "gate.test:8800",
        "file://gate.test:8800",
    ],
)
def test_others_may_not(said: str) -> None:
    assert not Origin().ours(asked(origin=said))


def test_no_host_is_nobodys() -> None:
    assert not Origin().ours(asked(host="", origin="http://"))


def test_what_a_front_server_says_is_believed_only_when_told() -> None:
    request = asked(
        x_forwarded_proto="https",
        x_forwarded_for="203.0.113.9, 198.51.100.4",
        x_forwarded_host="gate.example",
        origin="https://gate.example",
    )
    alone, behind = Origin(), Origin(trust_forwarded=True)
    assert (alone.https(request), alone.address(request), alone.ours(request)) == (False, "192.0.2.7", False)
    # the first address of the list is whatever the client wrote there
    assert (behind.https(request), behind.address(request), behind.ours(request)) == (True, "198.51.100.4", True)
    assert alone.https(asked("https"))
    assert not behind.https(asked())
