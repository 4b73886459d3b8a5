"""One exchange: what is read of a request, what goes out, and what of it can still be said."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gate.proxy.exchange import ClientGone, Exchange

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def exchange(*received: dict[str, Any], **scope: Any) -> tuple[Exchange, list[Any]]:
    """An exchange that receives these messages, and all that it sends."""
    messages, sent = iter(received), []

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    return Exchange({"type": "http", "headers": [], **scope}, receive, send), sent


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


async def test_a_body_is_read_whole_in_however_many_parts_it_comes() -> None:
    for parts in ([part(b"abc")], [part(b"a", more=True), part(b"", more=True), part(b"bc")]):
        made, _ = exchange(*parts)
        assert await made.body() == b"abc"
    for cut in ([GONE], [part(b"a", more=True), GONE]):
        made, _ = exchange(*cut)
        with pytest.raises(ClientGone):
            await made.body()


async def test_headers_are_found_by_name_and_are_text() -> None:
    made, _ = exchange(headers=[(b"x-a", b"1"), (b"x-b", b"\xff"), (b"x-a", b"2")])
    assert (made.header(b"x-a"), made.header(b"x-b"), made.header(b"x-c")) == ("2", "\ufffd", None)


async def test_what_the_way_in_has_noted_is_known() -> None:
    made, _ = exchange(state={"request_id": "req_1", "began": 12.5})
    assert (made.request_id, made.began) == ("req_1", 12.5)
    before = time.monotonic()
    bare, _ = exchange()
    assert bare.request_id == ""
    assert before <= bare.began <= time.monotonic()


async def test_a_reply_holds_what_was_marked_and_each_header_once() -> None:
    made, sent = exchange()
    made.mark({"x-gate-policy": "a", "retry-after": "1"})
    made.mark({"x-gate-policy": "é\u0153"})
    assert (made.started, made.ended) == (False, None)
    await made.reply(429, b"{}")
    assert sent == [
        {
            "type": "http.response.start",
            "status": 429,
            "headers": [
                (b"x-gate-policy", b"\xe9?"),
                (b"retry-after", b"1"),
                (b"content-type", b"application/json"),
                (b"content-length", b"2"),
            ],
        },
        {"type": "http.response.body", "body": b"{}"},
    ]
    assert made.started
    assert made.ended is not None


async def test_events_go_out_in_the_pieces_they_are_given_in() -> None:
    made, sent = exchange()
    await made.start_events()
    await made.events([b"a\n\n", b"b\n\n"])
    await made.events([b""])
    assert made.ended is None
    await made.end_events([b"c\n\n"])
    start, *rest = sent
    assert dict(start["headers"])[b"content-type"].startswith(b"text/event-stream")
    assert rest == [
        {"type": "http.response.body", "body": b"a\n\nb\n\n", "more_body": True},
        {"type": "http.response.body", "body": b"c\n\n"},
    ]
    assert made.ended is not None


async def test_a_client_has_gone_when_the_server_says_so() -> None:
    made, _ = exchange(part(b""), part(b""), GONE)
    await made.gone()


async def test_what_is_sent_can_be_given_to_somebody_else_who_sends_it_on() -> None:
    made, sent = exchange()
    seen: list[Any] = []

    async def through(message: Any, send: Any) -> None:
        seen.append(message["type"])
        await send({**message, "seen": True})

    assert not made.tapped
    made.tap(through)
    await made.reply(200, b"{}")
    assert made.tapped
    assert seen == ["http.response.start", "http.response.body"]
    assert all(message["seen"] for message in sent)


async def test_what_went_no_further_than_to_whoever_taps_may_be_superseded() -> None:
    made, sent = exchange()
    held: list[Any] = []

    async def through(message: Any, send: Any) -> None:
        held.append(message)
        if message["type"] == "http.response.body":
            made.supersede(send, b"x-gate-")
            await made.reply(422, b"theirs")

    made.tap(through)
    made.mark({"x-gate-action": "answer", "x-ratelimit-limit-requests": "3"})
    assert not made.superseded
    await made.reply(200, b"ours")
    assert made.superseded
    assert [each["type"] for each in held] == [each["type"] for each in sent]
    assert (sent[0]["status"], sent[1]["body"]) == (422, b"theirs")
    assert [name for name, _ in sent[0]["headers"] if name.startswith(b"x-")] == [b"x-ratelimit-limit-requests"]
