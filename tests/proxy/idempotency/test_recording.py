"""What is written down of a response, and that it is kept before its end is sent."""

from __future__ import annotations

import pytest

from gate.proxy.idempotency.recording import Recorder, Response
from tests.proxy.wire import Wire

pytestmark = pytest.mark.anyio
SKIP = b": alive\n\n"


class Kept:
    def __init__(self, wire: Wire, *, confirmed: Response | bool = True, most: int = 1000) -> None:
        self.wire, self.confirmed = wire, confirmed
        self.responses: list[Response | None] = []
        self.sent_before = -1
        Recorder(wire.exchange, SKIP, most, self)

    async def __call__(self, response: Response | None) -> Response | bool:
        self.responses.append(response)
        self.sent_before = len(self.wire.sent)
        return self.confirmed


async def test_a_whole_response_is_kept_with_the_headers_of_its_decision_before_it_is_sent() -> None:
    wire = Wire()
    kept = Kept(wire)
    wire.exchange.decided = True
    wire.exchange.mark({"x-gate-action": "answer", "x-ratelimit-remaining-requests": "3"})
    await wire.exchange.reply(200, b'{"a": 1}')
    (response,) = kept.responses
    assert response == Response(200, False, {"x-gate-action": "answer"}, b'{"a": 1}')
    assert kept.sent_before == 0
    assert (wire.status, wire.content) == (200, b'{"a": 1}')
    assert "x-gate-idempotency" not in wire.headers
    again = Wire()
    await Response.unpacked(response.packed()).send(again.exchange)
    assert (again.status, again.content, again.headers["x-gate-action"]) == (200, b'{"a": 1}', "answer")
    assert "x-ratelimit-remaining-requests" not in again.headers


async def test_a_stream_goes_out_as_it_comes_and_is_kept_before_its_end() -> None:
    wire = Wire()
    kept = Kept(wire)
    await wire.exchange.start_events()
    await wire.exchange.events([SKIP])
    await wire.exchange.events([b"data: 1\n\n"])
    assert wire.content == SKIP + b"data: 1\n\n"
    wire.exchange.decided = True
    await wire.exchange.end_events([b"data: 2\n\n"])
    (response,) = kept.responses
    assert response is not None
    assert (response.streamed, response.body) == (True, b"data: 1\n\ndata: 2\n\n")
    assert kept.sent_before == 3
    again = Wire()
    await Response.unpacked(response.packed()).send(again.exchange)
    assert again.headers["content-type"] == wire.headers["content-type"]


async def test_what_was_not_decided_is_not_kept() -> None:
    wire = Wire()
    kept = Kept(wire)
    await wire.exchange.reply(502, b"{}")
    assert (kept.responses, wire.status) == ([], 502)


async def test_what_is_too_large_is_sent_and_not_kept() -> None:
    wire = Wire()
    kept = Kept(wire, most=10)
    wire.exchange.decided = True
    await wire.exchange.reply(200, b"12345678901")
    assert (kept.responses, wire.content) == ([None], b"12345678901")


async def test_where_it_is_not_known_to_be_kept_the_client_is_told() -> None:
    wire = Wire()
    Kept(wire, confirmed=False)
    wire.exchange.decided = True
    await wire.exchange.reply(200, b"{}")
    assert wire.headers["x-gate-idempotency"] == "unconfirmed"


THEIRS = Response(422, False, {"x-gate-action": "abstain"}, b"theirs")


async def test_what_is_kept_instead_is_sent_instead() -> None:
    wire = Wire()
    Kept(wire, confirmed=THEIRS)
    wire.exchange.decided = True
    wire.exchange.mark({"x-gate-action": "answer", "x-gate-confidence": "0.9", "x-ratelimit-remaining-requests": "3"})
    await wire.exchange.reply(200, b'{"a": 1}')
    assert (wire.status, wire.content, wire.headers["content-length"]) == (422, b"theirs", "6")
    said = {name: value for name, value in wire.headers.items() if name.startswith("x-")}
    assert said == {
        "x-gate-action": "abstain",
        "x-gate-idempotent-replay": "true",
        "x-ratelimit-remaining-requests": "3",
    }


async def test_of_what_began_the_end_is_its_own() -> None:
    wire = Wire()
    Kept(wire, confirmed=THEIRS)
    await wire.exchange.start_events()
    await wire.exchange.events([b"data: 1\n\n"])
    wire.exchange.decided = True
    await wire.exchange.end_events([b"data: 2\n\n"])
    assert (wire.content, wire.exchange.superseded) == (b"data: 1\n\ndata: 2\n\n", False)
