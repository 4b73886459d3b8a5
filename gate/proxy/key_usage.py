"""What the keys of a server have used, for who runs it: read from where its workers count, while they do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack, closing

from gate.errors import ConfigError, GateError
from gate.proxy.counters import Counters
from gate.proxy.counting import Usage
from gate.proxy.keys import entries_of
from gate.proxy.limits import SharedLimiter
from gate.proxy.serving import limits_of
from gate.proxy.settings import ServerSettings
from gate.state.circuit import StoreDown
from gate.state.postgres_store import PostgresStore


def usage_by_key(settings: ServerSettings) -> dict[str, Usage]:
    """By name, of all keys in the server's key file. Blocks. Raises `ConfigError` for a server that keeps no keys or
    no counts or has none yet, `GateError` where the shared store cannot be used. Nothing is made."""
    if settings.keys is None:
        raise ConfigError("this server keeps no keys: set keys: keys.yaml")
    names = list(dict.fromkeys(entry.name for entry in entries_of(settings.keys)))
    if settings.shared is not None:
        return asyncio.run(_shared(settings, names))
    if settings.state is None or not (settings.state / "counters").is_file():
        raise ConfigError("nothing is counted yet that this command could read: set 'state' or 'shared'")
    with closing(Counters.open(settings.state)) as counters:
        return {name: counters.usage(name) for name in names}


async def _shared(settings: ServerSettings, names: Sequence[str]) -> dict[str, Usage]:
    with ExitStack() as nothing:
        store, limiter = limits_of(settings, nothing)
    if store is None or not isinstance(limiter, SharedLimiter):
        return {}
    store.circuit.quiet = True  # what there is to say is said below
    try:
        made = not isinstance(store, PostgresStore) or await store.found()
        used = {name: await limiter.counters.usage(name) for name in names if made}
    except StoreDown as down:
        raise GateError(f"the shared store cannot be used: {store.place}: {down}") from None
    finally:
        await store.aclose()
    if names and not any(each.total.requests or each.under_way for each in used.values()):
        prefix = "gate" if settings.shared is None else settings.shared.prefix
        said = f"nothing is counted yet under the prefix {prefix!r} in {store.place}: is that where the servers count?"
        raise ConfigError(said)
    return used
