"""Answering a request with an idempotency key once, however often and wherever it comes.

The first to come holds the key while it works. Who comes meanwhile waits for its response, and gets the same; so does
who comes later. Where nothing was decided, because it failed, its client left or its server was killed, the key is
free again, and one of those who wait, or the next to come, tries anew. A repeat is one of the requests that its client
may have under way and make in a minute; no token and no money is counted, and no decision is logged.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import secrets
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from typing import Literal

from gate.errors import RequestError
from gate.proxy.attending import while_connected
from gate.proxy.exchange import Exchange
from gate.proxy.idempotency.key_store import Found, Held, KeyStore, ResponseUnread
from gate.proxy.idempotency.recording import REPLAYED, STATE, Recorder, Response
from gate.proxy.idempotency.sealing import Scope
from gate.proxy.settings import IdempotencySettings
from gate.state.circuit import StoreDown

log = logging.getLogger("gate.proxy")
HEADER, PARAM = b"idempotency-key", "Idempotency-Key"
Outcome = Literal["first", "freed", "replayed", "reused", "in_progress", "not_kept", "unavailable", "lost"]
"""What became of a request with a key. ``freed``: it came to no decision; ``lost``: its response was not kept, though
it was decided."""
_KEY = re.compile(r"[!-~]{1,255}")
_FIRST_LOOK, _LAST_LOOK = 0.02, 0.5
"""Seconds between two looks at what another process works on: first, and after a while."""
_AGAIN = 0.25
"""Seconds until a store that was away is told again."""
_SWEEP = 60.0
"""Seconds between two sweeps, whatever came of the first."""
_AT_ONCE = 100
"""Of what is small, told between two looks at whether leases are to be renewed."""
_LAST = 2.0
"""Seconds in which what waits is still written when the server stops."""
MOST_BYTES = 64 * 2**20
"""Of all responses that wait for a store that is away. Of what finds no room there only the key is kept."""
MOST_WAITING = 10_000
"""Keys that wait for it to be freed, or kept without a response."""
MOST_REPEATS = 4
"""Requests of one key that wait in a worker for another's response; more are told at once to come again."""


@dataclass(frozen=True, slots=True)
class _Ending:
    """What a store that was away is still to be told of a key: that it is free, or its response."""

    held: Held
    frees: bool
    content: bytes | None = None


class Once:
    """One worker's. Belongs to one event loop, where `run` runs."""

    def __init__(
        self,
        store: KeyStore,
        settings: IdempotencySettings | None = None,
        *,
        lease: float = 15.0,
        secret: bytes = b"",
        when_down: Literal["refuse", "local"] = "refuse",
        told: Callable[[Outcome], object] | None = None,
    ) -> None:
        """``lease``: seconds after which the key of a worker that is no more is free. ``when_down``: with ``local`` a
        request is answered without its key, and told so, while the store is away. ``told``: counts."""
        self._store = store
        self._settings = settings or IdempotencySettings()
        self._lease = lease
        self._secret = secret
        self._when_down = when_down
        self._told = told or (lambda _: None)
        self._held: dict[str, Held] = {}
        self._working: dict[str, asyncio.Event] = {}
        self._decided: set[str] = set()  # names: they were answered, and the store is still to be told
        self._repeats: Counter[str] = Counter()
        self._endings: deque[_Ending] = deque()
        self._responses: deque[_Ending] = deque()
        """Apart: what is large may fail, or take long, where what is small does not."""
        self._bytes = 0
        """Of these."""
        self._small, self._large = asyncio.Event(), asyncio.Event()  # something waits
        self._renewed = self._swept = time.monotonic()

    async def answer(
        self,
        exchange: Exchange,
        tenant: str,
        door: str,
        body: bytes,
        work: Callable[[], Awaitable[None]],
        repeating: Callable[[], AbstractAsyncContextManager[None]],
        *,
        skip: bytes = b"",
        seconds: float | None = None,
    ) -> None:
        """Have ``work`` send a response, or send the one that was sent before, within ``repeating``, which lets a
        repeat in. ``skip``: what keeps a stream alive.
        ``seconds``: the longest this request may take, where it says so. Raises `RequestError`, and what work raises.
        """
        scope = Scope(tenant, door, self._key(exchange), self._secret)
        held = Held(scope.name, scope.fingerprint(body), secrets.token_hex(16), tenant)
        wait = self._settings.wait_seconds
        known = self._known(held.name)  # also before: it may be over by the time that the store is given up
        try:
            found = await while_connected(exchange, self._claim(held))
        except StoreDown as down:
            self._told("unavailable")
            known |= self._known(held.name) or isinstance(down, ResponseUnread)
            if known or self._when_down == "refuse":
                raise _unavailable() from None
            exchange.mark({STATE: "unavailable"})
            await work()
            return
        if found.state != "claimed":
            async with repeating():
                most = min(wait, wait if seconds is None else seconds)
                found = await while_connected(exchange, self._found(held, found, most))
                if found.state != "claimed":
                    await self._replay(exchange, scope, found)
        if found.state == "claimed":
            await self._work(exchange, scope, held, work, skip)

    def _key(self, exchange: Exchange) -> str:
        key = exchange.header(HEADER) or ""
        if not _KEY.fullmatch(key):
            said = "an idempotency key is 1 to 255 visible ASCII characters, without spaces"
            raise RequestError(said, param=PARAM, code="invalid_idempotency_key")
        return key

    def _known(self, name: str) -> bool:
        """Whether it is known here to be worked on or answered. What waits to be freed is not: it came to nothing."""
        return name in self._working or name in self._decided

    # --- finding -------------------------------------------------------------------------------------------------

    async def _found(self, held: Held, found: Found, seconds: float) -> Found:
        """What there is once nobody else works on it: a claim, or what is kept. Raises `RequestError` where it is
        another's, takes too long, or as many wait as may."""
        if found.state == "held":
            if self._repeats[held.name] >= MOST_REPEATS:
                raise self._in_progress()
            self._repeats[held.name] += 1
            try:
                found = await self._after(held, seconds)
            finally:
                self._repeats[held.name] -= 1
                if not self._repeats[held.name]:
                    del self._repeats[held.name]
        if found.state == "reused":
            self._told("reused")
            said = "this idempotency key was used for another request: a key stands for one request only"
            raise RequestError(said, param=PARAM, status=422, code="idempotency_key_reused")
        return found

    async def _after(self, held: Held, seconds: float) -> Found:
        """What there is once it is held no more."""
        until, pause = time.monotonic() + seconds, _FIRST_LOOK
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise self._in_progress()
            await self._news(held.name, pause, left)
            pause = min(_LAST_LOOK, 1.6 * pause)
            try:
                found = await self._claim(held)
            except StoreDown:
                self._told("unavailable")  # somebody works on it: to go on without the key would be a second answer
                raise _unavailable() from None
            if found.state != "held":
                return found

    def _in_progress(self) -> RequestError:
        self._told("in_progress")
        said = "the request with this idempotency key is still under way: try again later"
        return RequestError(said, param=PARAM, status=409, code="idempotency_in_progress", retry_after=1)

    async def _claim(self, held: Held) -> Found:
        sure = False
        try:
            found = await self._store.claim(held, self._lease)
            sure = True
        except StoreDown as down:
            sure = down.unsent
            raise
        finally:
            if not sure:  # the store may have given it: take that back
                self._later(_Ending(held, frees=True))
        return found

    async def _news(self, name: str, pause: float, left: float) -> None:
        """Until it is worth looking again: at once where it is worked on in this process."""
        here = self._working.get(name)
        if here is None:
            await asyncio.sleep(min(left, pause * random.uniform(0.75, 1.25)))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await here.wait()

    # --- the first -----------------------------------------------------------------------------------------------

    async def _work(
        self, exchange: Exchange, scope: Scope, held: Held, work: Callable[[], Awaitable[None]], skip: bytes
    ) -> None:
        over = self._working[held.name] = asyncio.Event()
        self._held[held.token] = held
        kept = False

        async def keep(response: Response | None) -> Response | bool:
            nonlocal kept
            kept = True
            self._decided.add(held.name)
            content = None if response is None else scope.seal(response.packed())
            came_to = await self._end(_Ending(held, frees=False, content=content))
            over.set()
            return came_to == "told" or (came_to == "another's" and await self._others(scope, held))

        Recorder(exchange, skip, self._settings.max_bytes, keep)
        try:
            await work()
        finally:
            if not kept:
                await self._end(_Ending(held, frees=True))
            over.set()
            if self._working.get(held.name) is over:
                del self._working[held.name]
            self._told("first" if kept else "freed")

    async def _others(self, scope: Scope, held: Held) -> Response | bool:
        """The response that is kept under this key, which another worked on when its lease was over; False where it
        cannot be had."""
        with suppress(StoreDown):
            found = await self._claim(held)
            if found.state == "claimed":  # it was over in this moment
                await self._end(_Ending(held, frees=True))
            packed = scope.open(found.content) if found.state == "kept" else None
            if packed is not None:
                return Response.unpacked(packed)
        return False

    async def _end(self, ending: _Ending) -> Literal["told", "another's", "later"]:
        """``told``: the store is known to have it; ``later``: it will be told then."""
        stands: bool | None = None
        try:
            stands = await self._tell(ending)
        except StoreDown:
            return "later"
        finally:
            if stands is None:
                self._later(ending)
        if stands:
            return "told"
        self._lost()
        return "another's"

    async def _tell(self, ending: _Ending) -> bool:
        """Whether what the store has now is this."""
        held, stands = ending.held, True
        if ending.frees:
            await self._store.free(held)
        else:
            stands = await self._store.keep(held, ending.content, 3600 * self._settings.ttl_hours)
            self._decided.discard(held.name)
        self._held.pop(held.token, None)
        return stands

    def _lost(self) -> None:
        self._told("lost")
        log.warning("a request took longer to be kept than its lease held its idempotency key: another has it")

    def _later(self, ending: _Ending) -> None:
        """It is held until then. Where there is no room for its response a repeat will be told that it was not kept."""
        size = len(ending.content or b"")
        if size and self._responses and self._bytes + size > MOST_BYTES:
            self._told("lost")
            log.warning("the store is away, and too many responses wait to be kept: of one only its key will be")
            ending, size = replace(ending, content=None), 0
        if size:
            self._responses.append(ending)
            self._bytes += size
            self._large.set()
        elif len(self._endings) < MOST_WAITING:
            self._endings.append(ending)
            self._small.set()
        else:
            self._told("lost")
            log.error("the store is away, and too many idempotency keys wait for it: one is given up")
            self._held.pop(ending.held.token, None)
            if not ending.frees:
                self._decided.discard(ending.held.name)

    # --- the others ----------------------------------------------------------------------------------------------

    async def _replay(self, exchange: Exchange, scope: Scope, found: Found) -> None:
        packed = scope.open(found.content) if found.state == "kept" else None
        if packed is None:
            self._told("not_kept")
            exchange.mark({"x-should-retry": "false"})
            said = "this request was answered, and its response was not kept: it is too large, or too much is kept"
            raise RequestError(said, param=PARAM, status=409, code="idempotency_response_not_kept")
        self._told("replayed")
        exchange.mark({REPLAYED: "true"})
        await Response.unpacked(packed).send(exchange)

    # --- in the background ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Hold on to what is worked on here, and tell the store what it was not told. Until it is cancelled."""
        with suppress(StoreDown):
            await self._store.prepare()
        async with asyncio.TaskGroup() as group:  # no lease ends because something large takes long
            group.create_task(self._beating(self._beat_small, self._small))
            group.create_task(self._beating(self._beat_large, self._large))

    async def _beating(self, beat: Callable[[], Awaitable[None]], awake: asyncio.Event) -> None:
        while True:
            awake.clear()  # before: what comes meanwhile is not to wait
            try:
                await beat()
            except StoreDown:
                await asyncio.sleep(min(_AGAIN, self._lease / 3))
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._lease / 3):
                        await awake.wait()

    async def beat(self) -> None:
        """What is due. Raises `StoreDown`, once all of it was tried; then what failed still is, but a sweep."""
        await _each(self._beat_small, self._beat_large)

    async def _beat_small(self) -> None:
        await _each(self._free_some, self._renew)
        while self._endings:
            await _each(self._free_some, self._renew)

    async def _beat_large(self) -> None:
        await _each(self._write_large, self._sweep)

    async def _renew(self) -> None:
        if (now := time.monotonic()) >= self._renewed + self._lease / 3 - 0.01:
            if self._held:
                await self._store.renew(list(self._held.values()), self._lease)
            self._renewed = now

    async def _sweep(self) -> None:
        if (now := time.monotonic()) >= self._swept + _SWEEP:
            self._swept = now
            await self._store.sweep()

    async def _free_some(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._endings))):
            await self._tell(self._endings[0])
            self._endings.popleft()

    async def _write_large(self) -> None:
        while self._responses:
            if not await self._tell(self._responses[0]):
                self._lost()
            self._bytes -= len(self._responses.popleft().content or b"")

    async def aclose(self) -> None:
        """Tell the store what waits, as far as that goes in a moment."""
        with suppress(StoreDown, TimeoutError):
            async with asyncio.timeout(_LAST):
                await _each(self._beat_small, self._write_large)
        if waiting := len(self._endings) + len(self._responses):
            log.error("%d idempotency keys could not be written to the store", waiting)
        await self._store.aclose()


async def _each(*steps: Callable[[], Awaitable[None]]) -> None:
    """All of them, also where one fails. Raises the last `StoreDown`."""
    failed: StoreDown | None = None
    for step in steps:
        try:
            await step()
        except StoreDown as down:
            failed = down
    if failed is not None:
        raise failed


def _unavailable() -> RequestError:
    said = "idempotency keys cannot be looked up now, and a request that has one is not answered without; try again"
    return RequestError(said, status=503, code="idempotency_unavailable", retry_after=1)
