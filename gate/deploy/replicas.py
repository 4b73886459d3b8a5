"""Many copies of one server: how many, what they may not keep to themselves, and the configuration that runs them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.errors import ConfigError
from gate.log.address import is_sqlite, read_address
from gate.proxy.file_watch import files_of, sights_of
from gate.proxy.settings import ServerSettings
from gate.proxy.workers import _CLOSING, GRACE

NAME = "gate"
"""Of the application, and of its one deployment."""
IMPORT_PATH = "gate.deploy.ray:app"
_SPARE = 16
"""Requests a replica takes beyond those that it answers or lets wait: it is gate that refuses then, in the shape that
clients know, and probes come through."""
_HEALTH_EVERY, _HEALTH_WITHIN = 5.0, 10.0
_SURGE = 20
"""Percent, one at least: replicas that start before those in whose place they come are stopped. One that cannot start
costs nothing then."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many copies of a server run. ``least`` < ``most``: as many as the requests under way ask for."""

    least: int = 1
    most: int = 1
    target_queue: float = 16
    """Requests under way or waiting in each replica, on average, that more or fewer replicas are to bring about."""

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ConfigError(f"from {self.least} to {self.most} replicas cannot be: give 1 or more, the fewest first")
        if self.target_queue <= 0:
            raise ConfigError(f"the target of the queue must be above 0, not {self.target_queue:g}")

    @property
    def several(self) -> bool:
        return self.most > 1


def replica_settings(settings: ServerSettings, *, several: bool) -> ServerSettings:
    """The settings of one replica: one worker, and no dashboard where there are several.

    Whoever signs in to the dashboard of one replica is a stranger to the next: serve it beside them, over the same log.
    Raises `ConfigError` for what several replicas would each keep to themselves.
    """
    if several:
        if settings.shared is None and settings.idempotency.enabled:
            raise ConfigError(
                "each of several replicas would know the idempotency keys of its own requests alone, and do a repeat "
                "that reaches another one anew: have them share one Redis or PostgreSQL, with shared: {url_env: "
                "GATE_SHARED_URL}, or switch that off with idempotency: {enabled: false}"
            )
        if settings.shared is None and (settings.keys is not None or settings.state is not None):
            raise ConfigError(
                "each of several replicas would give every key its whole limit: have them count in one Redis or "
                "PostgreSQL, with shared: {url_env: GATE_SHARED_URL}"
            )
        if not _for_all(settings):
            raise ConfigError(
                "several replicas cannot write one SQLite file, and the log of each would be lost with it: set "
                "log: {url_env: GATE_LOG_URL} to the address of a PostgreSQL"
            )
    return settings.model_copy(update={"workers": 1, "dashboard": settings.dashboard and not several})


def _for_all(settings: ServerSettings) -> bool:
    """Whether the decision log, where one is kept, can be written from everywhere."""
    log = settings.log
    url = os.environ.get(log.url_env, "") if log.url_env else log.url  # where it is not set here, the replicas look
    return not url or not is_sqlite(read_address(url))


def deployment_options(settings: ServerSettings, replicas: Replicas) -> dict[str, Any]:
    """What Ray Serve is told of the deployment, in the words of its configuration file."""
    limits = settings.limits
    count: dict[str, Any] = {"num_replicas": replicas.least}
    if replicas.least < replicas.most:
        count = {
            "autoscaling_config": {
                "min_replicas": replicas.least,
                "max_replicas": replicas.most,
                "target_ongoing_requests": replicas.target_queue,
            }
        }
    return {
        **count,
        "max_ongoing_requests": limits.concurrency + limits.waiting + _SPARE,
        "max_surge_percent": _SURGE,
        "max_queued_requests": max(limits.waiting, _SPARE),
        "graceful_shutdown_wait_loop_s": 0.5,
        "graceful_shutdown_timeout_s": float(GRACE + _CLOSING),
        "health_check_period_s": _HEALTH_EVERY,
        "health_check_timeout_s": _HEALTH_WITHIN,
        "user_config": {"policies": revision_of_policies(settings)},
    }


def serve_config(
    config: Path, settings: ServerSettings, replicas: Replicas, *, at: str | None = None
) -> Mapping[str, Any]:
    """The configuration of Ray Serve for a server's file, as ``serve deploy`` and KubeRay take it.

    ``at``: where the file lies on the nodes, where that is elsewhere. Another server file gives another ``revision``:
    the replicas are then replaced one by one. Other policies give another ``user_config``: each replica then reads
    them again, and none is replaced. Raises `ConfigError`.
    """
    replica_settings(settings, several=replicas.several)
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": settings.host, "port": settings.port},
        "applications": [
            {
                "name": NAME,
                "route_prefix": "/",
                "import_path": IMPORT_PATH,
                "args": {
                    "config": at or str(config.resolve()),
                    "several": replicas.several,
                    "revision": _digest([config.read_bytes()]),
                },
                "deployments": [{"name": NAME, **deployment_options(settings, replicas)}],
            }
        ],
    }


def revision_of_policies(settings: ServerSettings) -> str:
    """Another where the content of any policy is another, or of a file that one names."""
    seen = {path: sight for source in settings.policies for path, sight in sights_of(files_of(source)).items()}
    return _digest([f"{path.name} {seen[path].digest}".encode() for path in sorted(seen)])


def _digest(parts: list[bytes]) -> str:
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]
