"""Idempotency keys in Redis: a hash for each, which Redis lets expire by its own clock.

Of each: ``p``, the request's fingerprint; ``t``, the token of who works on it; or ``r``, the response, where it is kept
whole. A Redis that evicts keys when it is full forgets some of them early: set ``maxmemory-policy noeviction``.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence

from gate.proxy.idempotency.key_store import Found, Held, ResponseUnread
from gate.state.circuit import StoreDown
from gate.state.large import Large, large_seconds
from gate.state.redis_store import RedisStore, Script

_CLAIM = Script("""
local p, t = unpack(redis.call('HMGET', KEYS[1], 'p', 't'))
if not p or t == ARGV[2] then
  redis.call('HSET', KEYS[1], 'p', ARGV[1], 't', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'claimed', 0}
end
if p ~= ARGV[1] then return {'reused', 0} end
if t then return {'held', 0} end
if redis.call('HEXISTS', KEYS[1], 'r') == 1 then return {'kept', redis.call('HSTRLEN', KEYS[1], 'r')} end
return {'dropped', 0}
""")
_READ = Script("""
local p, t, r = unpack(redis.call('HMGET', KEYS[1], 'p', 't', 'r'))
return p == ARGV[1] and not t and r or ''
""")
_RENEW = Script("""
if redis.call('HGET', KEYS[1], 't') == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
""")
_KEEP = Script("""
local p, t, r = unpack(redis.call('HMGET', KEYS[1], 'p', 't', 'r'))
if p and p ~= ARGV[1] then return 0 end
if p and not t then
  if (r or '') == ARGV[2] then return 1 end
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'p', ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'r', ARGV[2]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
""")
_FREE = Script("""
if redis.call('HGET', KEYS[1], 't') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
""")


class RedisKeys:
    """Fits `gate.proxy.idempotency.key_store.KeyStore`. The store is closed by whoever opened it."""

    def __init__(self, store: RedisStore, most: int = 2**20) -> None:
        """``most``: bytes of a response."""
        self._store = store
        self._large = Large(store, store.beside(large_seconds(store.timeout, 2 * most)))

    async def prepare(self) -> None:
        await self._store.prepare()

    async def claim(self, held: Held, lease: float) -> Found:
        state, size = await self._store.run(_CLAIM, self._key(held), (held.fingerprint, held.token, _ms(lease)))
        if state != "kept":
            return Found(state)
        try:
            async with self._large.room(size) as (store, seconds):
                content = await store.run(_READ, self._key(held), (held.fingerprint,), seconds)
        except StoreDown as down:
            raise ResponseUnread(str(down)) from None
        return Found("kept", b64decode(content)) if content else Found("held")  # over in this moment: ask again

    async def renew(self, held: Sequence[Held], lease: float) -> None:
        if held:
            await self._store.run_all(_RENEW, [(self._key(each), (each.token, _ms(lease))) for each in held])

    async def keep(self, held: Held, content: bytes | None, seconds: float) -> bool:
        if content is None:
            return bool(await self._store.run(_KEEP, self._key(held), (held.fingerprint, "", _ms(seconds))))
        async with self._large.room(4 * -(-len(content) // 3)) as (store, time):
            text = b64encode(content).decode("ascii")  # not before it is its turn: it is another copy
            return bool(await store.run(_KEEP, self._key(held), (held.fingerprint, text, _ms(seconds)), time))

    async def free(self, held: Held) -> None:
        await self._store.run(_FREE, self._key(held), (held.token,))

    async def sweep(self) -> None:
        """Redis does."""

    async def aclose(self) -> None:
        await self._large.store.aclose()

    def _key(self, held: Held) -> tuple[str]:
        return (self._store.key("i", held.name),)


def _ms(seconds: float) -> int:
    return max(1, round(1000 * seconds))
