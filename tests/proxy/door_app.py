"""The doors behind a real server, with no more of an application around them than they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gate.errors import GateError
from gate.proxy.doors import DOORS, Door
from gate.proxy.json_wire import dumps
from gate.proxy.request_fields import ChatRequest
from gate.proxy.verdicts import abstained, abstention_error
from gate.proxy.wire_errors import WireError, wire_error
from gate.types import Outcome
from tests.proxy.asking import decided
from tests.proxy.live_server import live


@contextmanager
def doors(answer: Callable[[ChatRequest], Outcome], asked: list[ChatRequest]) -> Iterator[str]:
    """The base address. What was asked is put into the list. Streams begin as a slow verdict's would."""

    def route(door: Door) -> Route:
        def refused(error: WireError) -> Response:
            return Response(dumps(door.error(error)), error.status, dict(error.headers), "application/json")

        async def serve(request: Request) -> Response:
            try:
                wanted = door.parse(await request.body())
                asked.append(wanted)
                made = decided(*(answer(wanted) for _ in range(wanted.n)))
            except GateError as error:
                return refused(wire_error(error))
            if wanted.abstention == "error" and abstained(made):
                return refused(abstention_error(made, explain=wanted.explain))
            if not wanted.stream:
                return Response(dumps(door.reply(wanted, made)), media_type="application/json")

            def stream() -> Iterator[bytes]:
                yield door.keep_alive
                yield from door.events(wanted, made)

            return StreamingResponse(stream(), media_type="text/event-stream")

        return Route(door.path, serve, methods=["POST"])

    with live(Starlette(routes=[route(door) for door in DOORS])) as url:
        yield url
