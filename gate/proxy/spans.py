"""Traces for OpenTelemetry, made of an entry once its request is over: extra ``otel``.

One server span a request, a child of the caller's where it sent a W3C ``traceparent``, and under it one client span for
each call to a model, retriever or person. Attributes are those of the semantic conventions for HTTP and for generative
AI (https://github.com/open-telemetry/semantic-conventions-genai; ``gen_ai.provider.name`` in the place of the older
``gen_ai.system``), and ``gate.*`` for what was decided. Never any text: the conventions make that opt-in, and here it
cannot be had.

Where spans go is told by OpenTelemetry's own variables: ``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_SERVICE_NAME``,
``OTEL_TRACES_SAMPLER`` and their like. They are sent in batches on a thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gate import __version__
from gate.endpoint_settings import EndpointSettings
from gate.errors import MissingExtra
from gate.log.entries import Entry
from gate.policy import Policy
from gate.traces import TapeEntry

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

_ROUTES = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "guardrail": "/beta/litellm_basic_guardrail_api",
}
_OPERATIONS = {"generate": "chat", "embed": "embeddings", "retrieve": "retrieval", "entail": "entail"}
"""By kind of effect. The conventions know no judging of entailment and let one name what they do not know."""
_PEERS = 64
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is behind a name in a policy."""

    provider: str
    model: str = ""
    address: str = ""
    port: int | None = None


def peers_of(policy: Policy) -> dict[str, Peer]:
    """Everyone a policy names, by name."""
    sections = (policy.upstreams, policy.embedders, policy.judges, policy.retrievers, policy.people)
    return {name: _peer(settings) for section in sections for name, settings in section.items()}


class Spans:
    """Makes spans of entries. Raises `MissingExtra` where OpenTelemetry is not installed."""

    def __init__(self, exporter: SpanExporter | None = None, *, at_once: bool = False) -> None:
        """``exporter``: by OTLP over HTTP unless another is given. ``at_once``: each span by itself, for tests."""
        try:
            from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            if exporter is None:
                from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

                exporter = OTLPSpanExporter()
        except ImportError as error:
            raise MissingExtra("opentelemetry-sdk and its OTLP exporter", "otel") from error
        named = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME") or "gate", SERVICE_VERSION: __version__}
        # it ends with `close`, not with the interpreter, which would wait for a receiver that is not there
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        processor = SimpleSpanProcessor(exporter) if at_once else BatchSpanProcessor(exporter)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("gate", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._peers: dict[str, dict[str, Peer]] = {}

    def record(self, entry: Entry, policy: Policy, *, traceparent: str = "", tracestate: str = "") -> None:
        """The spans of a request that has just ended. What is no W3C ``traceparent`` begins a trace of its own."""
        from opentelemetry import trace

        ended = time.time()
        began = ended - entry.seconds
        parent = (
            self._propagator.extract({"traceparent": traceparent, "tracestate": tracestate}) if traceparent else None
        )
        route = _ROUTES.get(entry.door, f"/{entry.door}")
        span = self._tracer.start_span(
            f"POST {route}", parent, trace.SpanKind.SERVER, _request_attributes(entry, route), start_time=_nanos(began)
        )
        if span.is_recording():
            inside = trace.set_span_in_context(span)
            peers = self._known(entry.record.policy_fingerprint, policy)
            for asked in entry.record.tape:
                self._call(asked, peers.get(asked.to, Peer("_OTHER")), inside)
            if entry.status >= 500:
                _failed(span, str(entry.status))
        span.end(_nanos(ended))

    def _call(self, asked: TapeEntry, peer: Peer, inside: Any) -> None:
        from opentelemetry.trace import SpanKind

        operation = _OPERATIONS.get(asked.kind)
        name = f"{operation or asked.kind} {peer.model or asked.to}"
        made = self._tracer.start_span(
            name, inside, SpanKind.CLIENT, _call_attributes(asked, peer, operation), start_time=_nanos(asked.began)
        )
        if asked.failure is not None:
            _failed(made, "timeout" if asked.failure.timeout else str(asked.failure.status or "_OTHER"))
        made.end(_nanos(asked.began + asked.cost.seconds))

    def _known(self, fingerprint: str, policy: Policy) -> dict[str, Peer]:
        if fingerprint not in self._peers:
            if len(self._peers) >= _PEERS:
                self._peers.clear()
            self._peers[fingerprint] = peers_of(policy)
        return self._peers[fingerprint]

    def close(self) -> None:
        """Send what waits, and end. Blocks, for as long as ``OTEL_EXPORTER_OTLP_TIMEOUT`` says at most: on a thread."""
        self._provider.shutdown()


def _request_attributes(entry: Entry, route: str) -> dict[str, str | bool | int | float]:
    record = entry.record
    made: dict[str, str | bool | int | float] = {
        "http.request.method": "POST",
        "http.route": route,
        "http.response.status_code": entry.status,
        "gate.decision_id": record.id,
        "gate.policy": record.policy,
        "gate.policy_fingerprint": record.policy_fingerprint,
        "gate.certified": record.certified,
        "gate.mode": entry.mode,
        "gate.retracted": entry.retracted,
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.input_tokens": record.cost.prompt_tokens,
        "gen_ai.usage.output_tokens": record.cost.completion_tokens,
        "gate.money_usd": record.cost.money,
    }
    if record.action is not None:
        made["gate.action"] = record.action.value
    if record.steps:
        decision = record.steps[-1].decision
        made["gate.reason"] = decision.reason
        if decision.confidence is not None:
            made["gate.confidence"] = decision.confidence.p
    return made


def _call_attributes(asked: TapeEntry, peer: Peer, operation: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {"gate.upstream": asked.to, "gate.effect": asked.kind}
    if operation is not None:
        made |= {"gen_ai.operation.name": operation, "gen_ai.provider.name": peer.provider}
    if peer.model:
        made["gen_ai.request.model"] = peer.model
    if peer.address:
        made["server.address"] = peer.address
    if peer.port is not None:
        made["server.port"] = peer.port
    if asked.n > 1:
        made["gen_ai.request.choice.count"] = asked.n
    if asked.cost.tokens:
        made["gen_ai.usage.input_tokens"] = asked.cost.prompt_tokens
        made["gen_ai.usage.output_tokens"] = asked.cost.completion_tokens
    if asked.generations is not None:
        made["gen_ai.response.finish_reasons"] = [choice.finish_reason for choice in asked.generations.choices]
        if asked.generations.model:
            made["gen_ai.response.model"] = asked.generations.model
    return made


def _peer(settings: EndpointSettings) -> Peer:
    said: Mapping[str, Any] = settings.model_extra or {}
    address = next((said[name] for name in ("base_url", "url") if isinstance(said.get(name), str)), "")
    parts = urlsplit(address)
    # servers that speak a vendor's dialect go under its name in the conventions, whoever runs them
    provider = "openai" if settings.kind.startswith("openai_") else settings.kind
    port = parts.port or _PORTS.get(parts.scheme)
    return Peer(provider, str(said.get("model", "")), parts.hostname or "", port)


def _failed(span: Span, kind: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def _nanos(seconds: float) -> int:
    return int(seconds * 1e9)
