"""The door for a LiteLLM proxy that has gate judge its answers: its generic guardrail API, served.

A request (LiteLLM's ``pre_call`` or ``during_call``) is let through at once: whether an answer is right can be told
only once there is one. Its conversation is noted, for the answer (``post_call``) comes without it. The answer then
takes its turn like a question of any door, but that it is there already. One whose question is not known is not judged:
an error says so, at which LiteLLM fails as it is set to. Where the policy only observes, it goes out.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Any

from gate.errors import RequestError
from gate.gateway import Gateway
from gate.proxy.answering import admit, answer, serve, who
from gate.proxy.chat_replies import ChatEvents
from gate.proxy.doors import Door
from gate.proxy.exchange import Exchange
from gate.proxy.guardrail_replies import NONE, blocked, verdict
from gate.proxy.guardrail_requests import OPTIONS, Shown, parse_guardrail_request, question_in
from gate.proxy.json_logs import request_id
from gate.proxy.json_wire import KEEP_ALIVE, dumps
from gate.proxy.keys import Client
from gate.proxy.request_fields import ChatRequest
from gate.proxy.service import NAME_SHOWN, Service
from gate.proxy.wire_errors import WireError
from gate.types import Question

log = logging.getLogger("gate.proxy")
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_UNKNOWN = (
    "the question that this answers is not known here: LiteLLM shows it where the guardrail's mode holds pre_call or "
    "during_call beside post_call, and both calls must reach the same server"
)


def _asked(body: bytes) -> ChatRequest:
    return parse_guardrail_request(body).asked


def _openai(error: WireError) -> dict[str, Any]:
    return error.body


GUARDRAIL = Door(
    "guardrail",
    "/beta/litellm_basic_guardrail_api",
    _asked,
    verdict,
    ChatEvents,  # never used: no reply of it streams
    _openai,
    KEEP_ALIVE,
)


_UNSEEN = (
    "an answer that brings neither text nor calls of tools (an image, audio …) cannot be judged: it does not go out"
)


async def guard(service: Service, exchange: Exchange) -> None:
    """Serve one call of the guardrail. What it raises is a fault, or ends the server."""
    await answer(service, GUARDRAIL, exchange, _shown)


async def _shown(service: Service, door: Door, exchange: Exchange) -> None:
    client = who(service, exchange)
    shown = parse_guardrail_request(await exchange.body())
    gateway = _gateway(service, client, shown)
    if _ID.fullmatch(shown.call):
        exchange.request_id = shown.call  # whatever is logged is then found by what LiteLLM calls it
        request_id.set(shown.call)
    brought, held = shown.asked.brought, service.conversations
    judged = brought is not None and bool(brought.answers)
    try:
        if judged:
            asked = replace(shown.asked, question=await _question(service, client, shown))
        else:
            await _noted(service, exchange, client, shown)
            if shown.answers:
                raise RequestError(_UNSEEN, param="texts", status=422, code="answer_unseen")
    except RequestError as error:
        enforced = gateway.policy.serving.mode == "enforce"
        if enforced and error.code == "answer_unseen":
            log.warning("%s", error)
            exchange.mark({"x-gate-action": "abstain", "x-gate-reason": "unseen"})
            await exchange.reply(200, dumps(blocked(str(error))))
            return
        if enforced or error.status == 429:
            raise
        if not held.missed:  # else it would be a line a request until somebody has changed the settings
            log.warning("an answer that is only observed cannot be judged: %s", error)
        held.missed, judged = True, False
        exchange.mark({"x-gate-mode": "observe"})
    if judged:
        held.missed = False
        await serve(service, door, exchange, client, asked)
    else:
        await exchange.reply(200, dumps(NONE))


async def _question(service: Service, client: Client, shown: Shown) -> Question:
    """What an answer is to. Raises `RequestError` where that is not known."""
    conversation = shown.conversation
    if conversation is None and shown.call:
        conversation = await service.conversations.find(client.name, shown.call)
    if conversation is None:
        raise RequestError(_UNKNOWN, param="litellm_call_id", status=409, code="conversation_unknown")
    return question_in(conversation)


async def _noted(service: Service, exchange: Exchange, client: Client, shown: Shown) -> None:
    """Of a request its conversation. It counts as a request of the client's, for it takes room."""
    admitted = await admit(service, exchange, client, lambda: 0, lambda: 0.0)
    try:
        if shown.conversation is not None and shown.call and not shown.answers:
            await service.conversations.note(client.name, shown.call, shown.conversation)
    finally:
        service.settle(admitted, 0, 0.0)


def _gateway(service: Service, client: Client, shown: Shown) -> Gateway:
    """That of the policy it is for. Raises `RequestError`: also before there is an answer, so that a setting which
    names what is not there costs no call of a model."""
    mine, wanted = service.policies_of(client), shown.asked.policy
    if wanted is not None and wanted not in mine:
        said = f"there is no policy {wanted[:NAME_SHOWN]!r}; there is: {', '.join(mine)}"
        raise RequestError(said, param=f"{OPTIONS}.policy", status=404, code="policy_not_found")
    gateway = service.policies.get(wanted or mine[0])
    ladder = gateway.plan.ladder
    if shown.written_by and shown.written_by not in ladder:
        said = f"{shown.written_by!r} is not in the ladder of the policy {gateway.name!r}: {', '.join(ladder)}"
        raise RequestError(said, param=f"{OPTIONS}.written_by", code="upstream_not_found")
    return gateway
