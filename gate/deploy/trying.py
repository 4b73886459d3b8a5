"""Whether a server could start here: asked on each node before any replica is touched.

Serve stops a replica before it knows whether another can take its place, or starts one that never will. So all that a
server opens is opened once and closed: policies, keys, what the environment must hold, the decision log, the store.
"""

from __future__ import annotations

import asyncio
import contextlib

from gate.errors import ConfigError
from gate.http_wire import secret_of
from gate.log.opening import check_log
from gate.proxy.idempotency.opening import open_once
from gate.proxy.keys import Keys
from gate.proxy.policies import Policies
from gate.proxy.serving import check, limits_of, log_address
from gate.proxy.settings import ServerSettings
from gate.state.circuit import StoreDown
from gate.state.opening import Store


def try_out(settings: ServerSettings) -> None:
    """Open all that a replica of these settings opens, and close it. Blocks; not for a running event loop.

    Raises `ConfigError` (`GateError` of the log) for whatever would keep a replica from starting or from answering: a
    store that is away too, though a server that runs outlives that.
    """
    check(settings)
    hook = settings.webhook
    if hook is not None and hook.secret_env:
        secret_of(hook.secret_env, "the secret that the alarm is signed with")
    policies = Policies.load(settings.policies)
    try:
        if settings.keys is not None:
            Keys.load(settings.keys, policies.names)
        with contextlib.ExitStack() as closing:
            _reach_store(settings.model_copy(update={"state": None}), closing)
            if address := log_address(settings.log):
                check_log(address)
    finally:
        asyncio.run(policies.aclose())


def _reach_store(settings: ServerSettings, closing: contextlib.ExitStack) -> None:
    store, _ = limits_of(settings, closing)
    once = open_once(settings, store, lambda _: None)
    if store is not None:
        asyncio.run(_prepared(store))
    elif once is not None:
        asyncio.run(once.aclose())


async def _prepared(store: Store) -> None:
    try:
        await store.prepare()
    except StoreDown as error:
        raise ConfigError(f"the shared store {store.place} cannot be used: {error}") from error
    finally:
        await store.aclose()
