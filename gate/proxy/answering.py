"""The way of a request through a gated door: who asks, what, of which policy; then its turn.

A policy that observes lets the first draft out as soon as it is whole, and decides behind it. Whatever is done after
the response has left (deciding, gathering the rest of the evidence) is done before the turn ends, so that it counts
among the requests at once, and a server that stops waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gate.errors import GateError, RequestError
from gate.ports import Price
from gate.proxy.attending import while_connected
from gate.proxy.doors import Door
from gate.proxy.exchange import ClientGone, Exchange
from gate.proxy.idempotency.once import HEADER
from gate.proxy.idempotency.recording import STATE
from gate.proxy.json_wire import dumps
from gate.proxy.keys import Client
from gate.proxy.limits import Admitted
from gate.proxy.request_fields import ChatRequest
from gate.proxy.service import Service
from gate.proxy.streaming import observe, stream
from gate.proxy.turn import Turn
from gate.proxy.wire_errors import wire_error
from gate.spending import prompt_tokens

Way = Callable[[Service, Door, Exchange], Awaitable[None]]
"""Serves a request. What it raises while nothing is sent is told in the door's shape."""
_UNGUESSED = 256
"""Tokens an answer is taken to have where its request sets no limit, until it is there."""


async def answer(service: Service, door: Door, exchange: Exchange, way: Way | None = None) -> None:
    """Serve one request, ``way`` being another than that of `DOORS`. What it raises is a fault, or ends the server."""
    try:
        await (way or _let_in)(service, door, exchange)
    except GateError as error:  # what comes later its turn answers
        refusal = wire_error(error)
        exchange.mark(refusal.headers)
        await exchange.reply(refusal.status, dumps(door.error(refusal)))
    except ClientGone:
        pass


async def _let_in(service: Service, door: Door, exchange: Exchange) -> None:
    client = who(service, exchange)
    body = await exchange.body()
    asked = door.parse(body)
    if HEADER not in exchange.headers:
        await serve(service, door, exchange, client, asked)
    elif service.once is None:
        exchange.mark({STATE: "off"})
        await serve(service, door, exchange, client, asked)
    else:

        async def work() -> None:
            await serve(service, door, exchange, client, asked)

        @asynccontextmanager
        async def repeating() -> AsyncIterator[None]:
            admitted = await marked(service, exchange, client, service.admit_repeat(client))
            answered = True
            try:
                yield
                answered = exchange.started
            finally:
                if answered:
                    service.settle(admitted, 0, 0.0)
                else:  # the first failed, and this one is let in anew in its place
                    service.refund(admitted)

        named, seconds = (client.name, door.name, body), asked.budget.seconds
        await service.once.answer(exchange, *named, work, repeating, skip=door.keep_alive, seconds=seconds)


def who(service: Service, exchange: Exchange) -> Client:
    """Who asks for a decision. Raises `RequestError`, also where none can be made now."""
    client = service.client(exchange, "ask")
    if service.refusing:
        said = "decisions cannot be logged now, and this server decides nothing unlogged; try again"
        raise RequestError(said, status=503, code="log_unavailable", retry_after=1)
    return client


async def serve(service: Service, door: Door, exchange: Exchange, client: Client, asked: ChatRequest) -> None:
    """A request that was read. What goes wrong in its turn the turn answers."""
    async with service.policies.using(service.policy_of(client, asked)) as gateway:
        turn = Turn(service, door, exchange, client, asked, gateway)
        turn.admitted = admitted = await _admitted(turn)
        try:
            async with turn:
                await _take(turn)
        finally:
            if exchange.superseded:  # it is a repeat of what was answered elsewhere
                service.settle(admitted, 0, 0.0)
            elif turn.unlogged or (turn.refused and not turn.tokens):
                service.refund(admitted)
            else:
                service.settle(admitted, turn.tokens, turn.money)


async def _admitted(turn: Turn) -> Admitted | None:
    service, client, asked = turn.service, turn.client, turn.asked
    return await admit(service, turn.exchange, client, lambda: asked.n * sum(_estimate(asked)), lambda: _money(turn))


async def admit(
    service: Service, exchange: Exchange, client: Client, tokens: Callable[[], int], money: Callable[[], float]
) -> Admitted | None:
    """`Service.admit`, with what the client has left in the headers of its response, whatever that will be."""
    return await marked(service, exchange, client, service.admit(client, tokens, money))


async def marked(
    service: Service, exchange: Exchange, client: Client, admitting: Awaitable[Admitted | None]
) -> Admitted | None:
    """Let it in, with what the client has left in the headers of its response, whatever that will be."""
    try:
        admitted = await admitting
    except RequestError:
        exchange.mark(service.left(client))
        raise
    if admitted is not None:
        exchange.mark(admitted.headers)
    return admitted


def _estimate(asked: ChatRequest) -> tuple[int, int]:
    """Tokens that a question will take, as far as can be told: of its prompt, and of its answer."""
    options = asked.question.options
    most = options.get("max_completion_tokens") or options.get("max_tokens") or _UNGUESSED
    return prompt_tokens(asked.question.messages, {}), int(most)


def _money(turn: Turn) -> float:
    """US dollars that a request will cost, as far as can be told: its first drafts at least, and where a policy does
    more than observe what its questions cost lately."""
    plan, (prompt, completion) = turn.gateway.plan, _estimate(turn.asked)
    price = plan.prices.get(plan.ladder[0], Price())
    draft = price.of(prompt, completion)
    usual = turn.service.usual_money.get(turn.gateway.name, 0.0) if turn.mode == "enforce" else 0.0
    return turn.asked.n * max(draft, usual)


async def _take(turn: Turn) -> None:
    if turn.mode == "observe":
        await observe(turn)
    elif turn.asked.stream:
        await stream(turn)
    else:
        await turn.tell(await while_connected(turn.exchange, turn.decide()))
