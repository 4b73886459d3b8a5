"""Drafts that are watched while they are written: streamed where an upstream can, else told of when they are whole.

Whoever watches is called where the flow is driven, so what a server or a model on another thread has written is handed
over to there, piece by piece, and each piece waits for the watcher's word.
"""

from __future__ import annotations

import asyncio
import dataclasses
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import aiohttp

from gate.drivers.retrying import MAX_BODY, too_long
from gate.drivers.world import Live, Value, completed
from gate.effects import STOPPED_EARLY, Generate, Request
from gate.live_ports import Grew, LiveLocalUpstream, LiveReply, LiveWireUpstream, Piece
from gate.ports import LocalEndpoint
from gate.spending import prompt_tokens
from gate.types import Generations, TokenLogprob, Usage

_UNCOUNTED = 2.0
"""Seconds that a server is given to count the tokens of an answer that is whole."""
_UNCLOSED = 0.1
"""Seconds that it is given to end a reply it has called over, so that its connection can be used again."""
_LOOK = 0.05
"""Seconds after which a model that waits for the watcher looks whether it is still asked."""
Tokens = tuple[TokenLogprob, ...]


@dataclass(slots=True)
class Watch:
    """One draft under the eyes of a watcher, over all attempts to get it."""

    live: Live
    grown: bool = False
    """Whether something was shown. Then an error is final: asking again cannot take it back."""
    stopped: bool = False
    written: int = 0
    """Tokens, or pieces where they hold none."""

    @classmethod
    def begun(cls, effect: Request, live: Live | None) -> Watch | None:
        """None where nobody watches, or the effect is no draft."""
        if live is None or not isinstance(effect, Generate) or not effect.live:
            return None
        live.begun(effect.live)
        return cls(live)

    def streams(self, effect: Request) -> TypeGuard[Generate]:
        """Whether this attempt is to be streamed, where the upstream can."""
        return isinstance(effect, Generate) and bool(effect.live) and effect.n == 1

    def grew(self, text: str, tokens: Tokens) -> bool:
        if not text and not tokens:
            return True
        self.grown = True
        self.written += len(tokens) or 1
        self.stopped = not self.live.grew(text, tokens)
        return not self.stopped

    async def sees(self, piece: Piece) -> bool:
        return self.grew(piece.text, piece.tokens)

    def done(self, effect: Request, reply: Value) -> Value:
        """The reply, with its draft as the watcher left it. What was not streamed is told of all at once."""
        if not isinstance(reply, Generations) or not isinstance(effect, Generate):
            return reply
        draft = reply.choices[0]
        if not self.grown:
            self.grew(draft.text, draft.tokens or ())
        if self.stopped:
            draft, usage = dataclasses.replace(draft, finish_reason=STOPPED_EARLY), reply.usage
            if not usage.prompt_tokens:  # servers count at the end, which did not come
                usage = Usage(prompt_tokens(effect.messages, effect.extra), usage.completion_tokens)
            reply = dataclasses.replace(reply, choices=(draft, *reply.choices[1:]), usage=usage)
        self.live.done(draft)
        return reply


# --- from a server -----------------------------------------------------------------------------------------------


async def read_live(
    endpoint: LiveWireUpstream, response: aiohttp.ClientResponse, sees: Callable[[Piece], Awaitable[bool]]
) -> Generations:
    """A streamed reply, each piece of which is shown. When that says so, the connection is closed at once."""
    reading, size = endpoint.live(response.status, response.headers), 0
    while True:
        data = await _more(response, reading)
        size += len(data)
        if size > MAX_BODY:
            raise too_long(endpoint.name)
        for piece in reading.feed(data):
            if not await sees(piece):
                response.close()
                return reading.so_far()
        if not data:
            return reading.reply()


async def _more(response: aiohttp.ClientResponse, reading: LiveReply) -> bytes:
    """The next bytes, or none at the end. Behind a whole answer neither a fault nor silence is any harm."""
    if not reading.whole:
        return await response.content.readany()
    try:
        async with asyncio.timeout(_UNCLOSED if reading.over else _UNCOUNTED):
            return await response.content.readany()
    except (TimeoutError, aiohttp.ClientError):
        response.close()
        return b""


# --- from a model in this process --------------------------------------------------------------------------------


class _Telling:
    """A local upstream that tells of its answer, as `completed` asks endpoints."""

    def __init__(self, upstream: LiveLocalUpstream, grew: Grew) -> None:
        self._upstream, self._grew = upstream, grew
        self.name, self.fingerprint = upstream.name, ""

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        return self._upstream.complete_live(effect, cancelled, self._grew)


@dataclass(frozen=True, slots=True)
class _Handed:
    """A piece on its way to the watcher, and the place of its word."""

    piece: Piece
    word: Future[bool] = field(default_factory=Future)

    def shown(self, watch: Watch) -> None:
        self.word.set_result(watch.grew(self.piece.text, self.piece.tokens))

    def awaited(self, cancelled: Callable[[], bool]) -> bool:
        """The word; False when nobody asks any more."""
        while not cancelled():
            try:
                return self.word.result(_LOOK)
            except TimeoutError:
                continue
        return False


async def complete_live(threads: Executor, endpoint: LiveLocalUpstream, effect: Generate, watch: Watch) -> Value:
    """The reply of a model on another thread, each piece of which is shown here, on the loop."""
    loop, cancelled = asyncio.get_running_loop(), threading.Event()
    pieces: asyncio.Queue[_Handed | None] = asyncio.Queue()

    def grew(text: str, tokens: Tokens) -> bool:
        handed = _Handed(Piece(text, tokens))
        loop.call_soon_threadsafe(pieces.put_nowait, handed)
        return handed.awaited(cancelled.is_set)

    call = loop.run_in_executor(threads, completed, _Telling(endpoint, grew), effect, cancelled.is_set)
    call.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        while (handed := await pieces.get()) is not None:
            handed.shown(watch)
        return call.result()
    finally:
        cancelled.set()
        call.cancel()


# --- to a thread that waits --------------------------------------------------------------------------------------


class Handover:
    """Pieces on their way to the thread that drives the flow, from whichever thread or loop they are written on."""

    def __init__(self, watch: Watch, given_up: Callable[[], bool]) -> None:
        self._watch, self._given_up = watch, given_up
        self._pieces: queue.SimpleQueue[_Handed | None] = queue.SimpleQueue()

    def telling(self, endpoint: LiveLocalUpstream) -> LocalEndpoint[Generate, Generations]:
        """The upstream, showing its pieces here."""
        return _Telling(endpoint, self._grew)

    def _grew(self, text: str, tokens: Tokens) -> bool:
        handed = _Handed(Piece(text, tokens))
        self._pieces.put(handed)
        return handed.awaited(self._given_up)

    async def sees(self, piece: Piece) -> bool:
        handed = _Handed(piece)
        handed.word.set_running_or_notify_cancel()  # whoever goes does not take the place of the word away
        self._pieces.put(handed)
        return await asyncio.wrap_future(handed.word)

    def show(self, futures: Sequence[Future[Any]], seconds: float | None) -> None:
        """Show pieces until one of the futures is done, or for so many seconds."""
        for future in futures:
            future.add_done_callback(lambda _: self._pieces.put(None))
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                handed = self._pieces.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if handed is None:
                return
            handed.shown(self._watch)
