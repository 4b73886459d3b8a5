"""The ASGI application: routes, limits, and what happens when a client goes away.

Streaming is *hold*: the answer is judged first and streamed after, because what has left cannot be called back. The
response starts with the verdict, so its headers carry the decision.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gate.errors import GateError, RequestError, first_of, trace_of
from gate.proxy.wire import ChatRequest, chunks, completion, dumps, headers, parse_chat_request, wire_error
from gate.traces import TraceRecord
from gate.types import Budget, Certificate, Outcome, Question

log = logging.getLogger("gate.proxy")
MAX_BODY = 16 * 2**20
"""Bytes of a request: room for images; how much text a model takes is the upstream's to say."""
MAX_CONCURRENCY = 64
GATE_MODEL = "gate"
"""A model name every policy answers to."""


class Gateway(Protocol):
    """What the proxy needs of a gateway. See `gate.gateway.Gateway`."""

    @property
    def name(self) -> str: ...
    @property
    def policy_fingerprint(self) -> str: ...
    @property
    def certificate(self) -> Certificate | None: ...
    @property
    def void(self) -> tuple[str, ...]: ...
    @property
    def seen_void(self) -> tuple[str, ...]: ...

    async def aask(self, question: Question, *, budget: Budget | None = None) -> tuple[Outcome, TraceRecord]:
        """What it raises, cancellation and faults included, carries the trace: see `gate.errors.trace_of`."""
        ...

    async def aclose(self) -> None: ...


TraceSink = Callable[[TraceRecord], None]


class Proxy:
    """The endpoints of one gateway."""

    def __init__(self, gateway: Gateway, trace_sink: TraceSink | None, max_body: int, max_concurrency: int) -> None:
        self._gateway = gateway
        self._sink = trace_sink
        self._max_body = max_body
        self._free = max_concurrency

    async def chat(self, request: Request) -> Response:
        if self._free <= 0:
            return _error_response(503, "too many requests are being answered; try again", "overloaded", self._marks())
        self._free -= 1
        try:
            return await self._chat(request)
        finally:
            self._free += 1

    async def _chat(self, request: Request) -> Response:
        record = None
        try:
            asked = parse_chat_request(await self._body(request))
            self._check(asked.model)
            outcome, record = await self._unless_gone(request, asked)
        except GateError as error:
            await self._keep(error.trace)
            return self._refusal(error)
        await self._keep(record)
        marks = self._marks(record, outcome)
        if not asked.stream:
            return Response(dumps(completion(asked, outcome, record)), 200, marks, _JSON)
        events = chunks(asked, outcome, record)
        return StreamingResponse(events, 200, {**marks, "cache-control": "no-cache"}, "text/event-stream")

    async def _unless_gone(self, request: Request, asked: ChatRequest) -> tuple[Outcome, TraceRecord]:
        """The outcome; when the client closes its connection meanwhile, all work for it is cancelled at once."""
        found: tuple[Outcome, TraceRecord] | None = None
        failed: GateError | None = None
        left: TraceRecord | None = None

        async def answer() -> None:
            nonlocal found, failed, left
            try:
                found = await self._gateway.aask(asked.question, budget=asked.budget)
            except GateError as error:
                failed = error
            except anyio.get_cancelled_exc_class() as error:
                left = trace_of(error)
                raise
            group.cancel_scope.cancel()

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(answer)
                group.start_soon(watch)
        finally:
            with anyio.CancelScope(shield=True):  # also when it is the server that stops
                await self._keep(left)
        if failed is not None:
            raise failed
        if found is None:
            raise ClientDisconnect
        return found

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self._max_body:
                raise RequestError(f"the body is larger than {self._max_body} bytes", status=413)
        return bytes(body)

    async def _keep(self, record: TraceRecord | None) -> None:
        if self._sink is not None and record is not None:
            await anyio.to_thread.run_sync(self._sink, record)

    def _models(self) -> tuple[str, ...]:
        return (GATE_MODEL, self._gateway.name)

    def _check(self, model: str) -> None:
        if model not in self._models():
            known = ", ".join(self._models())
            raise RequestError(f"there is no model {model!r}; there is: {known}", param="model", status=404)

    def _refusal(self, error: GateError) -> Response:
        wire = wire_error(error)
        return Response(dumps(wire.body), wire.status, {**self._marks(error.trace), **wire.headers}, _JSON)

    def _certificate(self, record: TraceRecord | None = None) -> str:
        if self._gateway.certificate is None:
            return "none"
        seen = (reason for step in (record.steps if record else ()) for reason in step.void)
        void = (*self._gateway.void, *dict.fromkeys(seen))
        return f"void; {'; '.join(void)}" if void else "certified"

    def _marks(self, record: TraceRecord | None = None, outcome: Outcome | None = None) -> dict[str, str]:
        policy = f"{self._gateway.name}@{self._gateway.policy_fingerprint[:12]}"
        return headers(policy, self._certificate(record), record, outcome)

    async def unexpected(self, request: Request, error: Exception) -> Response:
        """A fault of gate's own. Starlette logs nothing of the request; neither do we."""
        log.error("unexpected %s while answering", type(first_of(error)).__name__)
        record = trace_of(error)
        await self._keep(record)
        said = "an unexpected error in gate; the server's log has more"
        return _error_response(500, said, "internal_error", self._marks(record))

    async def models(self, request: Request) -> Response:
        listed = [_model(name) for name in self._models()]
        return Response(dumps({"object": "list", "data": listed}), media_type=_JSON)

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            self._check(name)
        except RequestError as error:
            return self._refusal(error)
        return Response(dumps(_model(name)), media_type=_JSON)

    async def healthz(self, request: Request) -> Response:
        return Response(dumps({"status": "ok"}), media_type=_JSON)

    async def readyz(self, request: Request) -> Response:
        shown = {
            "status": "ready",
            "policy": self._gateway.name,
            "policy_fingerprint": self._gateway.policy_fingerprint,
            "certificate": self._certificate(),
            "seen_void": list(self._gateway.seen_void),
        }
        return Response(dumps(shown), media_type=_JSON)


_JSON = "application/json"


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "gate"}


def create_app(
    gateway: Gateway,
    *,
    trace_sink: TraceSink | None = None,
    max_body_bytes: int = MAX_BODY,
    max_concurrency: int = MAX_CONCURRENCY,
) -> Starlette:
    """The application. ``trace_sink`` gets every question's trace on a thread, also if it failed or its caller left."""
    proxy = Proxy(gateway, trace_sink, max_body_bytes, max_concurrency)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await gateway.aclose()

    return Starlette(
        routes=[
            Route("/v1/chat/completions", proxy.chat, methods=["POST"]),
            Route("/v1/models", proxy.models),
            Route("/v1/models/{name:path}", proxy.model),
            Route("/healthz", proxy.healthz),
            Route("/readyz", proxy.readyz),
        ],
        exception_handlers={HTTPException: _http_exception, ClientDisconnect: _gone, Exception: proxy.unexpected},
        lifespan=lifespan,
    )


def _error_response(status: int, message: str, code: str, marks: dict[str, str] | None = None) -> Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    after = {"retry-after": "1"} if status == 503 else {}
    return Response(dumps(body), status, {**(marks or {}), **after}, _JSON)


def _http_exception(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    known = "POST /v1/chat/completions, GET /v1/models, GET /v1/models/{name}, GET /healthz, GET /readyz"
    said = "no such path" if status == 404 else "no such method here" if status == 405 else "refused"
    return _error_response(status, f"{said}; there is: {known}", "not_found" if status == 404 else "bad_method")


def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it: the client has closed the connection
