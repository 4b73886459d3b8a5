"""The application over a real server: headers, limits, errors, and clients that go away."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import time
from queue import Queue
from urllib.parse import urlsplit

import httpx
import pytest

from gate.errors import UpstreamError, UpstreamTimeout
from gate.proxy.app import create_app
from gate.traces import TraceRecord
from gate.types import Action, Certificate
from tests.proxy.fake_gateway import GENERATION, FakeGateway, outcome_of
from tests.proxy.live_server import live

ASK = {"model": "gate", "messages": [{"role": "user", "content": "Where is Lagos?"}]}
CHAT = "/v1/chat/completions"


def test_the_decision_rides_in_the_headers_streamed_or_not() -> None:
    with live(create_app(FakeGateway())) as url:
        for stream in (False, True):
            reply = httpx.post(url + CHAT, json=ASK | {"stream": stream})
            assert reply.status_code == 200
            assert reply.headers["x-gate-action"] == "answer"
            assert reply.headers["x-gate-confidence"] == "0.9123"
            assert reply.headers["x-gate-policy"] == "balanced@0123456789ab"
            assert reply.headers["x-gate-certificate"] == "none"
            assert reply.headers["x-gate-decision-id"] == "feed"


def test_models_health_and_readiness() -> None:
    gateway = FakeGateway(void=("policy is not what was certified",))
    with live(create_app(gateway)) as url:
        listed = httpx.get(url + "/v1/models").json()
        assert [model["id"] for model in listed["data"]] == ["gate", "balanced"]
        assert httpx.get(url + "/healthz").json() == {"status": "ok"}
        assert httpx.get(url + "/readyz").json()["certificate"] == "none"
    assert gateway.closed, "stopping the server closes the gateway"


def test_a_certificate_that_an_answer_voided_is_void_in_its_headers_and_seen_in_readiness() -> None:
    held = Certificate(0.05, 0.05, 100, 60, 1, 0.04, "all", "2026-01-01", {})
    sound = outcome_of(GENERATION)
    (step,) = sound.steps
    marred = dataclasses.replace(sound, steps=(dataclasses.replace(step, void=("another model answers",)),))
    said = iter([sound, marred])
    gateway = FakeGateway(lambda question: next(said), certificate=held, seen_void=("another model answers",))
    with live(create_app(gateway)) as url:
        marks = [httpx.post(url + CHAT, json=ASK).headers["x-gate-certificate"] for _ in range(2)]
        ready = httpx.get(url + "/readyz").json()
    assert marks == ["certified", "void; another model answers"]
    assert (ready["certificate"], ready["seen_void"]) == ("certified", ["another model answers"])


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", CHAT, b"not json", 400),
        ("POST", CHAT, b"{}", 400),
        ("POST", CHAT, json.dumps(ASK | {"model": "gpt-9"}).encode(), 404),
        ("POST", CHAT, b"x" * 2000, 413),
        ("GET", CHAT, b"", 405),
        ("GET", "/v1/nothing", b"", 404),
    ],
)
def test_what_is_wrong_gets_an_openai_error(method: str, path: str, content: bytes, status: int) -> None:
    with live(create_app(FakeGateway(), max_body_bytes=1000)) as url:
        reply = httpx.request(method, url + path, content=content)
        assert reply.status_code == status
        assert reply.json()["error"].keys() == {"message", "type", "param", "code"}
        assert httpx.get(url + "/healthz").status_code == 200, "the server lives on"


def test_an_upstream_error_names_upstream_and_cause_and_the_trace_is_kept() -> None:
    kept: list[TraceRecord] = []
    for error, status in ((UpstreamError("small", "answered HTML"), 502), (UpstreamTimeout("small", "late"), 504)):
        gateway = FakeGateway(lambda question, error=error: error)
        with live(create_app(gateway, trace_sink=kept.append)) as url:
            reply = httpx.post(url + CHAT, json=ASK)
            assert reply.status_code == status
            assert "small" in reply.json()["error"]["message"]
            assert reply.headers["x-gate-decision-id"] == "feed"
    assert [record.error for record in kept] == ["upstream 'small': answered HTML", "upstream 'small': late"]


def test_a_fault_of_gates_own_is_a_500_that_tells_nothing_and_leaves_a_trace() -> None:
    kept: list[TraceRecord] = []
    gateway = FakeGateway(lambda question: RuntimeError("secret detail"))
    with live(create_app(gateway, trace_sink=kept.append)) as url:
        reply = httpx.post(url + CHAT, json=ASK)
        assert reply.status_code == 500
        assert "secret" not in reply.text
        assert reply.json()["error"]["code"] == "internal_error"
        assert reply.headers["x-gate-decision-id"] == "feed"
    assert [record.error for record in kept] == ["unexpected RuntimeError"]


def test_every_question_leaves_a_trace() -> None:
    kept: list[TraceRecord] = []
    with live(create_app(FakeGateway(), trace_sink=kept.append)) as url:
        httpx.post(url + CHAT, json=ASK)
    assert [record.id for record in kept] == ["feed"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_closed_client_cancels_the_work_at_once(stream: bool) -> None:
    gateway, kept = FakeGateway(seconds=30), Queue[TraceRecord]()
    with live(create_app(gateway, trace_sink=kept.put)) as url:
        body = json.dumps(ASK | {"stream": stream}).encode()
        host, port = urlsplit(url).hostname, urlsplit(url).port
        with socket.create_connection((host, port)) as client:
            head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            client.sendall(head + body)
            assert gateway.started.wait(5)
        assert gateway.cancelled.wait(5)
        assert kept.get(timeout=5).error == "the caller went away"
    assert kept.empty()


def test_a_client_that_leaves_in_mid_body_harms_nobody() -> None:
    with live(create_app(FakeGateway())) as url:
        host, port = urlsplit(url).hostname, urlsplit(url).port
        with socket.create_connection((host, port)) as client:
            client.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".encode())
        assert httpx.post(url + CHAT, json=ASK).status_code == 200


def test_more_than_the_limit_at_once_is_turned_away_and_room_comes_back() -> None:
    gateway = FakeGateway(seconds=0.5)
    with live(create_app(gateway, max_concurrency=1)) as url:
        first = threading.Thread(target=httpx.post, args=(url + CHAT,), kwargs={"json": ASK})
        first.start()
        assert gateway.started.wait(5)
        turned_away = httpx.post(url + CHAT, json=ASK)
        assert turned_away.status_code == 503
        assert turned_away.headers["retry-after"] == "1"
        first.join()
        until = time.monotonic() + 5
        while httpx.post(url + CHAT, json=ASK).status_code != 200:
            assert time.monotonic() < until


def test_emoji_and_right_to_left_text_come_through() -> None:
    said = "مرحبا 🦜 \u202eabc"
    gateway = FakeGateway(lambda question: outcome_of(None, refusal=question.text))
    with live(create_app(gateway)) as url:
        reply = httpx.post(url + CHAT, json=ASK | {"messages": [{"role": "user", "content": said}]})
        assert reply.json()["choices"][0]["message"]["refusal"] == said


def test_a_question_asked_back_is_a_message_like_any_other() -> None:
    plain = outcome_of(None, "Which Lagos?")
    decision = dataclasses.replace(plain.decision, action=Action.CLARIFY, reason="ambiguous")
    step = dataclasses.replace(plain.steps[-1], decision=decision)
    asked_back = dataclasses.replace(plain, action=Action.CLARIFY, steps=(step,))
    with live(create_app(FakeGateway(lambda question: asked_back))) as url:
        reply = httpx.post(url + CHAT, json=ASK)
    assert reply.status_code == 200
    assert (reply.headers["x-gate-action"], reply.headers["x-gate-reason"]) == ("clarify", "ambiguous")
    assert reply.json()["choices"][0]["message"] == {"role": "assistant", "content": "Which Lagos?", "refusal": None}
