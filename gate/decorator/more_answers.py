"""How a guarded call gets more answers: from its function again, from the captured client, or not at all.

Only what the guard was told to allow is done. What is not is refused, with the reason: the evidence that needed it is
then missing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from dataclasses import replace
from functools import cache
from typing import Any

from gate.answer_shapes import Read
from gate.decorator.capturing import TOP_LOGPROBS, Request, generations
from gate.effects import Generate
from gate.errors import UpstreamError
from gate.given import BROUGHT, More
from gate.ports import Profile
from gate.types import Cost, Generations

NOT_ALLOWED = (
    "gives no more answers: a guarded function is called again only with samples='again', "
    "and its request repeated only with samples='captured'"
)
SEVERAL = "gives no more answers: its call made {} requests through captured clients, and only one can be repeated"
NO_REQUEST = "gives no more answers: its call made no request through a client that gate.capture gave"
CHANGED = "gives no more answers: it returned something else than the captured reply says; use samples='again'"
ASYNCHRONOUS = "gives no more answers: the captured client is asynchronous, and the guarded function is not"
_AGAIN = Profile(n=1, seed=False)
_IN_A_SAMPLE: ContextVar[bool] = ContextVar("gate_in_a_sample", default=False)


def in_a_sample() -> bool:
    """Whether all this runs for a sample of some guarded function: nothing in it is judged by itself."""
    return _IN_A_SAMPLE.get()


def refusing(why: str, *, awaited: bool) -> More:
    """Nobody is asked, and nothing is spent."""

    def refuse(effect: Generate) -> Generations:
        error = UpstreamError(effect.upstream, why, unsent=True)
        error.cost = Cost()
        raise error

    async def refuse_later(effect: Generate) -> Generations:
        return refuse(effect)

    return More(refuse_later if awaited else refuse, BROUGHT, own_words=True)


# --- calling the function again ----------------------------------------------------------------------------------


def again(once: Callable[[], Any], read: Callable[[Any], Read], context: Context, *, side_by_side: bool) -> More:
    """``once`` calls the function, in a copy of the context that its first call was made in."""

    def ask(effect: Generate) -> Generations:
        return context.copy().run(_sampled, once, read)

    return More(ask, _AGAIN, side_by_side=side_by_side)


def again_later(once: Callable[[], Awaitable[Any]], read: Callable[[Any], Read], *, side_by_side: bool) -> More:
    """``once`` gives a coroutine. Side by side it runs in a task of its own."""

    async def ask(effect: Generate) -> Generations:
        token = _IN_A_SAMPLE.set(True)
        try:
            return read(await once()).alone
        finally:
            _IN_A_SAMPLE.reset(token)

    return More(ask, _AGAIN, side_by_side=side_by_side)


def _sampled(once: Callable[[], Any], read: Callable[[Any], Read]) -> Generations:
    _IN_A_SAMPLE.set(True)
    return read(once()).alone


# --- repeating its request ---------------------------------------------------------------------------------------


def repeated(request: Request, profile: Profile | None, count: Callable[[], None], *, side_by_side: bool) -> More:
    """``profile`` is of the upstream that is asked, where a policy knows it. ``count`` is told of each request."""

    def ask(effect: Generate) -> Generations:
        count()
        return generations(request.function(**request.like(effect)))

    return More(ask, _capabilities(profile, request.logprobs), anything=True, side_by_side=side_by_side)


def repeated_later(request: Request, profile: Profile | None, count: Callable[[], None], *, side_by_side: bool) -> More:
    """The same on an event loop. A client that blocks is asked on a thread."""

    async def ask(effect: Generate) -> Generations:
        count()
        fields = request.like(effect)
        if request.awaited:
            return generations(await request.function(**fields))
        return generations(await asyncio.to_thread(request.function, **fields))

    return More(ask, _capabilities(profile, request.logprobs), anything=True, side_by_side=side_by_side)


@cache
def _capabilities(profile: Profile | None, logprobs: bool) -> Profile:
    """What a captured client is asked for: nothing that its server may not take, unless the policy says it does."""
    known = profile or Profile(top_logprobs=TOP_LOGPROBS, n=1, seed=False)
    alternatives = known.top_logprobs if logprobs else 0
    return replace(known, logprobs=logprobs, top_logprobs=alternatives, stream=False, states=False)


def same_answer(returned: str, said: str) -> bool:
    """Whether a function returned what its model said: the same words, or the same JSON."""
    if returned.strip() == said.strip():
        return True
    try:
        return bool(json.loads(returned) == json.loads(said))
    except (ValueError, RecursionError):
        return False
