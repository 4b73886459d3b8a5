"""The guarded HTTP protocol on raw sockets: floods and dribbles of headers, requests that can be read in two ways."""

from __future__ import annotations

import json
import pickle
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from gate.proxy import protocol
from gate.proxy.protocol import MOST_HEADERS, guarded
from gate.proxy.settings import LimitSettings
from tests.proxy.live_server import live
from tests.proxy.raw_http import GET, POST, exchange, opened, sent

LIMITS = LimitSettings(header_bytes=4096, read_seconds=0.4)
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"


async def echo(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    """Says what it saw."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        body, more = body + message["body"], message["more_body"]
    names = [name.decode() for name, _ in scope["headers"]]
    said = json.dumps({"headers": names, "body": len(body), "path": scope["path"]}).encode()
    if scope["path"] == "/big":
        said = bytes(64 * 2**20)
    length = (b"content-length", str(len(said)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": said})


def ends(sock: socket.socket, part: bytes, gap: float) -> bool:
    """Whether the server closes the connection while the same is sent to it over and over, for five seconds."""
    until = time.monotonic() + 5
    with suppress(BrokenPipeError, ConnectionResetError):
        while time.monotonic() < until:
            sock.sendall(part)
            time.sleep(gap)
        return False
    return True


def taken(sock: socket.socket) -> int:
    """How many bytes come until the connection ends."""
    got = 0
    with suppress(ConnectionResetError):
        while data := sock.recv(2**20):
            got += len(data)
    return got


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with live(echo, http=guarded(LIMITS), lifespan="off") as address:
        yield address


def test_an_ordinary_request_is_served_again_and_again_on_one_connection(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        for size in (0, 10, 300_000):
            reply = client.post("/v1/x", content=b"x" * size, headers={"x-a": "b" * 2000})
            assert (reply.status_code, reply.json()["body"]) == (200, size)
            assert client.get("/v1/y").json()["path"] == "/v1/y"


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x-a: " + b"a" * 5000 + b"\r\n\r\n",
        GET + b"x-a: " + b"a" * 2**20 + b"\r\n\r\n",
        GET + b"".join(b"x-%d: a\r\n" % n for n in range(10_000)) + b"\r\n",
        GET + b"a:\r\n" * MOST_HEADERS + b"\r\n",
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
        GET + b"a" * 2**20,
    ],
    ids=["large", "1 MB", "10,000", "one too many", "long path", "a name without end"],
)
def test_a_flood_of_headers_is_refused(url: str, head: bytes) -> None:
    reply = exchange(url, head)
    if reply is None:
        assert len(head) > 250_000, "only who sends on and on may miss the answer"
    else:
        assert (reply.status, reply.code, reply.closed) == (431, "headers_too_large", True)
    assert httpx.get(url).status_code == 200


def test_as_many_and_as_large_as_allowed_are_taken(url: str) -> None:
    many = exchange(url, GET + b"a:\r\n" * (MOST_HEADERS - 1) + b"\r\n")
    large = exchange(url, GET, b"x-a: " + b"a" * 2000, b"a" * 1900 + b"\r\n\r\n", gap=0.02)
    assert many is not None
    assert large is not None
    assert (many.status, large.status) == (200, 200)


def test_headers_sent_byte_by_byte_are_given_up(url: str) -> None:
    reply = exchange(url, *(bytes([byte]) for byte in GET * 5), gap=0.02)
    assert reply is not None
    assert (reply.status, reply.code, reply.closed) == (408, "request_timeout", True)


@pytest.mark.parametrize("first", [b"", b"\r\n", b"\r\n\r\n\r\n"])
def test_a_connection_that_asks_nothing_is_closed(url: str, first: bytes) -> None:
    with opened(url) as sock:
        sock.sendall(first)
        began = time.monotonic()
        assert sock.recv(100) == b""
        assert time.monotonic() - began < 5


def test_a_second_request_may_not_dribble_either(url: str) -> None:
    with opened(url) as sock:
        first = sent(sock, [GET + b"\r\n"])
        assert first is not None
        assert first.status == 200
        second = sent(sock, (bytes([byte]) for byte in GET * 5), gap=0.02)
        assert second is not None
        assert (second.status, second.closed) == (408, True)


def test_line_ends_without_a_request_do_not_keep_a_connection(url: str) -> None:
    with opened(url) as sock:
        sent(sock, [GET + b"\r\n"])
        assert ends(sock, b"\r\n", gap=0.05)


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"content-length: 1\r\ncontent-length: 1\r\n\r\na",
        POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\naa",
        POST + b"content-length: 1, 1\r\n\r\na",
        POST + b"content-length: +1\r\n\r\na",
        POST + b"content-length: 0x1\r\n\r\na",
        POST + b"content-length: 99999999999999999999999\r\n\r\na",
        POST + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n",
        POST + b"transfer-encoding: xchunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked, identity\r\n\r\n1\r\na\r\n0\r\n\r\n",
        CHUNKED + b"-1\r\na\r\n0\r\n\r\n",
        CHUNKED + b"fffffffffffffffff\r\na\r\n0\r\n\r\n",
        POST + b"x-a : b\r\n\r\n",
        POST + b"x-\xff: b\r\n\r\n",
        POST + b"x-a: b\rx-b: c\r\n\r\n",
        POST + b"x-a: b\0c\r\n\r\n",
        POST + b"x-a: b\r\n c\r\n\r\n",
        b"GET /x HTTP/1.1\nhost: a\n\n",
        b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT evil:443 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(url: str, request_: bytes) -> None:
    reply = exchange(url, request_)
    assert reply is not None
    assert (reply.status, reply.code, reply.closed) == (400, "bad_request", True)


def test_bytes_that_are_no_text_are_no_error(url: str) -> None:
    reply = exchange(url, POST + b"x-a: \xff\xfe\xc3\x28\r\ncontent-length: 2\r\n\r\n\xff\xfe")
    assert reply is not None
    assert (reply.status, json.loads(reply.body)["body"]) == (200, 2)
    reply = exchange(url, b"GET /%ff%00 HTTP/1.1\r\nhost: a\r\n\r\n")
    assert reply is not None
    assert reply.status == 200


def test_trailers_are_no_headers(url: str) -> None:
    for trailer in (b"x-gate-action: answer", b"authorization: Bearer x", b"x-a: b"):
        reply = exchange(url, CHUNKED + b"1\r\na\r\n0\r\n" + trailer + b"\r\n\r\n")
        assert reply is not None
        assert json.loads(reply.body)["headers"] == ["host", "transfer-encoding"]


@pytest.mark.parametrize("flood", [CHUNKED + b"1\r\na\r\n0\r\nx: ", CHUNKED + b"1;"], ids=["trailer", "extension"])
def test_what_comes_with_chunks_has_an_end(url: str, flood: bytes) -> None:
    with opened(url) as sock:
        sock.sendall(flood)
        assert ends(sock, b"a" * 1000, gap=0.001)


@pytest.mark.parametrize("protocol_name", ["h2c", "websocket"])
def test_an_offer_to_speak_another_protocol_is_passed_over(url: str, protocol_name: str) -> None:
    offer = f"connection: upgrade, http2-settings\r\nupgrade: {protocol_name}\r\nhttp2-settings: AAM\r\n".encode()
    with opened(url) as sock:
        for _ in range(2):
            reply = sent(sock, [POST + offer + b"content-length: 3\r\n\r\nabc"])
            assert reply is not None
            assert (reply.status, json.loads(reply.body)["body"]) == (200, 3)


def test_a_client_that_takes_nothing_of_its_response_is_given_up(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(protocol, "STALLED", 0.2)
    with opened(url) as sock:
        sock.sendall(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(1.0)
        assert taken(sock) < 64 * 2**20
    reply = httpx.get(f"{url}/big")
    assert len(reply.content) == 64 * 2**20, "who reads gets all of it"


def test_it_can_be_sent_to_worker_processes() -> None:
    again = pickle.loads(pickle.dumps(guarded(LIMITS)))
    assert again.keywords == {"limits": LIMITS}
