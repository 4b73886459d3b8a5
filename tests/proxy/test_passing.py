"""Passing through: what goes on and what does not, what comes back, and what happens when either side goes away."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from queue import Queue
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gate.drivers import World
from gate.embedders.openai_embeddings import OpenAIEmbeddings, OpenAIEmbeddingsOptions
from gate.errors import GateError
from gate.ports import Price
from gate.proxy.json_wire import dumps
from gate.proxy.passing import Passed, PassThrough, Target, targets_of
from gate.proxy.wire_errors import wire_error
from gate.types import Usage
from gate.upstreams.openai_chat import OpenAIChat, OpenAIChatOptions
from gate.upstreams.openai_completions import OpenAICompletions, OpenAICompletionsOptions
from gate.upstreams.pocket import PocketUpstream
from gate.upstreams.vllm import VllmChat, VllmOptions
from tests.proxy.live_server import live
from tests.upstreams.faulty_server import Behaviour, FaultyServer, embeds, silent, status

KEY = "upstream-secret-key"
REPLY = {
    "object": "text_completion",
    "choices": [{"text": "Nigeria"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2},
}


def target(url: str, name: str = "main", model: str = "m-1", **more: Any) -> Target:
    return Target(name, url, model, {"authorization": f"Bearer {KEY}", "content-type": "application/json"}, **more)


@contextmanager
def passing(*targets: Target, allowed: set[str] | None = None) -> Iterator[tuple[str, Queue[Passed]]]:
    """The base address of a server that passes everything on to these, and what it says of each request."""
    through, told = PassThrough(), Queue[Passed]()

    async def serve(request: Request) -> Response:
        path = request.url.path.rsplit("/", 1)[-1]
        assert path in ("completions", "embeddings")
        body = await request.body()
        try:
            return await through.forward(
                path, request, body, targets, ours=("gate", "balanced"), allowed=allowed, over=told.put
            )
        except GateError as error:
            wire = wire_error(error)
            return Response(dumps(wire.body), wire.status, dict(wire.headers), "application/json")
        except ClientDisconnect:
            return Response(status_code=499)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await through.aclose()

    with live(Starlette(routes=[Route("/v1/{path}", serve, methods=["POST"])], lifespan=lifespan)) as url:
        yield url, told


def completes(handler: Any, asked: dict[str, Any]) -> None:
    handler.send(
        200, json.dumps(REPLY).encode(), {"set-cookie": "a=b", "x-ratelimit-remaining-tokens": "7", "x-own": "1"}
    )


def streams(*events: bytes, ends: bool = True) -> Behaviour:
    """Server-sent events, and the end of the connection in good order or not."""

    def behave(handler: Any, asked: dict[str, Any]) -> None:
        handler.send(200, b"".join(events), {"content-type": "text/event-stream"}, None if ends else 10_000)

    return behave


def test_the_body_goes_on_untouched_and_nothing_else_of_the_clients() -> None:
    raw = b'{ "model":"m-1", "prompt": "Where is Lagos?", "temperature": 0.10, "x": [1.0] }'
    with FaultyServer.of(completes) as server, passing(target(server.url)) as (url, told):
        sent = {
            "authorization": "Bearer client-key",
            "cookie": "c=d",
            "x-api-key": "client-key",
            "x-gate-action": "answer",
        }
        reply = httpx.post(f"{url}/v1/completions", content=raw, headers=sent)
        assert (reply.status_code, reply.json()) == (200, REPLY)
        assert server.bodies == [raw]
        assert server.asked[0]["path"] == "/v1/completions"
        (headers,) = server.headers
        assert headers["authorization"] == f"Bearer {KEY}"
        assert not {"cookie", "x-api-key", "x-gate-action"} & headers.keys()
        assert "client-key" not in str(headers)
        assert reply.headers["x-ratelimit-remaining-tokens"] == "7"
        assert not {"set-cookie", "x-own"} & reply.headers.keys()
        assert told.get(timeout=5) == Passed("main", "m-1", 200, Usage(5, 2))


def test_no_cookie_of_one_request_is_sent_with_the_next() -> None:
    with FaultyServer.of(completes) as server, passing(target(server.url)) as (url, _):
        for _ in range(2):
            httpx.post(f"{url}/v1/completions", json={"model": "gate", "prompt": "x"})
        assert all("cookie" not in headers for headers in server.headers)


@pytest.mark.parametrize(
    ("asked", "sent"), [("gate", "m-1"), ("balanced", "m-1"), ("small", "m-2"), ("m-2", "m-2"), ("other", "other")]
)
def test_gates_own_names_become_the_upstreams_and_others_stay(asked: str, sent: str) -> None:
    with FaultyServer.of(completes) as first, FaultyServer.of(completes) as second:
        targets = target(first.url), target(second.url, "small", "m-2")
        with passing(*targets) as (url, _):
            httpx.post(f"{url}/v1/completions", json={"model": asked, "prompt": "x", "gate": {"explain": True}})
    (body,) = (*first.asked, *second.asked)
    assert body["model"] == sent
    assert "gate" not in body
    assert bool(second.asked) == (sent == "m-2")


def test_a_key_that_may_not_use_a_model_learns_nothing_of_it() -> None:
    with FaultyServer.of(completes) as server, passing(target(server.url), allowed={"gate"}) as (url, _):
        assert httpx.post(f"{url}/v1/completions", json={"model": "gate", "prompt": "x"}).status_code == 200
        known, unknown = (httpx.post(f"{url}/v1/completions", json={"model": m}) for m in ("m-1", "no-such"))
        assert known.status_code == 404
        assert known.json() == unknown.json()
        assert len(server.asked) == 1


def test_embeddings_go_to_the_embedder_and_the_client_reads_them() -> None:
    with FaultyServer.of(completes) as chat, FaultyServer.of(embeds) as server:
        with passing(target(chat.url), target(server.url, "vectors", "e-1", embeds=True)) as (url, told):
            with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
                made = client.embeddings.create(model="gate", input=["Where is Lagos?"], encoding_format="float")
            assert made.data[0].embedding == [3.0, 1.0, 0.0]
            assert told.get(timeout=5) == Passed("vectors", "gate", 200, Usage(3, 0))
        assert not chat.asked
        assert server.asked[0]["model"] == "e-1"


EVENTS = (
    b'data: {"choices":[{"text":"Nig"}]}\n\n', b'data: {"choices":[{"text":"eria"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}\n\n', b"data: [DONE]\n\n",
)  # fmt: skip


def test_a_stream_comes_through_byte_for_byte_and_its_usage_is_read() -> None:
    with FaultyServer.of(streams(*EVENTS)) as server, passing(target(server.url)) as (url, told):
        reply = httpx.post(f"{url}/v1/completions", json={"model": "gate", "prompt": "x", "stream": True})
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.content == b"".join(EVENTS)
        assert told.get(timeout=5) == Passed("main", "gate", 200, Usage(4, 2))


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_events_are_counted_where_nobody_counts_tokens(step: int) -> None:
    sent = b": hello\n\n" + b"".join(EVENTS[:2]) * 3 + b"event: x\ndata:{}\r\n\r\n" + EVENTS[-1]
    body = b'{"model": "gate", "prompt": "x", "stream": true}'

    def behave(handler: Any, asked: dict[str, Any]) -> None:
        handler.send(200, b"", {"content-type": "text/event-stream"}, len(sent))
        for start in range(0, len(sent), step):
            handler.wfile.write(sent[start : start + step])
            handler.wfile.flush()

    with FaultyServer.of(behave) as server, passing(target(server.url)) as (url, told):
        assert httpx.post(f"{url}/v1/completions", content=body).content == sent
        assert told.get(timeout=5) == Passed("main", "gate", 200, Usage(12, 7), counted=False)


@pytest.mark.parametrize(
    ("content", "usage"),
    [
        (b'{"choices": [{"text": "Nigeria"}, {"text": "Benin"}, {}, 3]}', Usage(11, 4)),
        (b'{"data": [{"embedding": [1.0]}], "usage": {}}', Usage(11, 0)),
        (b"no JSON at all", Usage(11, 4)),
    ],
    ids=["text", "embeddings", "anything"],
)
def test_a_whole_reply_without_usage_is_reckoned_by_its_text(content: bytes, usage: Usage) -> None:
    body = b'{"model": "gate", "prompt": "Where is it?"}'

    def behave(handler: Any, asked: dict[str, Any]) -> None:
        handler.send(200, content)

    with FaultyServer.of(behave, status(503)) as server, passing(target(server.url)) as (url, told):
        for _ in range(2):
            httpx.post(f"{url}/v1/completions", content=body)
        assert told.get(timeout=5) == Passed("main", "gate", 200, usage, False)
        assert told.get(timeout=5) == Passed("main", "gate", 503, Usage()), "what failed is paid for by nobody"


def test_a_stream_cut_in_mid_event_ends_with_an_error_that_says_so() -> None:
    cut = streams(EVENTS[0], b'data: {"cho', ends=False)
    with FaultyServer.of(cut) as server, passing(target(server.url)) as (url, _):
        reply = httpx.post(f"{url}/v1/completions", json={"model": "gate", "prompt": "x", "stream": True})
    *_, last, end = reply.content.split(b"\n\n")
    assert end == b""
    assert "broke the connection off" in json.loads(last.removeprefix(b"data: "))["error"]["message"]


@pytest.mark.parametrize(
    ("code", "body", "seen", "word"),
    [
        (400, b'{"error":{"message":"bad stop","code":"bad_stop"}}', 400, "bad_stop"),
        (404, b'{"error":{"message":"no such model"}}', 404, "upstream_error"),
        (429, b'{"error":{"message":"slow down"}}', 429, "rate_limit_exceeded"),
        (503, b"<html>busy</html>", 503, "upstream_error"),
        (401, f'{{"error":{{"message":"bad key {KEY}","code":"invalid_api_key"}}}}'.encode(), 502, "upstream_error"),
        (302, b"", 502, "upstream_error"),
    ],
)
def test_an_upstreams_error_comes_in_openais_shape(code: int, body: bytes, seen: int, word: str) -> None:
    with FaultyServer.of(status(code, body, retry_after="3")) as server, passing(target(server.url)) as (url, told):
        reply = httpx.post(f"{url}/v1/completions", json={"model": "gate", "prompt": "x"})
        assert reply.status_code == seen
        assert reply.json()["error"].keys() == {"message", "type", "param", "code"}
        assert reply.json()["error"]["code"] == word
        assert KEY not in reply.text
        assert reply.headers.get("retry-after") == ("3" if code == 429 else None)
        assert told.get(timeout=5).status == seen


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"prompt": "x"}, 400),
        ({"model": 7}, 400),
        ({"model": "gate", "base_url": "http://127.0.0.1:1"}, 400),
        ({"model": "gate", "extra_headers": {"authorization": "x"}}, 400),
    ],
)
def test_what_cannot_be_passed_on_is_refused(fields: dict[str, Any], code: int) -> None:
    with FaultyServer.of(completes) as server, passing(target(server.url)) as (url, _):
        assert httpx.post(f"{url}/v1/completions", json=fields).status_code == code
        assert httpx.post(f"{url}/v1/completions", content=b'{"model":"gate","model":"m-1"}').status_code == 400
        assert not server.asked


def test_without_a_server_to_pass_it_to_it_is_not_found() -> None:
    with passing(target("http://127.0.0.1:1/v1", embeds=True)) as (url, _):
        reply = httpx.post(f"{url}/v1/completions", json={"model": "gate", "prompt": "x"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "nothing_to_pass_to")


def test_a_server_that_is_not_there_or_says_nothing_is_an_error_of_the_gateways() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with passing(target(nobody)) as (url, _):
            reply = httpx.post(f"{url}/v1/completions", json={"model": "gate", "prompt": "x"})
            assert (reply.status_code, "cannot be reached" in reply.text) == (502, True)
    with FaultyServer.of(silent()) as server, passing(target(server.url, timeout=0.2)) as (url, _):
        reply = httpx.post(f"{url}/v1/completions", json={"model": "gate", "prompt": "x"})
        assert (reply.status_code, "in time" in reply.text) == (504, True)


def goes_on(handler: Any, asked: dict[str, Any]) -> None:
    """One event, and then nothing until the client goes away."""
    handler.send(200, EVENTS[0], {"content-type": "text/event-stream"}, claim=10_000)
    silent()(handler, asked)


@pytest.mark.parametrize("behaviour", [silent(), goes_on], ids=["before the reply", "in mid-stream"])
def test_when_the_client_goes_so_does_the_upstreams_connection(behaviour: Callable[..., None]) -> None:
    with FaultyServer.of(behaviour) as server, passing(target(server.url)) as (url, told):
        body = json.dumps({"model": "gate", "prompt": "x", "stream": True}).encode()
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as client:
            head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            client.sendall(head + body)
            client.settimeout(0.3)
            heard = b""
            while EVENTS[0] not in heard:
                try:
                    heard += client.recv(1000)
                except TimeoutError:
                    break
            assert server.asked
        assert server.gone.wait(5)
        if behaviour is goes_on:
            assert told.get(timeout=5).status == 200


def test_the_servers_of_a_policy_are_told_by_what_is_sent_to_them() -> None:
    at = {"base_url": "http://127.0.0.1:8000/v1", "headers": {"x-team": "a"}}
    chat = OpenAIChat("main", OpenAIChatOptions(model="m-1", **at), Price(), KEY)
    vllm = VllmChat.from_options("local", VllmOptions(model="m-2", **at), Price())
    plain = OpenAICompletions("old", OpenAICompletionsOptions(model="m-3", **at), Price(), None)
    vectors = OpenAIEmbeddings("vectors", OpenAIEmbeddingsOptions(model="e-1", **at), Price(), None)
    world = World(
        {"pocket": PocketUpstream("pocket"), "main": chat, "local": vllm, "old": plain},
        timeouts={"main": 7.0},
        embedders={"vectors": vectors},
    )
    made = targets_of(world)
    assert [(each.name, each.model, each.embeds) for each in made] == [
        ("main", "m-1", False), ("local", "m-2", False), ("old", "m-3", False), ("vectors", "e-1", True),
    ]  # fmt: skip
    assert {each.base_url for each in made} == {"http://127.0.0.1:8000/v1"}
    assert made[0].headers["authorization"] == f"Bearer {KEY}"
    assert made[0].headers["x-team"] == "a"
    assert (made[0].timeout, made[1].timeout) == (7.0, 30.0)
    assert KEY not in repr(made)
