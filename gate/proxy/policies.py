"""The policies a server serves: loaded, watched, swapped whole, and closed once nobody uses them any more.

What a policy is made of is its file, whatever files that names, and the prompts it sends. When the content of any of
them changes, the policy is loaded anew beside the old one, off the event loop. Only when all that changed can be
loaded are they put in the place of the old ones, in one step; else the old ones stay, and the reason is shown. A
request keeps the policy it began with, prompts included.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

import anyio

from gate import prompts
from gate.assemble import load_answering
from gate.errors import ConfigError, GateError, RequestError
from gate.gateway import Gateway
from gate.proxy.file_watch import Sights, changed, files_of, sights_of

log = logging.getLogger("gate.proxy.policies")
POLL = 2.0
"""Seconds between two looks at the files."""
Reloaded = Literal["ok", "failed"]


@dataclass(slots=True, eq=False)
class _Held:
    """One loaded policy and who uses it."""

    source: str
    gateway: Gateway
    sights: Sights
    shelf: prompts.Shelf
    users: int = 0
    retired: bool = False

    ended: Callable[[Gateway], None] = lambda _: None

    async def close_if_done(self) -> None:
        if self.retired and not self.users:
            self.ended(self.gateway)
            with anyio.CancelScope(shield=True):
                await self.gateway.aclose()


class _Use:
    """See `Policies.using`. A class, because this is on the way of every request."""

    __slots__ = ("_held",)

    def __init__(self, held: _Held) -> None:
        self._held = held

    async def __aenter__(self) -> Gateway:
        held = self._held
        held.users += 1
        prompts.use(held.shelf)
        return held.gateway

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        held = self._held
        held.users -= 1
        if held.retired:
            await held.close_if_done()


@dataclass(slots=True)
class Policies:
    """What is served now. Belongs to one event loop. Make one with `Policies.load`."""

    sources: tuple[str, ...]
    """Shipped policies by name, or files; the first is the default."""
    loader: Callable[[str], Gateway] = load_answering
    on_reload: Callable[[Reloaded], None] | None = None
    on_end: Callable[[Gateway], None] = lambda _: None
    """Called with one that is served no more, before it is closed."""
    reload_error: str = ""
    """Why what changed last is not served; "" where all is."""
    _held: tuple[_Held, ...] = ()
    _by_name: Mapping[str, _Held] = field(default_factory=dict)
    _failed: dict[str, Sights] = field(default_factory=dict)
    """What was seen of a source when it could not be loaded: it is not tried again before that changes."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _poked: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def load(
        cls,
        sources: Sequence[str],
        *,
        loader: Callable[[str], Gateway] = load_answering,
        on_reload: Callable[[Reloaded], None] | None = None,
    ) -> Policies:
        """All of them, now. Raises `ConfigError` for one that cannot be loaded and where two have the same name."""
        made = cls(tuple(sources), loader, on_reload)
        made._serve([made._load(source) for source in sources])
        return made

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    @property
    def default(self) -> Gateway:
        return self._held[0].gateway

    def all(self) -> tuple[Gateway, ...]:
        """The gateways served now, the default first."""
        return tuple(held.gateway for held in self._held)

    def get(self, name: str = "") -> Gateway:
        """The gateway of a name, the default without, to look at: `using` is to ask it. Raises `RequestError` (404)."""
        return self._find(name).gateway

    def using(self, name: str = "") -> _Use:
        """``async with policies.using(name) as gateway``: it stays open until the block is left, whatever is loaded
        meanwhile, and prompts stay what they were. Raises `RequestError` (404) where there is no such policy."""
        return _Use(self._find(name))

    def _find(self, name: str) -> _Held:
        if not name:
            return self._held[0]
        held = self._by_name.get(name)
        if held is None:
            raise RequestError(f"there is no policy {name!r} here", param="model", status=404, code="policy_not_found")
        return held

    # --- loading -------------------------------------------------------------------------------------------------

    def _load(self, source: str) -> _Held:
        """Blocks. Whoever calls it gives it a context of its own: the prompts it reads are this policy's."""
        shelf: prompts.Shelf = {}
        context = contextvars.copy_context()
        context.run(prompts.use, shelf)
        before = sights_of(files_of(source))  # what changes while it is read is then seen as changed
        gateway = context.run(self.loader, source)
        sent = sights_of(prompts.path_of(name) for name in shelf)
        return _Held(source, gateway, {**before, **sent}, shelf)

    def _serve(self, held: Sequence[_Held]) -> None:
        by_name: dict[str, _Held] = {}
        for each in held:
            other = by_name.setdefault(each.gateway.name, each)
            if other is not each:
                said = f"two policies are called {each.gateway.name!r}: {other.source} and {each.source}"
                raise ConfigError(f"{said}; give one another 'name'")
        self._held, self._by_name = tuple(held), by_name

    # --- loading again -------------------------------------------------------------------------------------------

    async def reload(self, *, again: bool = False) -> bool:
        """Serve what changed; True where anything was swapped. Raises nothing: see ``reload_error`` and the log.

        ``again``: also try what could not be loaded and has not changed since.
        """
        async with self._turn:
            if again:
                self._failed.clear()
            stale, seen = await anyio.to_thread.run_sync(self._stale)
            if not stale:
                self.reload_error = ""  # also where what was broken is again what is served
            if not any(self._fresh(held.source, seen[held.source]) for held in stale):
                return False
            return await self._swap(stale, seen)

    def _stale(self) -> tuple[list[_Held], dict[str, Sights]]:
        """All that is not what is served, with what is seen of it now. Blocks: it looks at files."""
        stale: list[_Held] = []
        seen: dict[str, Sights] = {}
        for held in self._held:
            known = {**held.sights, **self._failed.get(held.source, {})}
            now = sights_of(known, known)
            if changed(held.sights, now):
                stale.append(held)
                seen[held.source] = now
            else:
                self._failed.pop(held.source, None)
                held.sights = {path: now[path] for path in held.sights}
        return stale, seen

    def _fresh(self, source: str, now: Sights) -> bool:
        """Whether it was not tried as it is now."""
        return source not in self._failed or changed(self._failed[source], now)

    async def _swap(self, stale: Sequence[_Held], seen: Mapping[str, Sights]) -> bool:
        made: dict[str, _Held] = {}
        try:
            for old in stale:
                made[old.source] = await self._loaded(old.source)
            before = self._held
            self._serve([made.get(held.source, held) for held in before])
        except GateError as error:
            for new in made.values():
                await new.gateway.aclose()
            for old in stale:
                named = await anyio.to_thread.run_sync(files_of, old.source)
                self._failed[old.source] = {**sights_of(named), **seen[old.source]}
            self._report(str(error))
            return False
        for old in stale:
            self._failed.pop(old.source, None)
        self.reload_error = ""
        self._tell("ok")
        log.info("now serving what changed: %s", ", ".join(new.gateway.name for new in made.values()))
        for old in before:
            if old not in self._held:
                old.retired, old.ended = True, self.on_end
                await old.close_if_done()
        return True

    async def _loaded(self, source: str) -> _Held:
        """Off the loop. What fails in a way nobody foresaw, in code of others perhaps, must not end the server: of
        such a fault only the kind is told."""
        future = asyncio.get_running_loop().run_in_executor(None, self._load, source)
        await asyncio.wait((future,))
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, GateError):
            raise error
        raise ConfigError(f"unexpected {type(error).__name__} while it was loaded", where=source) from error

    def _report(self, reason: str) -> None:
        self.reload_error = reason
        self._tell("failed")
        log.error("a changed policy cannot be served, the one before stays: %s", reason)

    def _tell(self, outcome: Reloaded) -> None:
        if self.on_reload is not None:
            self.on_reload(outcome)

    # --- watching ------------------------------------------------------------------------------------------------

    def poke(self) -> None:
        """Look at once, and try again what failed."""
        self._poked.set()

    async def watch(
        self, *, every: float = POLL, poll: bool = True, on_hangup: Iterable[Callable[[], None]] = ()
    ) -> None:
        """Reload what changes, every few seconds and on SIGHUP, until cancelled. Where not ``poll``, on SIGHUP alone.

        ``on_hangup``: what else is to happen on SIGHUP.
        """
        with hangups((self.poke, *on_hangup)):
            while True:
                with anyio.move_on_after(every if poll else None):
                    await self._poked.wait()
                again = self._poked.is_set()
                self._poked.clear()
                await self.reload(again=again)

    async def aclose(self) -> None:
        """Close all that is served. For the end of the server: nobody asks any more."""
        for held in self._held:
            await held.gateway.aclose()


@contextmanager
def hangups(callbacks: Sequence[Callable[[], None]]) -> Iterator[None]:
    """Call these on the running loop on SIGHUP; where signals can be had: on the main thread of a POSIX process.

    Afterwards what was before is again: a worker that writes out its log must not end by it.
    """
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGHUP)

    def hung_up() -> None:
        for callback in callbacks:
            callback()

    loop.add_signal_handler(signal.SIGHUP, hung_up)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, before)
