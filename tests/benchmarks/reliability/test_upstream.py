"""The model's server: it answers, and fails as it is told, in a process of its own."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.benchmarks.reliability.processes import Upstream
from tests.benchmarks.reliability.questions import Item
from tests.benchmarks.reliability.upstream import FAULTS, MODEL, SWAPPED, Felt

EASY = next(item for item in (Item(str(n), "alpha") for n in range(100)) if not item.hard)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    made = Upstream(0.0)
    yield made
    made.stop()


def ask(upstream: Upstream, *, stream: bool = False, item: Item = EASY) -> tuple[int, dict[str, str], str]:
    where = urlsplit(upstream.url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=1)
    body = json.dumps({"messages": [{"role": "user", "content": item.question}], "stream": stream})
    try:
        connection.request("POST", f"{where.path}/chat/completions", body)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read().decode()
    finally:
        connection.close()


def test_it_knows_the_code_whole_and_in_pieces(upstream: Upstream) -> None:
    upstream.change()
    status, _, body = ask(upstream)
    made = json.loads(body)
    assert (status, made["model"], made["choices"][0]["message"]["content"]) == (200, MODEL, EASY.right)
    lines = [line.removeprefix("data: ") for line in ask(upstream, stream=True)[2].split("\n") if line]
    deltas = [json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines[:-1]]
    assert ("".join(deltas), lines[-1]) == (EASY.right, "[DONE]")


@pytest.mark.parametrize("fault", [*(fault for fault in FAULTS if fault not in ("spikes", "drip")), "down"])
def test_it_fails_as_it_is_told_and_not_any_more(upstream: Upstream, fault: str) -> None:
    upstream.change(fault)
    if fault in ("resets", "half", "down"):
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(upstream)
    else:
        status, headers, body = ask(upstream)
        assert EASY.right not in body
        assert status == {"storm": 429, "storm-after": 429, "errors": 500}.get(fault, 200)
        assert ("retry-after" in headers) == (fault == "storm-after")
    upstream.change()
    assert EASY.right in ask(upstream)[2]


def test_another_model_may_answer_in_its_place(upstream: Upstream) -> None:
    upstream.change("swapped")
    assert json.loads(ask(upstream)[2])["model"] == SWAPPED


def test_and_that_by_its_own_name_or_that_of_the_other(upstream: Upstream) -> None:
    hard = next(item for item in (Item(str(n), "alpha") for n in range(100)) if item.hard)
    upstream.change("silent")
    answers = [json.loads(ask(upstream, item=hard)[2]) for _ in range(6)]
    assert {made["model"] for made in answers} == {MODEL}
    assert len({made["choices"][0]["message"]["content"] for made in answers}) == 1
    assert upstream.felt().calls == 6


def test_it_counts_what_the_fault_came_to_and_what_came_when_it_should_be_left_alone(upstream: Upstream) -> None:
    upstream.change("errors", shut_after=3600.0)
    assert upstream.felt() == Felt()
    ask(upstream)
    assert upstream.felt() == Felt(calls=1)
    upstream.change("errors", shut_after=0.0)
    ask(upstream)
    upstream.change()
    ask(upstream)
    felt = upstream.felt()
    assert (felt.calls, felt.late) == (1, 1), "of that fault, and of no other call"
    assert felt.seconds > 0
    upstream.change("errors")
    ask(upstream)
    assert upstream.felt() == Felt(calls=1), "whoever need not leave it alone may come"
    upstream.change("errors", 0.0)
    ask(upstream)
    assert upstream.felt() == Felt()
    upstream.change()


@pytest.mark.parametrize("fault", ["spikes", "drip"])
def test_what_takes_long_takes_longer_than_anybody_waits(upstream: Upstream, fault: str) -> None:
    upstream.change(fault)
    with socket.create_connection((urlsplit(upstream.url).hostname, urlsplit(upstream.url).port)) as asking:
        asking.settimeout(0.2)
        body = json.dumps({"messages": [{"role": "user", "content": EASY.question}]})
        asking.sendall(f"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        got = b""
        try:
            while part := asking.recv(1):
                got += part
        except TimeoutError:
            pass
    assert len(got) <= 1
    upstream.change()
    assert EASY.right in ask(upstream)[2]
