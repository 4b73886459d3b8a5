"""PostgreSQL: one statement a call, each a transaction of its own, within a bounded time; and the tables it needs."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from typing import Any, Literal

from gate.errors import ConfigError, MissingExtra
from gate.postgres_wire import sever
from gate.state.address import StoreAddress
from gate.state.circuit import Circuit, StoreDown

CONNECTIONS = 8
"""Of one process, at most."""
_MAKING = 5.0
"""Seconds in which tables are made, or waited for while another process makes them."""
_STOOD_STILL = 0.05
"""Seconds that a timer is late of a loop that stood still."""
_LOCK = 0x67617465
"""Of the advisory lock under which tables are made: "gate"."""
_CANCELED = "57014"
"""Of a statement that the server gave up, because it took too long."""
_SQL_STATES = {
    "28": "it refused the user or password",
    "3D": "there is no such database",
    "3F": "its user may not use the schema: grant USAGE and CREATE on it",
    "42501": "its user may not do that: let it own the schema, or make it (CREATE on the database)",
    "57": "it was too slow, or is stopping",
}
"""By the whole code, or the class that its first two signs name."""
_RESERVED = ("pg_", "information_schema")


class PostgresStore:
    """Belongs to one event loop; connects when it is first used. Whatever fails raises `StoreDown`."""

    kind: Literal["postgresql"] = "postgresql"

    def __init__(self, address: StoreAddress, schema: str, timeout: float) -> None:
        """``schema``: where the tables are, a plain name. ``timeout``: seconds for one call, connecting included.

        Raises `MissingExtra` without psycopg, `ConfigError` for a schema of PostgreSQL's own.
        """
        if schema.startswith(_RESERVED):
            raise ConfigError(f"the prefix {schema!r} names a schema that PostgreSQL keeps to itself: take another")
        if find_spec("psycopg") is None:
            raise MissingExtra("psycopg", "postgres")
        self.place = address.place
        self.schema = schema
        self.timeout = timeout
        self._address = address
        self.circuit = Circuit(address.place)
        self._url = address.url
        self._parts: list[tuple[str, int, Sequence[str]]] = []
        self._made = False
        self._making = asyncio.Lock()
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[Any] = []

    def named(self, thing: str) -> str:
        """A table or function of the schema, as statements name it."""
        return f'"{self.schema}".{thing}'

    def needs(self, part: str, version: int, statements: Sequence[str]) -> None:
        """What is to be there before the first call: statements that make it where it is not, and bring an older
        version up to this one. Processes that start at once do it one after the other, and each version once."""
        self._parts.append((part, version, statements))
        self._made = False

    def beside(self, timeout: float) -> PostgresStore:
        """The same with connections and a circuit of its own: what is slow there keeps nobody from this one. What is
        needed this one makes."""
        made = PostgresStore(self._address, self.schema, timeout)
        made._made = True
        made.circuit = Circuit(f"{self.place}, for what is large")
        return made

    async def fetch(
        self, statement: str, parameters: Sequence[Any] = (), seconds: float | None = None
    ) -> list[tuple[Any, ...]]:
        """The rows of one statement, which is committed with it. ``seconds``: less than the time that calls have
        here."""
        if not self._made:
            await self.prepare()
        self.circuit.enter()
        return await self._guarded(statement, parameters, min(self.timeout, seconds or self.timeout))

    async def ping(self) -> None:
        """Whether it answers, has what is needed, and can be written."""
        await self.fetch(f"UPDATE {self.named('versions')} SET part = part WHERE false RETURNING part")  # noqa: S608

    async def prepare(self) -> None:
        """Make what is needed, once. Takes longer than other calls may."""
        async with self._making:
            if self._made:
                return
            self.circuit.enter()
            await self._guarded("", (), _MAKING)
            self._made = True

    async def found(self) -> bool:
        """Whether all that is needed is there. Nothing is made, then or later: for who only reads."""
        self._made = True
        there = await self.fetch("SELECT to_regclass(%s) IS NOT NULL", (self.named("versions"),))
        if not there[0][0]:
            return False
        held = dict(await self.fetch(f"SELECT part, version FROM {self.named('versions')}"))  # noqa: S608
        return all(held.get(part, 0) >= version for part, version, _ in self._parts)

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def _guarded(self, statement: str, parameters: Sequence[Any], seconds: float) -> list[tuple[Any, ...]]:
        """One statement; without one what is needed is made."""
        import psycopg

        waiting = _Patience(seconds)
        try:
            async with self._borrowed(waiting) as connection:
                found = await (self._rows(connection, statement, parameters) if statement else self._make(connection))
        except (psycopg.Error, OSError) as error:  # of which a timeout is one
            code = getattr(error, "sqlstate", None)
            late = (waiting.over and code is None) or code == _CANCELED
            said = f"it did not answer within {seconds:g} s" if waiting.over and late else _cause(error)
        else:
            self.circuit.succeeded()
            return found
        self.circuit.failed(said, waited=waiting.passed if late else None)
        raise StoreDown(said)

    async def _rows(self, connection: Any, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        cursor = await connection.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = await cursor.fetchall()
        return rows

    @asynccontextmanager
    async def _borrowed(self, waiting: _Patience) -> AsyncIterator[Any]:
        """A connection, which is cut when that ends: psycopg would else wait for a server that is not there to confirm
        that it gave up."""
        async with waiting.limit():
            await self._room.acquire()
        try:
            async with waiting.limit():
                connection = self._rested() or await self._connected()
            whole = False
            try:
                with waiting.ending(lambda: sever(connection), lambda: _readable(connection)):
                    yield connection
                whole = True
            finally:
                if whole:
                    self._idle.append(connection)
                else:
                    await connection.close()
        finally:
            self._room.release()

    def _rested(self) -> Any | None:
        """The connection that was used last, and is still one: a server that was restarted has closed them all."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and not _readable(connection):
                return connection
            connection.pgconn.finish()
        return None

    async def _connected(self) -> Any:
        from psycopg import AsyncConnection

        connection = await AsyncConnection.connect(self._url, autocommit=True, prepare_threshold=None)
        set_up = "SELECT set_config('statement_timeout', %s, false), set_config('application_name', 'gate', false)"
        await connection.execute(set_up, (str(int(1000 * self.timeout)),))
        return connection

    async def _make(self, connection: Any) -> list[tuple[Any, ...]]:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL statement_timeout = {int(1000 * _MAKING)}")
            await connection.execute("SET LOCAL client_min_messages = warning")
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            there = await connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (self.schema,))
            if await there.fetchone() is None:
                await connection.execute(f'CREATE SCHEMA "{self.schema}"')
            await connection.execute(f'SET LOCAL search_path = "{self.schema}"')
            await connection.execute("CREATE TABLE IF NOT EXISTS versions (part text PRIMARY KEY, version int)")
            held = dict(await (await connection.execute("SELECT part, version FROM versions")).fetchall())
            for part, version, statements in self._parts:
                if held.get(part, 0) >= version:
                    continue
                for statement in statements:
                    await connection.execute(statement)
                noted = "INSERT INTO versions VALUES (%s, %s) ON CONFLICT (part) DO UPDATE SET version = %s"
                await connection.execute(noted, (part, version, version))
        return []


class _Patience:
    """How long one call is waited for. Where the timer finds that this process's own loop stood still, or a reply that
    was not read yet, the call has its time once more: what was late then was not the store."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._began = self._loop.time()
        self._until = self._began + seconds
        self._anew = False

    @property
    def over(self) -> bool:
        return self._loop.time() >= self._until

    @property
    def passed(self) -> float:
        """Seconds since the call was made."""
        return self._loop.time() - self._began

    @contextmanager
    def ending(self, end: Callable[[], object], there: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Do this when the time is over within the block. ``there``: whether a reply is."""
        timer: asyncio.TimerHandle

        def due() -> None:
            nonlocal timer
            late = self._loop.time() - self._until > _STOOD_STILL
            if self._anew or not (late or there()):
                end()
                return
            self._anew, self._until = True, self._loop.time() + self._seconds
            timer = self._loop.call_at(self._until, due)

        timer = self._loop.call_at(self._until, due)
        try:
            yield
        finally:
            timer.cancel()

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Raises `TimeoutError` in what waits within the block."""
        async with asyncio.timeout(None) as timeout:
            with self.ending(lambda: timeout.reschedule(self._loop.time())):
                yield


def _readable(connection: Any) -> bool:
    """Whether something came that was not read, be it its end."""
    return bool(select.select([connection.fileno()], [], [], 0)[0])


def _cause(error: Exception) -> str:
    """Fit for any log: no address, no statement, no value. Why a connection was refused has no code."""
    code = getattr(error, "sqlstate", None)
    if code is None:
        return "it cannot be reached, or refuses the user, password or database: is it running, and the address right?"
    said = _SQL_STATES.get(code) or _SQL_STATES.get(code[:2])
    return said or f"{type(error).__name__} ({code})"
