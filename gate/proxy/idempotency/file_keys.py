"""Idempotency keys in an SQLite file that all workers of a machine share, and that outlives them.

Times are on the clock of the machine's uptime, so that a clock which is set moves no expiry. What was held before the
machine was last started is free; what was kept then is over by the wall clock.

Where the responses take more room than there is, those go who have most of it: their oldest, as far down as all that
are left fit. So nobody's crowd out those of others. Of a response that had to go the key stays.
"""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio

from gate.errors import ConfigError
from gate.log.address import use_wal
from gate.proxy.idempotency.key_store import Found, Held
from gate.state.circuit import StoreDown

T = TypeVar("T")
MOST_BYTES = 2**30
"""Of all responses together: beyond that some are dropped."""
_VERSION = 1
_ID = 16
_PATIENCE = 2.0
"""Seconds for which another worker may have the file."""
_TABLE = """CREATE TABLE IF NOT EXISTS keys (
  name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, token TEXT NOT NULL, content BLOB,
  boot TEXT NOT NULL, until REAL NOT NULL, wall REAL NOT NULL,
  owner BLOB NOT NULL)"""
_OVER = "(boot = :boot AND until <= :now) OR (boot <> :boot AND (token <> '' OR wall <= :wall))"


class FileKeys:
    """Fits `gate.proxy.idempotency.key_store.KeyStore`."""

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES, boot: str | None = None) -> None:
        """Raises `ConfigError` for a file that is something else, or cannot be written."""
        self._most_bytes = most_bytes
        self._boot = _boot() if boot is None else boot
        self._turn = anyio.CapacityLimiter(1)
        place = os.path.realpath(path)  # SQLite would make what a link leads to, for all to read
        try:
            with suppress(FileExistsError):  # it may be open in this process, whose locks would end with this closing
                os.close(os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self._file = sqlite3.connect(place, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"cannot keep idempotency keys here: {_cause(error)}", where=str(path)) from error
        try:
            self._open()
        except sqlite3.Error as error:
            self._file.close()
            said = f"this is no file of idempotency keys, or cannot be written ({_cause(error)}): move it away"
            raise ConfigError(said, where=str(path)) from error

    def _open(self) -> None:
        use_wal(self._file)
        self._file.execute("PRAGMA synchronous = FULL")  # what was answered is not answered again after a power cut
        self._file.execute("BEGIN IMMEDIATE")  # of workers that start at once one makes it
        (held,) = self._file.execute("PRAGMA user_version").fetchone()
        if held not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"its version is {held}")
        self._file.execute(_TABLE)
        self._file.execute(f"PRAGMA user_version = {_VERSION}")
        self._file.execute("COMMIT")

    async def prepare(self) -> None: ...

    async def claim(self, held: Held, lease: float) -> Found:
        return await self._run(partial(self._claim, held, lease))

    async def renew(self, held: Sequence[Held], lease: float) -> None:
        rows = [(*self._times(lease), each.name, each.token) for each in held]
        renew = "UPDATE keys SET until = ?, wall = ? WHERE name = ? AND token = ?"
        await self._run(lambda: self._file.executemany(renew, rows))

    async def keep(self, held: Held, content: bytes | None, seconds: float) -> bool:
        return await self._run(partial(self._keep, held, content, seconds))

    async def free(self, held: Held) -> None:
        freed = "DELETE FROM keys WHERE name = ? AND token = ?"
        await self._run(lambda: self._file.execute(freed, (held.name, held.token)))

    async def sweep(self) -> None:
        await self._run(self._sweep)

    async def aclose(self) -> None:
        await anyio.to_thread.run_sync(self._file.close, limiter=self._turn)

    # --- on a thread, one at a time ------------------------------------------------------------------------------

    async def _run(self, work: Callable[[], T]) -> T:
        def whole() -> T:
            try:
                self._file.execute("BEGIN IMMEDIATE")
                made = work()
                self._file.execute("COMMIT")
            except sqlite3.Error as error:
                with suppress(sqlite3.Error):
                    if self._file.in_transaction:
                        self._file.execute("ROLLBACK")
                raise StoreDown(_cause(error)) from error
            return made

        return await anyio.to_thread.run_sync(whole, limiter=self._turn)

    def _claim(self, held: Held, lease: float) -> Found:
        row = self._row(held.name)
        if row is None or row[1] == held.token:
            self._put(held, held.token, None, lease)
            return Found("claimed")
        fingerprint, token, content = row
        if fingerprint != held.fingerprint:
            return Found("reused")
        if token:
            return Found("held")
        return Found("dropped") if content is None else Found("kept", content)

    def _keep(self, held: Held, content: bytes | None, seconds: float) -> bool:
        row = self._row(held.name)
        if row is not None and (not row[1] or row[0] != held.fingerprint):
            return row[0] == held.fingerprint and row[2] == content
        self._put(held, "", content, seconds)
        return True

    def _put(self, held: Held, token: str, content: bytes | None, seconds: float) -> None:
        row = (held.name, held.fingerprint, token, content, self._boot, *self._times(seconds))
        self._file.execute("INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, _owner(held)))

    def _row(self, name: str) -> tuple[str, str, bytes | None] | None:
        found = self._file.execute(
            f"SELECT fingerprint, token, content FROM keys WHERE name = :name AND NOT ({_OVER})",  # noqa: S608
            {"name": name, **self._now()},
        ).fetchone()
        return None if found is None else (found[0], found[1], found[2])

    def _sweep(self) -> None:
        self._file.execute(f"DELETE FROM keys WHERE {_OVER}", self._now())  # noqa: S608
        each = "SELECT owner, sum(length(content)) FROM keys WHERE content IS NOT NULL GROUP BY owner"
        sizes: dict[bytes, int] = dict(self._file.execute(each).fetchall())
        share = _share(list(sizes.values()), self._most_bytes)
        oldest = "SELECT name, length(content) FROM keys WHERE owner = ? AND content IS NOT NULL ORDER BY wall"
        dropped: list[tuple[str]] = []
        for owner, size in sizes.items():
            left = size
            for name, length in self._file.execute(oldest, (owner,)) if size > share else ():
                if left <= share:
                    break
                dropped.append((name,))
                left -= length
        self._file.executemany("UPDATE keys SET content = NULL WHERE name = ?", dropped)

    def _times(self, seconds: float) -> tuple[float, float]:
        return self._up() + seconds, time.time() + seconds

    def _now(self) -> dict[str, str | float]:
        return {"boot": self._boot, "now": self._up(), "wall": time.time()}

    def _up(self) -> float:
        return time.monotonic() if self._boot else time.time()


def _owner(held: Held) -> bytes:
    return hashlib.blake2b(held.owner.encode("utf-8", "surrogatepass"), digest_size=_ID).digest()


def _share(sizes: Sequence[int], room: int) -> float:
    """The most that each may have, so that all of them fit: who needs less leaves the rest to the others."""
    left: float = room
    for place, size in enumerate(sorted(sizes)):
        fair = left / (len(sizes) - place)
        if size > fair:
            return fair
        left -= size
    return math.inf


def _boot() -> str:
    """Which start of the machine this is: the uptime's clock is the same for all processes within one. "" where that
    is not known; then the wall clock has to do."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _cause(error: Exception) -> str:
    """Fit for any log: no value."""
    name = getattr(error, "sqlite_errorname", None)
    return str(name or getattr(error, "strerror", None) or type(error).__name__)
