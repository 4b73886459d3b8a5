"""The application of a server made of what a test has: gateways, fake or real, or policies by name or file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from gate.assemble import load_gateway
from gate.gateway import Gateway
from gate.log.opening import DecisionLog, open_log
from gate.proxy.app import create_app
from gate.proxy.counters import Counters
from gate.proxy.drift import PromiseWatch
from gate.proxy.keys import Client, KeyEntry, Keys, hash_of
from gate.proxy.limits import Limiter
from gate.proxy.metrics import Metrics
from gate.proxy.policies import Policies
from gate.proxy.service import Service
from gate.proxy.settings import ServerSettings
from tests.proxy.fake_gateway import FakeGateway
from tests.proxy.reading import Noted

Served = Gateway | FakeGateway | str
SALT = "salt-of-the-tests-only"


def policies_of(*gateways: Served) -> Policies:
    """These, the first the default. A text names a policy or its file; none at all: one fake gateway."""
    ready: dict[str, Gateway] = {}
    for place, gateway in enumerate(gateways or (FakeGateway(),)):
        source = gateway if isinstance(gateway, str) else f"ready-{place}"
        ready[source] = load_gateway(gateway) if isinstance(gateway, str) else cast(Gateway, gateway)
    return Policies.load(list(ready), loader=ready.__getitem__)


def keys_of(**entries: dict[str, Any]) -> Keys:
    """A client for each name, whose key is `key_of` its name. ``entries`` are the fields of `KeyEntry`."""
    made = [KeyEntry(name=name, hash=hash_of(key_of(name), SALT), **fields) for name, fields in entries.items()]
    clients = [
        Client(each.name, each.policies or (), each.models, each.rate, each.spend, frozenset(each.roles), each.expires)
        for each in made
    ]
    return Keys(SALT, list(zip(made, clients, strict=True)))


def key_of(name: str) -> str:
    return f"gate-key-of-{name}"


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key_of(name)}"}


def service_of(
    *gateways: Served,
    keys: Keys | Path | None = None,
    log: DecisionLog | Noted | str | None = None,
    settings: ServerSettings | None = None,
    **more: Any,
) -> Service:
    """``keys``: ready ones, or their file. ``log``: an open one, its address, or one that only notes what it is given.
    ``more`` are fields of `Service`."""
    settings = settings or ServerSettings(dashboard=False)
    policies, metrics = more.pop("policies", None) or policies_of(*gateways), more.pop("metrics", None) or Metrics()
    opened = open_log(log, keep=settings.log.keep) if isinstance(log, str) else log
    if isinstance(keys, Path):
        settings, keys = settings.model_copy(update={"keys": keys}), Keys.load(keys, policies.names)
    if isinstance(opened, DecisionLog) and "watch" not in more:
        more["watch"] = PromiseWatch(opened.reader, settings.audit, settings.webhook, metrics.monitor)
    limiter = more.pop("limiter", None) or Limiter(Counters.open(None, 1))
    kept = cast("DecisionLog | None", opened)
    return Service(policies, settings, keys=keys, limiter=limiter, metrics=metrics, log=kept, **more)


def app_of(
    *gateways: Served,
    keys: Keys | Path | None = None,
    log: DecisionLog | Noted | str | None = None,
    settings: ServerSettings | None = None,
    routes: Sequence[BaseRoute] = (),
    on_end: Callable[[], None] | None = None,
    **more: Any,
) -> ASGIApp:
    """The application of `service_of`. A log that is given by its address is closed with it."""
    service = service_of(*gateways, keys=keys, log=log, settings=settings, **more)

    def end() -> None:
        if isinstance(log, str) and service.log is not None:
            service.log.close()
        if on_end is not None:
            on_end()

    return create_app(service, routes, end)
