"""Spans of a request: whose children they are, what they say and never say, and that a real receiver gets them."""

from __future__ import annotations

import builtins
import time
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gate.endpoint_settings import EmbedderSettings, PersonSettings, RetrieverSettings, UpstreamSettings
from gate.errors import MissingExtra
from gate.policy import Policy, find, read
from gate.proxy.doors import DOORS, Door
from gate.proxy.guardrail import GUARDRAIL
from gate.proxy.spans import Peer, Spans, peers_of
from tests.proxy.entries import SECRET, asked, entry_of, failed, failed_entry
from tests.proxy.live_server import live

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def policy() -> Policy:
    shipped = read(find("balanced")).policy
    upstreams = {
        "small": UpstreamSettings.model_validate(
            {"kind": "openai_chat", "base_url": "https://models.example.org/v1", "model": "tiny"}
        ),
        "large": UpstreamSettings.model_validate({"kind": "pocket", "model": "large"}),
    }
    return shipped.model_copy(update={"upstreams": upstreams})


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def made(exporter: InMemorySpanExporter, policy: Policy, entry: Any, **headers: str) -> tuple[list[Any], Any]:
    """The spans of calls, and that of the request."""
    spans = Spans(exporter, at_once=True)
    spans.record(entry, policy, **headers)
    spans.close()
    *calls, request = exporter.get_finished_spans()
    return calls, request


def test_the_request_and_its_calls(exporter: InMemorySpanExporter, policy: Policy) -> None:
    now = time.time()
    tape = (
        asked(began=now - 0.4, seconds=0.2, n=2),
        asked("world", "retrieve", began=now - 0.2, seconds=0.1, passages=()),
        asked("desk", "handover", began=now - 0.1, seconds=0.05, reference="r"),
    )
    calls, request = made(exporter, policy, entry_of(*tape, seconds=0.5), traceparent=PARENT)
    assert (request.name, request.kind) == ("POST /v1/chat/completions", SpanKind.SERVER)
    assert f"{request.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{request.parent.span_id:016x}" == PARENT.split("-")[2]
    assert request.end_time - request.start_time == pytest.approx(0.5e9, rel=1e-3)
    assert dict(request.attributes) == {
        "http.request.method": "POST", "http.route": "/v1/chat/completions", "http.response.status_code": 200,
        "gate.decision_id": "feed", "gate.policy": "balanced", "gate.policy_fingerprint": "0123456789abcdef",
        "gate.certified": True, "gate.mode": "enforce", "gate.retracted": False, "gate.action": "answer",
        "gate.reason": "confident", "gate.confidence": 0.9123, "gate.money_usd": 0.25,
        "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 60, "gen_ai.usage.output_tokens": 18,
    }  # fmt: skip
    assert request.status.status_code is StatusCode.UNSET
    assert [call.name for call in calls] == ["chat tiny", "retrieval world", "handover desk"]
    assert {call.kind for call in calls} == {SpanKind.CLIENT}
    assert {call.parent.span_id for call in calls} == {request.context.span_id}
    assert dict(calls[0].attributes) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "tiny",
        "gen_ai.response.model": "tiny-1", "gen_ai.request.choice.count": 2, "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 3, "gen_ai.response.finish_reasons": ("stop",), "gate.upstream": "small",
        "gate.effect": "generate", "server.address": "models.example.org", "server.port": 443,
    }  # fmt: skip
    assert calls[0].start_time == pytest.approx((now - 0.4) * 1e9, abs=1e3)
    assert calls[0].end_time - calls[0].start_time == pytest.approx(0.2e9, rel=1e-3)
    assert calls[1].attributes["gen_ai.provider.name"] == "pocket_world"
    assert "gen_ai.operation.name" not in calls[2].attributes
    assert request.resource.attributes["service.name"] == "gate"


def test_failures(exporter: InMemorySpanExporter, policy: Policy) -> None:
    entry = failed_entry(failed(timeout=True), failed(status=503), failed("gone"), door="responses")
    calls, request = made(exporter, policy, entry)
    assert [call.attributes["error.type"] for call in calls] == ["timeout", "503", "_OTHER"]
    assert calls[2].attributes["gen_ai.provider.name"] == "_OTHER"
    assert (request.name, request.attributes["error.type"]) == ("POST /v1/responses", "502")
    assert {span.status.status_code for span in (*calls, request)} == {StatusCode.ERROR}
    assert "gate.action" not in request.attributes
    assert request.parent is None


@pytest.mark.parametrize("door", [*DOORS, GUARDRAIL], ids=lambda door: door.name)
def test_every_door_has_its_route(door: Door, exporter: InMemorySpanExporter, policy: Policy) -> None:
    _, request = made(exporter, policy, entry_of(door=door.name))
    assert request.name == f"POST {door.path}"


def test_no_text_ever(exporter: InMemorySpanExporter, policy: Policy) -> None:
    calls, request = made(exporter, policy, entry_of(asked(), failed(), key=SECRET, request_id=SECRET))
    assert SECRET not in "".join(span.to_json() for span in (*calls, request))


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-01", PARENT + "-more-" * 500, "\ud800"])
def test_what_is_no_parent_begins_a_trace(exporter: InMemorySpanExporter, policy: Policy, header: str) -> None:
    _, request = made(exporter, policy, entry_of(), traceparent=header, tracestate=header)
    assert request.parent is None


def test_what_the_caller_does_not_sample_is_not_recorded(exporter: InMemorySpanExporter, policy: Policy) -> None:
    spans = Spans(exporter, at_once=True)
    spans.record(entry_of(asked()), policy, traceparent=PARENT[:-2] + "00")
    spans.close()
    assert exporter.get_finished_spans() == ()


def test_who_is_behind_a_name(policy: Policy) -> None:
    more = policy.model_copy(
        update={
            "retrievers": {
                "docs": RetrieverSettings.model_validate({"kind": "http_json", "url": "http://search.local:9200/q"})
            },
            "embedders": {"vectors": EmbedderSettings.model_validate({"kind": "hashed_ngrams"})},
            "people": {"desk": PersonSettings.model_validate({"kind": "webhook", "url": "https://desk.example.org/x"})},
        }
    )
    assert peers_of(more) == {
        "small": Peer("openai", "tiny", "models.example.org", 443),
        "large": Peer("pocket", "large"),
        "docs": Peer("http_json", "", "search.local", 9200),
        "vectors": Peer("hashed_ngrams"),
        "desk": Peer("webhook", "", "desk.example.org", 443),
    }


def test_a_receiver_gets_them_over_otlp(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[tuple[str, bytes]] = []

    async def traces(request: Request) -> Response:
        bodies.append((request.headers.get("x-team", ""), await request.body()))
        return Response(media_type="application/x-protobuf")

    with live(Starlette(routes=[Route("/v1/traces", traces, methods=["POST"])])) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=a")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "my-gate")
        spans = Spans()
        for _ in range(3):
            spans.record(entry_of(asked()), policy)
        spans.close()
    assert {team for team, _ in bodies} == {"a"}
    received = [ExportTraceServiceRequest.FromString(body) for _, body in bodies]
    resources = [resource for request in received for resource in request.resource_spans]
    told = {a.key: a.value.string_value for a in resources[0].resource.attributes}
    assert told["service.name"] == "my-gate"
    names = [span.name for resource in resources for scope in resource.scope_spans for span in scope.spans]
    assert sorted(names) == ["POST /v1/chat/completions"] * 3 + ["chat tiny"] * 3


def test_without_the_extra_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def lacking(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(MissingExtra, match=r"gate-llm\[otel\]"):
        Spans()
