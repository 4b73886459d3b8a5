"""Where idempotency keys are kept, by a server's settings: the shared store, else the folder of state, else memory."""

from __future__ import annotations

from collections.abc import Callable

from gate.http_wire import secret_of
from gate.proxy.idempotency.file_keys import FileKeys
from gate.proxy.idempotency.key_store import KeyStore
from gate.proxy.idempotency.memory_keys import MemoryKeys
from gate.proxy.idempotency.once import Once, Outcome
from gate.proxy.idempotency.postgres_keys import PostgresKeys
from gate.proxy.idempotency.redis_keys import RedisKeys
from gate.proxy.settings import ServerSettings
from gate.state.opening import Store
from gate.state.redis_store import RedisStore

_FILE = "idempotency.db"


def open_once(settings: ServerSettings, store: Store | None, told: Callable[[Outcome], None]) -> Once | None:
    """None where idempotency is off. ``store``: the one of the settings' ``shared``, opened; its circuit and its
    time for a call hold here too, but for the responses themselves, which have their own. Raises `ConfigError`."""
    wanted, shared = settings.idempotency, settings.shared
    if not wanted.enabled:
        return None
    secret = secret_of(wanted.secret_env, "the secret of idempotency keys") if wanted.secret_env else ""
    when_down = "refuse" if shared is None else shared.when_down
    lease = wanted.lease
    return Once(_keys(settings, store), wanted, lease=lease, secret=secret.encode(), when_down=when_down, told=told)


def _keys(settings: ServerSettings, store: Store | None) -> KeyStore:
    if store is not None:
        most = settings.idempotency.max_bytes
        return RedisKeys(store, most) if isinstance(store, RedisStore) else PostgresKeys(store, most)
    return MemoryKeys() if settings.state is None else FileKeys(settings.state / _FILE)
