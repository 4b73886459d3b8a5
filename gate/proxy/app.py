"""The ASGI application of one worker: the gated doors, the other endpoints, the dashboard, and what runs beside them.

The doors come first, and past Starlette: its routing and its request and response objects would take as long as
deciding does. Everything else is Starlette's.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gate.errors import GateError, first_of
from gate.proxy.admission import Admission
from gate.proxy.answering import answer
from gate.proxy.doors import DOORS
from gate.proxy.endpoints import Endpoints, error_response, not_found
from gate.proxy.exchange import Exchange
from gate.proxy.guardrail import GUARDRAIL, guard
from gate.proxy.json_logs import request_id
from gate.proxy.key_watch import KeyWatch
from gate.proxy.limits import SharedLimiter
from gate.proxy.service import Service
from gate.proxy.wire_errors import FAULT

log = logging.getLogger("gate.proxy")
_SHARE_EVERY = 5.0
"""Seconds after which a worker writes down what it counted, for the others to show."""


def create_app(service: Service, more: Sequence[BaseRoute] = (), on_end: Callable[[], None] | None = None) -> ASGIApp:
    """The application. ``more``: routes of the dashboard. ``on_end`` runs on a thread once all requests are over."""
    endpoints = Endpoints(service)
    shared = service.limiter.counters if isinstance(service.limiter, SharedLimiter) else None

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_watch_files, service)
                group.start_soon(_share, service)
                if shared is not None:
                    await shared.prepare()
                    group.start_soon(shared.run)
                if service.once is not None:
                    group.start_soon(service.once.run)
                if service.watch is not None:
                    group.start_soon(service.watch.run, service.policies)
                yield
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await _close(service, endpoints)
                if on_end is not None:
                    await anyio.to_thread.run_sync(on_end)

    routes = [
        Route("/v1/models", endpoints.models),
        Route("/v1/models/{name:path}", endpoints.model),
        Route("/v1/completions", endpoints.completions, methods=["POST"]),
        Route("/v1/embeddings", endpoints.embeddings, methods=["POST"]),
        Route("/v1/feedback", endpoints.feedback, methods=["POST"]),
        Route("/healthz", endpoints.healthz),
        Route("/readyz", endpoints.readyz),
        Route("/metrics", endpoints.metrics),
        Route("/openapi.json", endpoints.openapi),
    ]
    known = ", ".join((*(f"POST {door.path}" for door in (*DOORS, GUARDRAIL)), *map(_shown, routes)))
    doors = {door.path for door in (*DOORS, GUARDRAIL)}

    async def lost(request: Request, error: Exception) -> Response:
        status, headers = 500, {}
        if request.url.path in doors:  # by another method than theirs
            status, headers = 405, {"allow": "POST"}
        elif isinstance(error, HTTPException):
            status, headers = error.status_code, dict(error.headers or {})
        return error_response(not_found(known, status, headers))

    handlers = {HTTPException: lost, ClientDisconnect: _gone, GateError: endpoints.refused}
    rest = Starlette(routes=[*routes, *more], exception_handlers=handlers, lifespan=lifespan)
    rest.router.redirect_slashes = False  # to an address that the client's own header names
    admission = Admission(
        ServerErrorMiddleware(Doors(service, rest), handler=_fault), service.settings.limits, known=service.known
    )
    service.metrics.watch_requests(lambda: (admission.under_way, admission.waiting))
    service.metrics.faults.watch_refused(lambda: (admission.turned_away, admission.shed))
    service.metrics.faults.watch_upstreams(service.upstreams)
    service.policies.on_end = service.note_upstreams
    return admission


async def _close(service: Service, endpoints: Endpoints) -> None:
    await endpoints.aclose()
    if isinstance(service.limiter, SharedLimiter):
        await service.limiter.counters.aclose()
    if service.once is not None:
        await service.once.aclose()
    if service.store is not None:
        await service.store.aclose()
    await service.policies.aclose()


def _shown(route: Route) -> str:
    method = "POST" if "POST" in (route.methods or ()) else "GET"
    return f"{method} {route.path.replace(':path', '')}"


class Doors:
    """Takes what is for a gated door; the rest is for whoever comes next."""

    def __init__(self, service: Service, rest: ASGIApp) -> None:
        self._service = service
        self._rest = rest
        self._doors = {door.path: door for door in DOORS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        request_id.set(scope["state"]["request_id"])
        door = self._doors.get(scope["path"]) if scope["method"] == "POST" else None
        if door is not None:
            await answer(self._service, door, Exchange(scope, receive, send))
        elif scope["path"] == GUARDRAIL.path and scope["method"] == "POST":
            await guard(self._service, Exchange(scope, receive, send))
        else:
            await self._rest(scope, receive, send)


async def _fault(request: Request, error: Exception) -> Response:
    """Of a fault of gate's own; its traceback is the server's to log, without its words. At a door it was answered."""
    log.error("unexpected %s while answering", type(first_of(error)).__name__)
    return error_response(FAULT)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it: the client has closed the connection


async def _watch_files(service: Service) -> None:
    """Serve what changes on disk: policies, and keys."""
    keys = KeyWatch(service)
    async with anyio.create_task_group() as group:
        group.start_soon(keys.run)
        await service.policies.watch(poll=service.settings.reload, on_hangup=(keys.poke,))


async def _share(service: Service) -> None:
    """Let other workers show what this one counted, and the metrics how certificates stand."""
    known: set[str] = set()
    while True:
        served = {gateway.name: gateway for gateway in service.policies.all()}
        for name in known - served.keys():
            service.metrics.forget(name)
        known = {*served}
        for name, gateway in served.items():
            service.metrics.certificate(name, bool(gateway.void) if gateway.certificate else None)
        try:
            await anyio.to_thread.run_sync(service.metrics.share)
        except OSError as error:
            log.error("the workers' counts cannot be shared: %s", error.strerror)
        await anyio.sleep(_SHARE_EVERY)
