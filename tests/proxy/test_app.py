"""The application over a real server: headers, limits, errors, and clients that go away."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import random
import socket
import threading
from queue import Queue
from typing import Any

import anyio
import httpx
import pytest

from gate.errors import GateError, UpstreamError, UpstreamTimeout
from gate.proxy import app
from gate.proxy.admission import Admission
from gate.proxy.counters import Counters
from gate.proxy.doors import CHAT, DOORS, Door
from gate.proxy.guardrail import GUARDRAIL
from gate.proxy.limits import Limiter
from gate.proxy.metrics import Metrics
from gate.proxy.settings import LimitSettings, ServerSettings
from gate.serving_settings import ServingSettings
from gate.traces import TraceRecord
from gate.types import Action, Certificate
from tests.proxy.fake_gateway import GENERATION, FakeGateway, outcome_of
from tests.proxy.live_server import live
from tests.proxy.reading import Noted, ask, asking, get, seen, sent_and_open, streaming, until
from tests.proxy.served import app_of, bearer, keys_of, policies_of, service_of

ASKED = asking()
EACH_DOOR = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)


def limited(**limits: Any) -> ServerSettings:
    return ServerSettings(dashboard=False, limits=LimitSettings(**limits))


@EACH_DOOR
def test_the_decision_rides_in_the_headers_streamed_or_not(door: Door) -> None:
    log = Noted()
    with live(app_of(log=log)) as url:
        for stream in (False, True):
            reply = ask(url, door, stream=stream)
            assert reply.status_code == 200
            assert reply.headers["x-gate-action"] == "answer"
            assert reply.headers["x-gate-confidence"] == "0.9123"
            assert reply.headers["x-gate-policy"] == "balanced@0123456789ab"
            assert reply.headers["x-gate-certificate"] == "none"
            entry = log.next()
            assert reply.headers["x-gate-decision-id"] == entry.record.id
            assert (entry.door, entry.status, entry.streamed) == (door.name, 200, stream)
            assert len({*reply.headers}) == len(reply.headers.raw), "no header stands twice"


def test_models_health_and_readiness() -> None:
    gateway = FakeGateway(void=("policy is not what was certified",))
    with live(app_of(gateway)) as url:
        listed = get(url, "/v1/models").json()
        assert [model["id"] for model in listed["data"]] == ["gate", "balanced"]
        assert get(url, "/healthz").json() == {"status": "ok"}
        assert get(url, "/readyz").json()["certificate"] == "none"
    assert gateway.closed, "stopping the server closes the gateway"


def test_a_certificate_that_an_answer_voided_is_void_in_its_headers_and_seen_in_readiness() -> None:
    held = Certificate(0.05, 0.05, 100, 60, 1, 0.04, "all", "2026-01-01", {})
    sound = outcome_of(GENERATION)
    (step,) = sound.steps
    marred = dataclasses.replace(sound, steps=(dataclasses.replace(step, void=("another model answers",)),))
    said = iter([sound, marred])
    gateway = FakeGateway(lambda question: next(said), certificate=held, seen_void=("another model answers",))
    with live(app_of(gateway)) as url:
        marks = [ask(url).headers["x-gate-certificate"] for _ in range(2)]
        ready = get(url, "/readyz").json()
    assert marks == ["certified", "void; another model answers"]
    assert (ready["certificate"], ready["seen_void"]) == ("certified", ["another model answers"])


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", CHAT.path, b"not json", 400),
        ("POST", CHAT.path, b"{}", 400),
        ("POST", CHAT.path, json.dumps(ASKED | {"model": "gpt-9"}).encode(), 404),
        ("POST", CHAT.path, b"x" * 2000, 413),
        *(("GET", door.path, b"", 405) for door in (*DOORS, GUARDRAIL)),
        ("DELETE", CHAT.path, b"", 405),
        ("GET", "/v1/embeddings", b"", 405),
        ("GET", "/v1/nothing", b"", 404),
        ("GET", "/healthz/", b"", 404),
    ],
)
def test_what_is_wrong_gets_an_openai_error(method: str, path: str, content: bytes, status: int) -> None:
    with live(app_of(settings=limited(body_bytes=1024))) as url:
        reply = httpx.request(method, url + path, content=content)
        assert reply.status_code == status
        assert reply.json()["error"].keys() == {"message", "type", "param", "code"}
        assert ("allow" in reply.headers) == (status == 405)
        assert get(url, "/healthz").status_code == 200, "the server lives on"


@EACH_DOOR
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_upstream_error_names_upstream_and_cause_and_the_trace_is_kept(door: Door, stream: bool) -> None:
    kept: Queue[TraceRecord] = Queue()
    errors = (UpstreamError("small", "answered HTML"), UpstreamTimeout("small", "late"))
    said = iter(errors)
    with live(app_of(FakeGateway(lambda question: next(said)), trace_sink=kept.put)) as url:
        for error, status in zip(errors, (502, 504), strict=True):
            reply = ask(url, door, stream=stream)
            assert reply.status_code == status
            assert reply.json()["error"]["message"] == str(error)
            record = kept.get(timeout=5)
            assert record.error == str(error)
            assert reply.headers["x-gate-decision-id"] == record.id
            assert "x-gate-action" not in reply.headers


@EACH_DOOR
@pytest.mark.parametrize("n", [1, 2])
def test_a_fault_of_gates_own_is_a_500_that_tells_nothing_and_leaves_a_trace(
    door: Door, n: int, caplog: pytest.LogCaptureFixture
) -> None:
    kept: Queue[TraceRecord] = Queue()
    log, gateway = Noted(), FakeGateway(lambda question: RuntimeError("secret detail"))
    more: dict[str, Any] = {"n": n} if door is CHAT else {}
    with caplog.at_level(logging.ERROR), live(app_of(gateway, trace_sink=kept.put, log=log)) as url:
        reply = ask(url, door, **more)
        assert reply.status_code == 500
        assert "secret" not in reply.text
        said = reply.json()["error"]
        assert (said["code"] if door.name != "messages" else said["details"]["error_code"]) == "internal_error"
        records = [kept.get(timeout=5) for _ in gateway.asked]
        assert reply.headers["x-gate-decision-id"] in {record.id for record in records}
        assert records[0].error == "unexpected RuntimeError"
        assert reply.headers["x-gate-policy"] == "balanced@0123456789ab"
        entry = log.next()
        assert (entry.status, entry.door, entry.record.error) == (500, door.name, "unexpected RuntimeError")
        assert get(url, "/healthz").status_code == 200
    assert "unexpected RuntimeError while answering" in caplog.text
    assert "secret" not in "".join(record.getMessage() for record in caplog.records)


def test_every_question_leaves_a_trace() -> None:
    kept: Queue[TraceRecord] = Queue()
    with live(app_of(trace_sink=kept.put)) as url:
        told = [ask(url).headers["x-gate-decision-id"], *ask(url, n=2).headers["x-gate-decision-id"].split(", ")]
    assert [kept.get(timeout=5).id for _ in told] == told
    assert kept.empty()


@EACH_DOOR
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_a_closed_client_cancels_the_work_at_once(door: Door, stream: bool, mode: Any) -> None:
    gateway, kept, log = FakeGateway(seconds=30, serving=ServingSettings(mode=mode)), Queue[TraceRecord](), Noted()
    with live(app_of(gateway, trace_sink=kept.put, log=log)) as url:
        with sent_and_open(url, asking(door, stream=stream), door.path):
            assert gateway.started.wait(5)
        assert gateway.cancelled.wait(5)
        assert kept.get(timeout=5).error == "the caller went away"
    entry = log.next()
    assert (entry.status, entry.mode, entry.streamed, entry.record.error) == (499, mode, stream, "the caller went away")
    assert kept.empty()
    assert log.empty


def test_a_closed_client_that_asked_for_several_answers_leaves_a_trace_of_each() -> None:
    gateway, log = FakeGateway(seconds=30), Noted()
    with live(app_of(gateway, log=log)) as url:
        with sent_and_open(url, asking(n=3)):
            until(lambda: len(gateway.asked) == 3)
        assert [log.next().status for _ in range(3)] == [499] * 3
    assert log.empty


def test_a_client_that_leaves_in_mid_body_harms_nobody() -> None:
    with live(app_of()) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(f"POST {CHAT.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".encode())
        assert ask(url).status_code == 200


def test_more_than_the_limit_at_once_is_turned_away_and_room_comes_back() -> None:
    gateway = FakeGateway(seconds=0.3)
    with live(app_of(gateway, settings=limited(concurrency=1, waiting=0, wait_seconds=1))) as url:
        first = threading.Thread(target=ask, args=(url,))
        first.start()
        assert gateway.started.wait(5)
        turned_away = ask(url)
        assert turned_away.status_code == 503
        assert turned_away.headers["retry-after"] == "1"
        assert get(url, "/healthz").status_code == 200, "whoever watches sees it also when it is full"
        first.join()
        until(lambda: ask(url).status_code == 200)


def test_emoji_and_right_to_left_text_come_through() -> None:
    said = "مرحبا 🦜 \u202eabc"
    gateway = FakeGateway(lambda question: outcome_of(None, refusal=question.text))
    with live(app_of(gateway)) as url:
        reply = ask(url, messages=[{"role": "user", "content": said}])
        assert reply.json()["choices"][0]["message"]["refusal"] == said


def test_a_question_asked_back_is_a_message_like_any_other() -> None:
    plain = outcome_of(None, "Which Lagos?")
    decision = dataclasses.replace(plain.decision, action=Action.CLARIFY, reason="ambiguous")
    step = dataclasses.replace(plain.steps[-1], decision=decision)
    asked_back = dataclasses.replace(plain, action=Action.CLARIFY, steps=(step,))
    with live(app_of(FakeGateway(lambda question: asked_back))) as url:
        reply = ask(url)
    assert reply.status_code == 200
    assert (reply.headers["x-gate-action"], reply.headers["x-gate-reason"]) == ("clarify", "ambiguous")
    assert reply.json()["choices"][0]["message"] == {"role": "assistant", "content": "Which Lagos?", "refusal": None}


def test_each_request_has_its_id_in_the_response_and_the_log() -> None:
    log = Noted()
    with live(app_of(log=log)) as url:
        reply = ask(url, headers={"x-request-id": "mine-7", "x-gate-policy": "forged"})
        assert reply.headers["x-request-id"] == log.next().request_id == "mine-7"
        assert reply.headers["x-gate-policy"] == "balanced@0123456789ab"
        assert ask(url).headers["x-request-id"] == log.next().request_id != ""


# --- aborts ------------------------------------------------------------------------------------------------------


MANY = 200


@pytest.mark.parametrize("mode", ["hold", "annotate", "observe"])
def test_of_many_requests_that_are_broken_off_at_any_moment_nothing_is_left(mode: Any) -> None:
    serving = ServingSettings(mode="observe") if mode == "observe" else ServingSettings(streaming=mode)
    gateway = FakeGateway(serving=serving, seconds=0.005, written=("Nige", 0.005, "ria"), judging=0.005)
    log, counters, chance = Noted(), Counters.open(None, 1), random.Random(7)
    keys = keys_of(app={"rate": {"concurrency": 1000}})
    served = app_of(gateway, log=log, keys=keys, limiter=Limiter(counters))
    assert isinstance(served, Admission)
    header = "".join(f"{name}: {value}\r\n" for name, value in bearer("app").items())
    complaints: list[Any] = []
    loops: list[Any] = []

    async def breaking(url: str) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(MANY):
                group.start_soon(broken_off, url, chance.random() < 0.7, chance.random() * 0.03)
                await anyio.sleep(0.001)

    async def broken_off(url: str, stream: bool, seconds: float) -> None:
        host, port = url.removeprefix("http://").split(":")
        content = json.dumps(asking(stream=stream)).encode()
        head = f"POST {CHAT.path} HTTP/1.1\r\nhost: x\r\n{header}content-length: {len(content)}\r\n\r\n".encode()
        async with await anyio.connect_tcp(host, int(port)) as connection:
            await connection.send(head + content)
            await anyio.sleep(seconds)

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        loop = asyncio.get_running_loop()
        if loop not in loops:
            loops.append(loop)
            loop.set_exception_handler(lambda loop, context: complaints.append(context))
        await served(scope, receive, send)

    with live(counted) as url:
        anyio.run(breaking, url)
        until(lambda: served.under_way == 0)
        until(lambda: counters.usage("app").under_way == 0)
        assert ask(url, headers=bearer("app")).status_code == 200
        tasks = {task.get_name() for task in asyncio.all_tasks(loops[0])}
    kept = [log.entries.get_nowait() for _ in range(log.entries.qsize())]
    assert len(kept) == len(gateway.asked), "all that was begun is logged"
    assert len({entry.record.id for entry in kept}) == len(kept)
    assert {entry.status for entry in kept} == {200, 499}
    assert (served.under_way, served.waiting) == (0, 0)
    assert not complaints
    assert len(tasks) < 12, tasks
    used, spent = counters.usage("app").total.tokens, sum(entry.record.cost.tokens for entry in kept)
    # judging what is only observed is on nobody's account
    assert (0 < used < spent) if mode == "observe" else used == spent


def test_a_fault_in_what_runs_beside_requests_is_told_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, ended = Metrics(), []

    def share() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metrics, "share", share)
    with live(app_of(metrics=metrics, on_end=lambda: ended.append(True))) as url:
        assert ask(url).status_code == 200
        until(lambda: "cannot be shared: No space left on device" in caplog.text)
        assert ask(url).status_code == 200
    assert ended == [True]


def test_a_policy_that_is_served_no_more_has_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_SHARE_EVERY", 0.01)
    held = Certificate(0.05, 0.05, 100, 60, 1, 0.04, "all", "2026-01-01", {})
    service = service_of(FakeGateway(certificate=held))
    with live(app.create_app(service)) as url:
        until(lambda: 'gate_certificate_void{policy="balanced"} 0.0' in get(url, "/metrics").text)
        service.policies = policies_of(FakeGateway(name="renamed", certificate=held, void=("x",)))
        until(lambda: 'gate_certificate_void{policy="renamed"} 1.0' in get(url, "/metrics").text)
        assert 'gate_certificate_void{policy="balanced"}' not in get(url, "/metrics").text


@EACH_DOOR
def test_a_fault_in_mid_stream_ends_it_with_an_error_event(door: Door) -> None:
    fault = RuntimeError("secret detail")
    gateway = FakeGateway(
        lambda question: fault, written=("Nigeria ", 0.05), serving=ServingSettings(streaming="annotate")
    )
    log = Noted()
    with live(app_of(gateway, log=log)) as url, streaming(url, door) as (_, events):
        told = seen(door, events)
    assert told.text == "Nigeria "
    assert "unexpected error in gate" in told.error["message"]
    entry = log.next()
    assert (entry.status, entry.retracted) == (500, True)


def test_errors_are_in_the_shape_of_their_door() -> None:
    gateway = FakeGateway(lambda question: GateError("odd"))
    with live(app_of(gateway)) as url:
        shapes = [ask(url, door).json() for door in DOORS]
        early = [httpx.post(url + door.path, content=b"{").json() for door in DOORS]
    for chat, responses, messages in (shapes, early):
        assert chat["error"]["type"] == responses["error"]["type"]
        assert messages["type"] == "error"
