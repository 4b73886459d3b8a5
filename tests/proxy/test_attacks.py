"""Those who mean it no good, at a running server: what they send is refused, costs little, and harms nobody else."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.proxy.fort import ASK, ASKED, CHAT, LENGTH, MIB, POSTED, READ_SECONDS, asked_well, head
from tests.proxy.gate_process import Serving, scripted_policy, serving
from tests.proxy.raw_http import Reply, exchange, opened, sent
from tests.proxy.scripted_upstream import ANSWER, cut
from tests.upstreams.faulty_server import FaultyServer

# --- slow --------------------------------------------------------------------------------------------------------


@contextmanager
def crowd(url: str, size: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(opened(url)) for _ in range(size)]


def ended(sockets: Sequence[socket.socket], seconds: float) -> int:
    """How many connections the server ended within so long."""
    left, until = list(sockets), time.monotonic() + seconds
    while left and time.monotonic() < until:
        for sock in select.select(left, [], [], max(0.0, until - time.monotonic()))[0]:
            try:
                over = sock.recv(65536) == b""
            except ConnectionResetError:
                over = True
            if over:
                left.remove(sock)
    return len(sockets) - len(left)


@pytest.mark.parametrize("kind", ["nothing", "headers", "body", "chunks"])
def test_two_hundred_slow_clients_keep_nobody_out_and_are_given_up(fort: Serving, kind: str) -> None:
    start = {
        "nothing": b"",
        "headers": head(fort)[:-2] + b"x-slow: a",
        "body": head(fort, "content-length: 1000") + b"{",
        "chunks": head(fort, "transfer-encoding: chunked") + b"1\r\n{\r\n",
    }[kind]
    more = {"nothing": b"", "headers": b"a", "body": b" ", "chunks": b"1\r\n \r\n"}[kind]
    with crowd(fort.url, 200) as slow:
        for sock in slow:
            sock.sendall(start)
        for _ in range(3):
            assert asked_well(fort) == ANSWER
            for sock in slow:
                with suppress(BrokenPipeError, ConnectionResetError):
                    sock.sendall(more)
        assert ended(slow, READ_SECONDS + 8) == 200


def test_a_slow_body_is_told_that_it_took_too_long(fort: Serving) -> None:
    reply = exchange(fort.url, head(fort, "content-length: 1000"), *[b" "] * 12, gap=0.1)
    assert reply is not None
    assert (reply.status, reply.code, reply.closed) == (408, "request_timeout", True)


# --- large -------------------------------------------------------------------------------------------------------


def flooded(fort: Serving, first: bytes, piece: bytes, times: int) -> tuple[bytes, int]:
    """What comes back while this is sent over and over, and how much was taken until it did."""
    taken = 0
    with opened(fort.url) as sock:
        sock.sendall(first)
        for _ in range(times):
            if select.select([sock], [], [], 0)[0]:
                break
            sock.sendall(piece)
            taken += len(piece)
        sock.settimeout(5)
        return sock.recv(65536), taken


def test_a_hundred_megabytes_that_are_announced_are_refused_unread(fort: Serving) -> None:
    reply, taken = flooded(fort, head(fort, f"content-length: {100 * MIB}"), b" " * 65536, 1600)
    assert reply.startswith(b"HTTP/1.1 413")
    assert b"request_too_large" in reply
    assert taken < 8 * MIB, "no more than was on its way"


def test_a_hundred_megabytes_in_chunks_are_refused_at_the_limit(fort: Serving) -> None:
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    reply, taken = flooded(fort, head(fort, "transfer-encoding: chunked"), piece, 1600)
    assert reply.startswith(b"HTTP/1.1 413")
    assert 16 * MIB < taken < 40 * MIB


def test_as_much_as_may_come_from_many_at_once_is_held_within_bounds(fort: Serving) -> None:
    before = fort.resident
    with crowd(fort.url, 40) as many:
        for sock in many:
            sock.sendall(head(fort, f"content-length: {15 * MIB}"))
            sock.setblocking(False)
        part, until = b" " * MIB, time.monotonic() + READ_SECONDS
        most = before
        while time.monotonic() < until:
            for sock in select.select([], many, [], 0.05)[1]:
                with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                    sock.send(part)
            most = max(most, fort.resident)
    assert most - before < 400 * MIB, "256 MiB of bodies, and what is between"
    assert asked_well(fort) == ANSWER


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize(
    "deep",
    [b"[" * 10_000, b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000],
    ids=["open", "lists", "objects"],
)
def test_ten_thousand_levels_are_refused(fort: Serving, path: str, deep: bytes) -> None:
    for body in (deep, ASKED[:-1] + b',"metadata":' + deep + b"}"):
        reply = exchange(fort.url, head(fort, f"content-length: {len(body)}", path=path) + body)
        assert reply is not None
        assert reply.status == 400


def test_a_number_of_a_megabyte_and_a_field_of_a_megabyte_cost_little(fort: Serving) -> None:
    for value in (b"1" * MIB, b"1e" + b"9" * MIB, b'"' + b"\\u0000" * 100_000 + b'"', b"[" + b"1," * 300_000 + b"1]"):
        body = ASKED[:-1] + b',"seed":' + value + b"}"
        reply = exchange(fort.url, head(fort, f"content-length: {len(body)}") + body)
        assert reply is not None
        assert reply.status == 400
        assert len(reply.body) < 1000, "nothing of it is repeated"


def test_floods_of_headers_are_refused(fort: Serving) -> None:
    for flood in ([f"x-{n}: a" for n in range(5000)], ["x: " + "a" * 100_000], [f"cookie: a{n}=1" for n in range(300)]):
        reply = exchange(fort.url, head(fort, *flood, "content-length: 0"))
        assert reply is not None
        assert (reply.status, reply.code, reply.closed) == (431, "headers_too_large", True)


# --- an upstream that breaks off ---------------------------------------------------------------------------------


def test_what_an_upstream_cuts_in_the_middle_of_an_event_ends_in_an_error(tmp_path: Path) -> None:
    with (
        FaultyServer(cut(3)) as broken,
        serving(tmp_path, [scripted_policy(tmp_path, broken.url, "early", streaming="annotate")]) as running,
    ):
        streamed = httpx.post(running.url + CHAT, json={**ASK, "stream": True}, timeout=30)
        assert streamed.text.endswith("data: [DONE]\n\n")
        assert json.loads(streamed.text.split("\n\n")[-3][6:])["error"]["code"] == "upstream_error"
        assert "Nigeria" not in streamed.text, "what was torn is not made up"
        whole = httpx.post(running.url + CHAT, json=ASK, timeout=30)
        assert (whole.status_code, whole.json()["error"]["code"]) == (502, "upstream_error")
        body = {"model": "gate", "prompt": "x", "messages": ASK["messages"], "stream": True}
        passed = httpx.post(running.url + "/v1/completions", json=body, timeout=30)
        assert json.loads(passed.text.rstrip().rpartition("\n")[2][6:])["error"]["code"] == "upstream_error"
        assert "Traceback" not in running.said


# --- the dashboard -----------------------------------------------------------------------------------------------


def test_the_dashboard_shows_nothing_without_a_session(fort: Serving) -> None:
    pages = ["", "/decisions", "/decisions/rows", "/decisions/abc", "/quality", "/spend", "/review", "/review/abc"]
    for page in pages:
        for headers in (
            {},
            fort.bearer("app"),
            {"cookie": "gate_session=forged"},
            {"cookie": "gate_session=" + "a" * 99},
        ):
            reply = httpx.get(f"{fort.url}/dashboard{page}", headers=headers)
            assert reply.status_code in (302, 303, 404), page
            assert "scripted" not in reply.text
            if reply.is_redirect:
                assert reply.headers["location"].startswith("/dashboard/login")
    for page in ("/review/abc", "/decisions/abc", "/logout"):
        reply = httpx.post(f"{fort.url}/dashboard{page}", data={"correct": "yes"})
        assert reply.status_code in (302, 303, 403, 404, 405), page
    login = httpx.get(f"{fort.url}/dashboard/login", params={"next": "https://elsewhere.example/"})
    assert "elsewhere.example" not in login.text.replace("https%3A", "")
    wrong = httpx.post(f"{fort.url}/dashboard/login", data={"key": fort.keys["app"], "next": "//elsewhere.example"})
    assert "elsewhere" not in wrong.headers.get("location", "")


def sent_twice(fort: Serving) -> list[Reply | None]:
    with opened(fort.url) as sock:
        return [sent(sock, [head(fort, LENGTH) + ASKED]) for _ in range(2)]


def test_after_all_that_one_connection_serves_two_requests(fort: Serving) -> None:
    assert [reply and reply.status for reply in sent_twice(fort)] == [200, 200]
