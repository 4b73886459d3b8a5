"""The endpoints beside the gated doors: models, feedback, health, metrics, and what is passed through unjudged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

import anyio
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gate import __version__
from gate.errors import GateError, RequestError, UpstreamError
from gate.gateway import Gateway
from gate.log.kept import Kept, Label, Source
from gate.log.opening import DecisionLog
from gate.proxy.exchange import Exchange
from gate.proxy.idempotency.once import HEADER
from gate.proxy.idempotency.recording import STATE
from gate.proxy.json_wire import dumps, loads
from gate.proxy.keys import ANY_MODEL, Client, Role
from gate.proxy.limits import SharedLimiter
from gate.proxy.metrics import CONTENT_TYPE
from gate.proxy.openapi import document
from gate.proxy.passing import Passed, PassThrough, Path, Target, target_of, targets_of, tokens_in
from gate.proxy.request_fields import checked
from gate.proxy.service import GATE_MODEL, NAME_SHOWN, Service
from gate.proxy.wire_errors import WireError, http_error, wire_error

_JSON = "application/json"
_LOGGED = 0.2
"""Seconds after which a decision just made can be read in the log, whichever worker made it."""
Words = Annotated[str, Field(max_length=10_000)]


class Feedback(BaseModel):
    """What somebody says of an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    decision_id: str = Field(min_length=1, max_length=64)
    """The ``x-gate-decision-id`` of the response."""
    correct: bool | None = None
    note: Words = ""
    answer: Words = ""
    """What would have been right."""


class Endpoints:
    """Those of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._passing = PassThrough()
        self._document = dumps(document(__version__))
        self._targets: dict[str, tuple[Gateway, tuple[Target, ...]]] = {}

    async def aclose(self) -> None:
        await self._passing.aclose()

    # --- models --------------------------------------------------------------------------------------------------

    async def models(self, request: Request) -> Response:
        client = self._client(request, "ask")
        listed = [_model(name) for name in (GATE_MODEL, *self._service.policies_of(client))]
        return _json({"object": "list", "data": listed})

    async def model(self, request: Request) -> Response:
        client, name = self._client(request, "ask"), request.path_params["name"]
        known = (GATE_MODEL, *self._service.policies_of(client))
        if name not in known:
            said = f"there is no model {name[:NAME_SHOWN]!r}; there is: {', '.join(known)}"
            raise RequestError(said, param="model", status=404)
        return _json(_model(name))

    # --- passed through ------------------------------------------------------------------------------------------

    async def completions(self, request: Request) -> Response:
        return await self._pass(request, "completions")

    async def embeddings(self, request: Request) -> Response:
        return await self._pass(request, "embeddings")

    async def _pass(self, request: Request, path: Path) -> Response:
        service, client = self._service, self._client(request, "ask")
        body = await request.body()
        mine = service.policies_of(client)
        targets = tuple(target for name in mine for target in self._targets_of(service.policies.get(name)))
        ours, reply = (GATE_MODEL, *mine), None

        def foreseen() -> float:
            return tokens_in(body) * service.price(target_of(path, body, targets, ours).name).prompt / 1e6

        admitted = await service.admit(client, lambda: tokens_in(body), foreseen)

        def over(passed: Passed) -> None:
            service.metrics.passed(path, passed.status)
            price = service.price(passed.upstream)
            prompt, completion = passed.usage.prompt_tokens, passed.usage.completion_tokens
            service.settle(admitted, prompt + completion, price.of(prompt, completion))

        allowed = None if ANY_MODEL in client.models else client.models
        try:
            reply = await self._passing.forward(path, request, body, targets, ours=ours, allowed=allowed, over=over)
        except RequestError:
            service.refund(admitted)
            raise
        except ClientDisconnect:  # what the upstream had done by then nobody knows
            if admitted is not None:
                service.settle(admitted, tokens_in(body), foreseen())
            raise
        except UpstreamError as error:
            service.metrics.passed(path, wire_error(error).status)
            raise
        finally:
            if reply is None:  # else it is settled once it has been sent
                service.settle(admitted, 0, 0.0)
        if admitted is not None:
            reply.headers.update(admitted.headers)
        if HEADER.decode() in request.headers:
            reply.headers[STATE] = "off"  # it was not forwarded, and means nothing here
        return reply

    def _targets_of(self, gateway: Gateway) -> tuple[Target, ...]:
        """The servers behind a policy, looked up once while it is served."""
        known, targets = self._targets.get(gateway.name, (None, ()))
        if known is not gateway:
            targets = targets_of(gateway.world)
            self._targets[gateway.name] = gateway, targets
        return targets

    # --- feedback ------------------------------------------------------------------------------------------------

    async def feedback(self, request: Request) -> Response:
        """Label a decision: of one's own, or, with the role ``review``, of a policy that one may use; an admin any.

        Only what a reviewer or an admin says is a review: others are not asked, and tell of what strikes them.
        """
        service, client = self._service, self._client(request, "feedback", "review", "admin")
        said = checked(Feedback, loads(await request.body()))
        if service.log is None or service.watch is None:
            raise RequestError("no decision log is kept here, so none can be labelled", status=404, code="no_log")
        admitted = await service.admit(client, lambda: 0, lambda: 0.0)
        try:
            kept = await self._decision(service.log, client, said.decision_id)
            # without ``correct`` it is a note; with null, it says that it cannot be told
            reviewed = "correct" in said.model_fields_set and (client.may("review") or client.may("admin"))
            source: Source = "review" if reviewed else "feedback"
            label = Label(kept.id, said.correct, client.name, source, note=said.note, answer=said.answer)
            await service.watch.label(label, service.policies)
        finally:
            service.settle(admitted, 0, 0.0)
        headers = None if admitted is None else admitted.headers
        return _json({"id": kept.id, "kept": True}, headers=headers)

    async def _decision(self, log: DecisionLog, client: Client, decision: str) -> Kept:
        """One that the client may label. Raises `RequestError` (404) for another's as for one that is not there, and
        takes as long."""
        for pause in (0.0, _LOGGED):
            await anyio.sleep(pause)
            kept = await anyio.to_thread.run_sync(log.reader.find, decision)
            if kept is not None and _may_label(client, kept):
                return kept
        raise RequestError("there is no such decision", param="decision_id", status=404, code="decision_not_found")

    # --- operations ----------------------------------------------------------------------------------------------

    async def healthz(self, request: Request) -> Response:
        """Whether the process answers at all."""
        return _json({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """Whether requests can be served. What else there is to know is for those with a key that may know it."""
        service = self._service
        refusing = service.refusing
        shown: dict[str, Any] = {"status": "log_unavailable" if refusing else "ready"}
        if self._may_look(request):
            default = service.policies.default
            shown |= self._state(default)
            shown["policies"] = [self._state(gateway) for gateway in service.policies.all()]
            shown["reload_error"] = service.policies.reload_error or None
            if service.log is not None:
                writer = service.log.writer
                counts = {"written": writer.written, "dropped": writer.dropped, "failed": writer.failed}
                shown["log"] = {"place": service.log.place, "waiting": writer.waiting, **counts}
            if isinstance(service.limiter, SharedLimiter) and service.store is not None:
                shown["shared"] = {"place": service.store.place, **service.limiter.counters.counts._asdict()}
        return _json(shown, 503 if refusing else 200)

    async def metrics(self, request: Request) -> Response:
        self._client(request, "metrics", "admin")
        return Response(await anyio.to_thread.run_sync(self._service.metrics.render), media_type=CONTENT_TYPE)

    async def openapi(self, request: Request) -> Response:
        return Response(self._document, media_type=_JSON)

    def _state(self, gateway: Gateway) -> dict[str, Any]:
        watch = self._service.watch
        return {
            "policy": gateway.name,
            "policy_fingerprint": gateway.policy_fingerprint,
            "mode": gateway.policy.serving.mode,
            "certificate": self._service.certificate(gateway),
            "seen_void": list(gateway.seen_void),
            "not_asked": _not_asked(gateway),
            "promise": None if watch is None else watch.state(gateway.name),
        }

    def _may_look(self, request: Request) -> bool:
        try:
            self._client(request, "admin", "metrics")
        except RequestError:
            return False
        return True

    def _client(self, request: Request, *roles: Role) -> Client:
        return self._service.client(Exchange(request.scope, request.receive, None), *roles)

    # --- errors --------------------------------------------------------------------------------------------------

    async def refused(self, request: Request, error: Exception) -> Response:
        """Fits Starlette's exception handlers, for `GateError`."""
        return error_response(wire_error(cast("GateError", error)))


def _not_asked(gateway: Gateway) -> dict[str, dict[str, Any]]:
    """Who is left alone because it kept failing, and how long still. Requests are served all the same."""
    breakers = {name: health.breaker for name, health in gateway.world.health.items()}
    return {
        name: {"state": breaker.state.name.lower(), "seconds": round(breaker.seconds_left, 1), "why": breaker.why}
        for name, breaker in breakers.items()
        if breaker is not None and not breaker.closed
    }


def error_response(error: WireError) -> Response:
    return Response(dumps(error.body), error.status, dict(error.headers), _JSON)


def not_found(known: str, status: int, headers: Mapping[str, str]) -> WireError:
    """Of a request that is for no endpoint: 404, or 405 where it is the method that is wrong."""
    said, code = ("no such path", "not_found") if status == 404 else ("no such method here", "bad_method")
    return http_error(status, f"{said}; there is: {known}", code, headers=headers)


def _may_label(client: Client, kept: Kept) -> bool:
    if client.may("admin") or kept.key == client.name:
        return True
    return client.may("review") and (not client.policies or kept.policy in client.policies)


def _json(shown: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(dumps(shown), status, headers, _JSON)


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "gate"}
