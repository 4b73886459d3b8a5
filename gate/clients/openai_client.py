"""Clients of the ``openai`` library whose chat completions are gated. Imported only where there is such a client.

Gated: ``chat.completions.create`` (streamed too), ``.parse`` and ``.stream``, under ``beta.chat`` as well, and those of
clients made by ``with_options`` and ``copy``. Everything else is the wrapped client's own, ungated: responses, legacy
completions, and what asks for raw replies, ``with_raw_response`` and ``with_streaming_response``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from openai import APIStatusError

from gate.clients.chat_answers import chunks
from gate.clients.chat_call import Brought, ChatCall
from gate.clients.gating import Gating, Judged
from gate.clients.held_stream import HeldAsyncStream, HeldStream
from gate.clients.standing_in import StandIn, standing_in
from gate.effects import Generate
from gate.errors import first_of
from gate.types import Generations

C = TypeVar("C")


def gated(client: C, gating: Gating, kind: str) -> C:
    """``kind``: ``sync`` or ``async``. Raises `TypeError` for a client that is gated already."""
    if isinstance(client, StandIn):
        raise TypeError("this client is wrapped already: wrap the one it was made of")
    return standing_in(_Client if kind == "sync" else _AsyncClient, client, gating)


class _Client(StandIn):
    @property
    def gate(self) -> Gating:
        """The policy and the last decisions."""
        gating: Gating = self._gating
        return gating

    @property
    def chat(self) -> Any:
        return standing_in(_Chat, self._stood_for.chat, self._gating)

    @property
    def beta(self) -> Any:
        return standing_in(_Beta, self._stood_for.beta, self._gating)

    def copy(self, **options: Any) -> Any:
        return standing_in(_Client, self._stood_for.copy(**options), self._gating.shared())

    with_options = copy

    def close(self) -> None:
        self._stood_for.close()
        if self._gating.owned:
            self._gating.gate.close()


class _Beta(StandIn):
    @property
    def chat(self) -> Any:
        return standing_in(_Chat, self._stood_for.chat, self._gating)


class _Chat(StandIn):
    @property
    def completions(self) -> Any:
        return standing_in(_Completions, self._stood_for.completions, self._gating)


class _Completions(StandIn):
    def create(self, **fields: Any) -> Any:
        call = ChatCall(self._gating, fields)
        reply = self._judged(call, self._stood_for.create)
        if not call.streams:
            return reply
        pieces = chunks(reply, include_usage=call.include_usage)
        return HeldStream(pieces, reply.gate)

    def parse(self, **fields: Any) -> Any:
        return self._judged(ChatCall(self._gating, fields, parsing=True), self._stood_for.parse)

    def stream(self, **fields: Any) -> Any:
        """The library's own, over the stream that ``create`` gives here."""
        return type(self._stood_for).stream(self, **fields)

    def _judged(self, call: ChatCall, draft: Callable[..., Any]) -> Any:
        drafting = call.drafting()
        while True:
            try:
                reply = draft(**drafting.fields)
                break
            except APIStatusError as error:
                drafting.refused(error)
        drafting.answered()
        brought = call.brought(reply, drafting.calls, lambda effect: self._gather(call, effect))
        judge = self._gating.gate.judge_given
        return call.answer(reply, brought, [judge(*each, budget=call.budget) for each in brought])

    def _gather(self, call: ChatCall, effect: Generate) -> Generations:
        gathering = call.gathering(effect)
        while True:
            try:
                reply = self._stood_for.create(**gathering.fields)
                break
            except APIStatusError as error:
                gathering.refused(error)
        gathering.answered()
        return call.gathered(reply)


class _AsyncClient(_Client):
    @property
    def chat(self) -> Any:
        return standing_in(_AsyncChat, self._stood_for.chat, self._gating)

    @property
    def beta(self) -> Any:
        return standing_in(_AsyncBeta, self._stood_for.beta, self._gating)

    def copy(self, **options: Any) -> Any:
        return standing_in(_AsyncClient, self._stood_for.copy(**options), self._gating.shared())

    with_options = copy

    async def close(self) -> None:  # type: ignore[override]
        await self._stood_for.close()
        if self._gating.owned:
            await self._gating.gate.aclose()


class _AsyncBeta(StandIn):
    @property
    def chat(self) -> Any:
        return standing_in(_AsyncChat, self._stood_for.chat, self._gating)


class _AsyncChat(StandIn):
    @property
    def completions(self) -> Any:
        return standing_in(_AsyncCompletions, self._stood_for.completions, self._gating)


class _AsyncCompletions(StandIn):
    async def create(self, **fields: Any) -> Any:
        call = ChatCall(self._gating, fields)
        reply = await self._judged(call, self._stood_for.create)
        if not call.streams:
            return reply
        pieces = chunks(reply, include_usage=call.include_usage)
        return HeldAsyncStream(pieces, reply.gate)

    async def parse(self, **fields: Any) -> Any:
        return await self._judged(ChatCall(self._gating, fields, parsing=True), self._stood_for.parse)

    def stream(self, **fields: Any) -> Any:
        """The library's own, over the stream that ``create`` gives here."""
        return type(self._stood_for).stream(self, **fields)

    async def _judged(self, call: ChatCall, draft: Callable[..., Awaitable[Any]]) -> Any:
        drafting = call.drafting()
        while True:
            try:
                reply = await draft(**drafting.fields)
                break
            except APIStatusError as error:
                drafting.refused(error)
        drafting.answered()
        brought = call.brought(reply, drafting.calls, lambda effect: self._gather(call, effect))
        return call.answer(reply, brought, await self._each(call, brought))

    async def _each(self, call: ChatCall, brought: Brought) -> list[Judged]:
        """Several side by side. The first error calls off the others."""
        judge = self._gating.gate.ajudge_given
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(judge(*each, budget=call.budget)) for each in brought]
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None
        return [task.result() for task in tasks]

    async def _gather(self, call: ChatCall, effect: Generate) -> Generations:
        gathering = call.gathering(effect)
        while True:
            try:
                reply = await self._stood_for.create(**gathering.fields)
                break
            except APIStatusError as error:
                gathering.refused(error)
        gathering.answered()
        return call.gathered(reply)
