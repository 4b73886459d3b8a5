"""The open-loop generator: when requests arrive, when a response is whole, and against a real server."""

from __future__ import annotations

import socket
from itertools import pairwise
from statistics import mean
from urllib.parse import urlsplit

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.benchmarks.proxy.arrivals import Connection, Generator, Reply, arrivals, percentile
from tests.benchmarks.proxy.load import Asked
from tests.proxy.live_server import live

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


def test_percentiles() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.0
    assert percentile([4.0, 1.0, 3.0, 2.0], 51) == 3.0
    assert percentile(range(1, 101), 99) == 99
    assert percentile([7.0], 99) == 7.0


def test_arrivals_are_a_poisson_process_at_the_rate() -> None:
    made = arrivals(1000, 20)
    gaps = [b - a for a, b in pairwise(made)]
    assert 19_300 < len(made) < 20_700  # five standard deviations
    assert made == sorted(made)
    assert made[-1] < 20
    assert mean(gap > 0.001 for gap in gaps) == pytest.approx(0.368, abs=0.02)  # 1/e of the gaps are above the mean
    assert arrivals(1000, 20) == made


@given(st.sampled_from((SIZED, CHUNKED)), st.lists(st.integers(1, 60), max_size=5))
def test_a_response_is_whole_with_its_last_byte(response: bytes, cuts: list[int]) -> None:
    places = sorted({0, *(cut for cut in cuts if cut < len(response)), len(response)})
    reply = Reply()
    whole = [reply.feed(response[a:b]) for a, b in pairwise(places)]
    assert whole == [False] * (len(whole) - 1) + [True]
    assert reply.good


def test_an_error_is_not_good_and_a_response_must_have_a_length() -> None:
    refused = Reply()
    assert refused.feed(SIZED.replace(b"200 OK", b"503 No"))
    assert not refused.good
    with pytest.raises(ValueError, match="without a length"):
        Reply().feed(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")


def test_requests_wait_for_a_connection_and_are_timed_from_their_arrival() -> None:
    async def slow(_: Request) -> Response:
        await anyio.sleep(0.05)
        return Response(b"done")

    async def refuse(_: Request) -> Response:
        return Response(b"", 503)

    app = Starlette(routes=[Route("/slow", slow, methods=["POST"]), Route("/no", refuse, methods=["POST"])])
    with live(app) as base:
        port = urlsplit(base).port
        assert port
        generator = generate(port, "/slow", [0.0, 0.0, 0.0], connections=1)
        assert not generator.failed
        first, second, third = generator.latencies
        assert 0.05 <= first < second < third
        assert third >= 0.15  # it stood behind two others
        refused = generate(port, "/no", [0.0, 0.001], connections=2)
        assert (refused.failed, refused.latencies) == (2, [])


def generate(port: int, path: str, times: list[float], *, connections: int) -> Generator:
    opened = [Connection(socket.create_connection(("127.0.0.1", port), 5)) for _ in range(connections)]
    generator = Generator(Asked(port, path, "{}", "none").raw, opened)
    try:
        generator.run(times)
    finally:
        for each in opened:
            each.socket.close()
    return generator
