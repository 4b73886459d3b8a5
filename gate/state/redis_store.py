"""Redis, or what speaks its protocol: scripts that it runs whole, each in one round trip and within a bounded time."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal, TypeVar

from gate.errors import MissingExtra
from gate.state.address import StoreAddress
from gate.state.circuit import Circuit, StoreDown

T = TypeVar("T")
Argument = str | int | float
CONNECTIONS = 32
"""Of one process, at most."""
_ID = 16
_SEEN = 60
"""Seconds that the key is kept which tries whether it can be written."""


@dataclass(frozen=True, slots=True)
class Script:
    """Lua that Redis runs whole: nothing else comes between."""

    text: str
    sha: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        name = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", name)


class RedisStore:
    """Belongs to one event loop; connects when it is first used. Whatever fails raises `StoreDown`."""

    kind: Literal["redis"] = "redis"

    def __init__(self, address: StoreAddress, prefix: str, timeout: float) -> None:
        """``prefix``: what all keys begin with. ``timeout``: seconds for one call, connecting included.

        Raises `MissingExtra` without the package redis.
        """
        if find_spec("redis") is None:
            raise MissingExtra("redis", "redis")
        self.place = address.place
        self.timeout = timeout
        self._address = address
        self.circuit = Circuit(address.place)
        self._url = address.url
        self._prefix = prefix
        self._client: Any = None

    def key(self, part: str, name: str) -> str:
        """The key of something that is kept by a name of any length and kind. All parts of one name are in one slot of
        a cluster, so that a script may have them together."""
        tag = hashlib.blake2b(name.encode(), digest_size=_ID).hexdigest()
        return f"{self._prefix}:{{{tag}}}:{part}"

    def beside(self, timeout: float) -> RedisStore:
        """The same with connections and a circuit of its own: what is slow there keeps nobody from this one."""
        made = RedisStore(self._address, self._prefix, timeout)
        made.circuit = Circuit(f"{self.place}, for what is large")
        return made

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = (), seconds: float | None = None
    ) -> Any:
        """What a script returns; bulk strings are text. ``seconds``: less than the time that calls have here."""
        return (await self.run_all(script, [(keys, arguments)], seconds))[0]

    async def run_all(
        self,
        script: Script,
        calls: Sequence[tuple[Sequence[str], Sequence[Argument]]],
        seconds: float | None = None,
    ) -> list[Any]:
        """The same for many calls of a script, in one round trip: each whole by itself, in their order.

        Where some fail, the others may have been done.
        """

        async def work() -> list[Any]:
            from redis.exceptions import NoScriptError, ResponseError

            found = await self._piped(script, calls, "EVALSHA", script.sha)
            unknown = [at for at, each in enumerate(found) if isinstance(each, NoScriptError)]
            if unknown:  # it was restarted, or never saw it
                again = await self._piped(script, [calls[at] for at in unknown], "EVAL", script.text)
                for at, each in zip(unknown, again, strict=True):
                    found[at] = each
            for each in found:
                if isinstance(each, ResponseError):
                    raise each
            return found

        return await self._guarded(work, seconds)

    async def ping(self) -> None:
        """Whether it answers, and can be written: one that only reads, or is full, answers too."""
        await self._guarded(lambda: self._connected().set(f"{self._prefix}:alive", "", ex=_SEEN))

    async def prepare(self) -> None:
        """Nothing is to be made here before it can be used."""
        await self.ping()

    async def aclose(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()
            await client.connection_pool.disconnect()

    async def _piped(self, script: Script, calls: Sequence[Any], command: str, what: str) -> list[Any]:
        client = self._connected()
        if len(calls) == 1:
            from redis.exceptions import ResponseError

            (keys, arguments) = calls[0]
            try:
                return [await client.execute_command(command, what, len(keys), *keys, *arguments)]
            except ResponseError as error:
                return [error]
        async with client.pipeline(transaction=False) as pipe:
            for keys, arguments in calls:
                pipe.execute_command(command, what, len(keys), *keys, *arguments)
            made: list[Any] = await pipe.execute(raise_on_error=False)
            return made

    def _connected(self) -> Any:
        if self._client is None:
            from redis.asyncio import BlockingConnectionPool, Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            pool = BlockingConnectionPool.from_url(
                self._url,
                max_connections=CONNECTIONS,
                timeout=self.timeout,
                socket_timeout=self.timeout,
                socket_connect_timeout=self.timeout,
                retry=Retry(NoBackoff(), 0),
                decode_responses=True,
                protocol=2,
            )
            self._client = Redis(connection_pool=pool)
        return self._client

    async def _guarded(self, work: Callable[[], Awaitable[T]], seconds: float | None = None) -> T:
        from redis.exceptions import RedisError
        from redis.exceptions import TimeoutError as Late

        self.circuit.enter()
        seconds = self.timeout if seconds is None else min(seconds, self.timeout)
        began, late = time.monotonic(), False
        try:
            async with asyncio.timeout(seconds):
                made = await work()
        except TimeoutError:
            said, late = f"it did not answer within {seconds:g} s", True
        except (RedisError, OSError) as error:
            said, late = _cause(error), isinstance(error, Late)
        else:
            self.circuit.succeeded()
            return made
        self.circuit.failed(said, waited=time.monotonic() - began if late else None)
        raise StoreDown(said)


def _cause(error: Exception) -> str:
    """Fit for any log: no address, no key, no value."""
    from redis import exceptions as known

    match error:
        case known.AuthenticationError() | known.AuthorizationError() | known.NoPermissionError():
            return "it refused the user or password"
        case known.TimeoutError():
            return "it did not answer in time"
        case known.BusyLoadingError():
            return "it is still loading its data"
        case known.ConnectionError() | OSError():
            return "it cannot be reached: is it running, and the address right?"
        case known.ResponseError():  # of what it says the first word is its code: OOM, READONLY, …
            code = str(error).split(" ", 1)[0]
            return f"it refused: {code if code.isalpha() and code.isupper() else type(error).__name__}"
        case _:
            return type(error).__name__
