"""Idempotency keys in PostgreSQL: a row for each, under its lock, by the server's clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gate.proxy.idempotency.key_store import Found, Held, ResponseUnread
from gate.state.circuit import StoreDown
from gate.state.large import Large, large_seconds
from gate.state.postgres_store import PostgresStore

_VERSION = 1
_TABLE = (
    """CREATE TABLE idempotency_keys (
      name bytea PRIMARY KEY, fingerprint bytea NOT NULL, token text, content bytea, until timestamptz NOT NULL)""",
    "ALTER TABLE idempotency_keys ALTER COLUMN content SET STORAGE EXTERNAL",  # sealed: it cannot be made smaller
    "CREATE INDEX idempotency_keys_until ON idempotency_keys (until)",
)
_CLAIM = """CREATE FUNCTION idempotency_claim(which bytea, print bytea, its_token text, seconds float8,
  OUT state text, OUT size int)
LANGUAGE plpgsql AS $$
DECLARE
  r idempotency_keys;
  ends timestamptz := clock_timestamp() + make_interval(secs => seconds);
BEGIN
  INSERT INTO idempotency_keys VALUES (which, print, its_token, NULL, ends) ON CONFLICT DO NOTHING;
  IF FOUND THEN state := 'claimed'; RETURN; END IF;
  SELECT * INTO r FROM idempotency_keys WHERE name = which FOR UPDATE;
  IF NOT FOUND THEN state := 'held'; RETURN; END IF;  -- it was freed in this moment: who asks again has it
  IF r.until <= clock_timestamp() OR r.token = its_token THEN
    UPDATE idempotency_keys SET fingerprint = print, token = its_token, content = NULL, until = ends
    WHERE name = which;
    state := 'claimed';
  ELSIF r.fingerprint <> print THEN state := 'reused';
  ELSIF r.token IS NOT NULL THEN state := 'held';
  ELSIF r.content IS NULL THEN state := 'dropped';
  ELSE state := 'kept'; size := length(r.content);
  END IF;
END $$"""
_KEEP = """CREATE FUNCTION idempotency_keep(which bytea, print bytea, response bytea, seconds float8)
RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
  r idempotency_keys;
  ends timestamptz := clock_timestamp() + make_interval(secs => seconds);
BEGIN
  INSERT INTO idempotency_keys VALUES (which, print, NULL, response, ends) ON CONFLICT DO NOTHING;
  IF FOUND THEN RETURN true; END IF;
  SELECT * INTO r FROM idempotency_keys WHERE name = which FOR UPDATE;
  IF r.until > clock_timestamp() THEN
    IF r.fingerprint <> print THEN RETURN false; END IF;
    IF r.token IS NULL THEN RETURN r.content IS NOT DISTINCT FROM response; END IF;
  END IF;
  UPDATE idempotency_keys SET fingerprint = print, token = NULL, content = response, until = ends WHERE name = which;
  RETURN true;
END $$"""
_SWEPT, _SWEEPS = 200, 50
"""Rows that one statement of a sweep removes at most, with their responses; and the statements of a sweep."""
_FUNCTIONS = ("idempotency_claim", "idempotency_keep")


class PostgresKeys:
    """Fits `gate.proxy.idempotency.key_store.KeyStore`. The store is closed by whoever opened it."""

    def __init__(self, store: PostgresStore, most: int = 2**20) -> None:
        """``most``: bytes of a response."""
        self._store = store
        self._most = 2 * most
        self._large = Large(store, store.beside(large_seconds(store.timeout, self._most)))
        self._in = f'"{store.schema}"'
        found = [f"ALTER FUNCTION {name} SET search_path = {self._in}" for name in _FUNCTIONS]
        store.needs("idempotency", _VERSION, (*_TABLE, _CLAIM, _KEEP, *found))

    async def prepare(self) -> None:
        await self._store.prepare()

    async def claim(self, held: Held, lease: float) -> Found:
        said = f"SELECT * FROM {self._in}.idempotency_claim(%s, %s, %s, %s::float8)"  # noqa: S608 - a plain name
        ((state, size),) = await self._store.fetch(said, (*_ids(held), held.token, lease))
        if state != "kept":
            return Found(state)
        read = f"SELECT content FROM {self._in}.idempotency_keys WHERE name = %s AND fingerprint = %s AND token IS NULL"  # noqa: S608
        try:
            async with self._large.room(size) as (store, seconds):
                rows = await store.fetch(read, _ids(held), seconds)
        except StoreDown as down:
            raise ResponseUnread(str(down)) from None
        content = rows[0][0] if rows else None
        return Found("held") if content is None else Found("kept", bytes(content))  # over in this moment: ask again

    async def renew(self, held: Sequence[Held], lease: float) -> None:
        if not held:
            return
        # by name: two that lock the same rows in another order would wait for each other
        rows = sorted((bytes.fromhex(each.name), each.token) for each in held)
        said = (
            f"UPDATE {self._in}.idempotency_keys AS k "  # noqa: S608
            "SET until = clock_timestamp() + make_interval(secs => %s::float8) "
            "FROM unnest(%s::bytea[], %s::text[]) AS e(name, token) "
            "WHERE k.name = e.name AND k.token = e.token RETURNING 1"
        )
        arguments: list[Any] = [lease, *(list(column) for column in zip(*rows, strict=True))]
        await self._store.fetch(said, arguments)

    async def keep(self, held: Held, content: bytes | None, seconds: float) -> bool:
        said = f"SELECT {self._in}.idempotency_keep(%s, %s, %s::bytea, %s::float8)"
        told = (*_ids(held), content, seconds)
        if content is None:
            ((stands,),) = await self._store.fetch(said, told)
        else:
            async with self._large.room(len(content)) as (store, time):
                ((stands,),) = await store.fetch(said, told, time)
        return bool(stands)

    async def free(self, held: Held) -> None:
        said = f"DELETE FROM {self._in}.idempotency_keys WHERE name = %s AND token = %s RETURNING 1"  # noqa: S608
        await self._store.fetch(said, (_ids(held)[0], held.token))

    async def sweep(self) -> None:
        await self._store.prepare()
        over = f"SELECT name FROM {self._in}.idempotency_keys WHERE until <= clock_timestamp() LIMIT %s"  # noqa: S608
        locked = f"{over} FOR UPDATE SKIP LOCKED"
        said = f"DELETE FROM {self._in}.idempotency_keys WHERE name = ANY(ARRAY({locked})) RETURNING 1"  # noqa: S608
        for _ in range(_SWEEPS):
            async with self._large.room(self._most) as (store, seconds):
                if len(await store.fetch(said, (_SWEPT,), seconds)) < _SWEPT:
                    return

    async def aclose(self) -> None:
        await self._large.store.aclose()


def _ids(held: Held) -> tuple[bytes, bytes]:
    return bytes.fromhex(held.name), bytes.fromhex(held.fingerprint)
