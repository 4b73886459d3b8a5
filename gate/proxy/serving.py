"""From the settings of a server to its application, in each worker; and from the application to the dashboard."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from gate.assemble import load_answering
from gate.dashboard.serving import LivePolicy, LogHealth, Viewer
from gate.errors import ConfigError
from gate.gateway import Gateway
from gate.http_wire import secret_of
from gate.log.jsonl import TraceFile
from gate.log.kept import Label
from gate.log.opening import DecisionLog, open_log
from gate.proxy.app import create_app
from gate.proxy.conversations import Conversations
from gate.proxy.counters import Counters
from gate.proxy.drift import PromiseWatch
from gate.proxy.idempotency.opening import open_once
from gate.proxy.keys import ANYONE, Client, Keys
from gate.proxy.limits import Limiter, SharedLimiter
from gate.proxy.metrics import LogCounts, Metrics
from gate.proxy.policies import Policies, Reloaded
from gate.proxy.postgres_counters import PostgresCounters
from gate.proxy.redis_counters import RedisCounters
from gate.proxy.service import Service
from gate.proxy.settings import LogSettings, ServerSettings
from gate.proxy.shared_counters import SharedCounters
from gate.proxy.spans import Spans
from gate.proxy.stand_in import StandIn
from gate.state.opening import Store, open_store
from gate.state.redis_store import RedisStore

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_NEW_OBJECTS = 5000
_METRICS, _CONVERSATIONS = "metrics", "conversations"
_SESSION_SECRET = "dashboard.secret"  # noqa: S105 - a file's name


@dataclass(frozen=True, slots=True)
class Extras:
    """What the command line adds to the settings of a server."""

    trace: Path | None = None
    text: bool = False
    states: bool = False
    access_log: bool = False
    spans: bool = False
    observe: bool = False
    """Whether every policy observes, whatever it says itself."""
    dashboard_key: str = field(default="", repr=False)
    """Opens the dashboard of a server that keeps no keys."""


def check(settings: ServerSettings) -> None:
    """Raises `ConfigError` for a server that must not be started: open to the world, say."""
    if settings.keys is None and settings.host not in _LOOPBACK:
        said = f"without keys the server listens on loopback only, not on {settings.host!r}"
        raise ConfigError(f"{said}: make some with 'gate keys new --file keys.yaml', and set keys: keys.yaml")
    if settings.workers > 1 and settings.state is None:
        raise ConfigError("several workers share counters, metrics and sessions in a folder: set state: some/folder")


@contextlib.contextmanager
def counting_restarts(settings: ServerSettings) -> Iterator[Callable[[], None] | None]:
    """What is to be called in the supervisor of several workers when one was started in the place of another."""
    if settings.workers == 1 or settings.state is None:
        yield None
        return
    metrics = Metrics(settings.state / _METRICS)

    def restarted() -> None:
        metrics.restarted()
        with contextlib.suppress(OSError):  # a full disk must not end the one that starts workers
            metrics.share()

    try:
        yield restarted
    finally:
        metrics.close()


def make_app(settings: ServerSettings, extras: Extras) -> ASGIApp:
    """The application of one worker. Blocks: it loads models, opens the log. Raises `ConfigError`."""
    return served(settings, extras)[0]


def served(settings: ServerSettings, extras: Extras) -> tuple[ASGIApp, Service]:
    """The application of one worker as `make_app` makes it, and what it serves: for a server of others."""
    check(settings)
    with contextlib.ExitStack() as closing:  # also what was opened before something else could not be
        service = _service(settings, extras, closing)
        end = closing.pop_all().close
    settle()
    more = _dashboard(service, extras.dashboard_key) if settings.dashboard else ()
    return create_app(service, more, end), service


def _service(settings: ServerSettings, extras: Extras, closing: contextlib.ExitStack) -> Service:
    state = settings.state
    if state is not None:
        _make(state)
    metrics = Metrics(state / _METRICS if state is not None and settings.workers > 1 else None)
    closing.callback(metrics.close)

    def reloaded(outcome: Reloaded) -> None:
        metrics.reloaded(outcome)
        if outcome == "ok":
            settle()

    loader = observing if extras.observe else load_answering
    policies = Policies.load(settings.policies, loader=loader, on_reload=reloaded)
    store, limiter = limits_of(settings, closing)
    if isinstance(limiter, SharedLimiter):
        metrics.faults.watch_shared(limiter.counters)
    keys = Keys.load(settings.keys, policies.names) if settings.keys else None
    spans = Spans() if extras.spans else None
    if spans is not None:
        closing.callback(spans.close)
    log = _log(settings.log)
    watch = None
    if log is not None:
        closing.callback(log.close)
        writer = log.writer
        metrics.watch_log(lambda: LogCounts(writer.written, writer.dropped, writer.failed, writer.waiting))
        watch = PromiseWatch(log.reader, settings.audit, settings.webhook, metrics.monitor)
    conversations = Conversations(state / _CONVERSATIONS if state is not None and settings.workers > 1 else None)
    closing.callback(conversations.close)
    return Service(
        policies,
        settings,
        keys=keys,
        limiter=limiter,
        store=store,
        once=open_once(settings, store, metrics.repeated),
        metrics=metrics,
        log=log,
        watch=watch,
        spans=spans,
        conversations=conversations,
        trace_sink=_sink(extras),
        access_log=extras.access_log,
    )


def limits_of(settings: ServerSettings, closing: contextlib.ExitStack) -> tuple[Store | None, Limiter | SharedLimiter]:
    """Who counts: in a store that several machines share, which is returned too, else on this one. Raises
    `ConfigError`."""
    shared = settings.shared
    if shared is None:
        counters = Counters.open(settings.state, settings.workers)
        closing.callback(counters.close)
        return None, Limiter(counters)
    url = secret_of(shared.url_env, "the address of the shared store") if shared.url_env else shared.url
    store = open_store(url, prefix=shared.prefix, timeout=shared.timeout)
    kept = RedisCounters(store) if isinstance(store, RedisStore) else PostgresCounters(store)
    alone = StandIn(Counters.open(None)) if shared.when_down == "local" else None
    return store, SharedLimiter(SharedCounters(kept, lease=shared.lease, alone=alone))


def _make(state: Path) -> None:
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder 'state': {error.strerror}", where=str(state)) from error
    if not os.access(state, os.W_OK | os.X_OK):
        raise ConfigError("the folder 'state' cannot be written", where=str(state))


def settle() -> None:
    """Keep what is loaded for good out of the garbage collector's sight, and have it look less often.

    A request makes some thousand objects and leaves no cycles. Going through all of a server's modules for it took a
    quarter of the processor time, and stopped everything for up to 100 ms.
    """
    gc.unfreeze()  # what was loaded before and is no longer
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 20)


def observing(source: str) -> Gateway:
    """A policy that observes, whatever it says itself. Raises `ConfigError`."""
    gateway = load_answering(source)
    serving = gateway.policy.serving.model_copy(update={"mode": "observe", "enforced_share": 0.0})
    return replace(gateway, policy=gateway.policy.model_copy(update={"serving": serving}))


def log_address(settings: LogSettings) -> str:
    """Of the decision log; "" where none is kept. Raises `ConfigError` where it is not in the environment."""
    return secret_of(settings.url_env, "the address of the decision log") if settings.url_env else settings.url


def _log(settings: LogSettings) -> DecisionLog | None:
    url = log_address(settings)
    if not url:
        return None
    return open_log(
        url,
        keep=settings.keep,
        retention_days=settings.retention_days,
        queue=settings.queue,
        when_full="refuse" if settings.durable else settings.when_full,
        durable=settings.durable,
    )


def _sink(extras: Extras) -> Callable[..., None] | None:
    return TraceFile(extras.trace, text=extras.text, states=extras.states).append if extras.trace else None


# --- the dashboard -----------------------------------------------------------------------------------------------


class Shown:
    """What the dashboard is told of a service. Fits `gate.dashboard.serving.Serving`."""

    def __init__(self, service: Service, anyone: Client = ANYONE) -> None:
        """``anyone``: who looks where no keys are kept."""
        self._service = service
        self._anyone = anyone

    def policies(self) -> Sequence[LivePolicy]:
        return [
            LivePolicy(
                gateway.name,
                gateway.policy_fingerprint,
                gateway.policy.promise.max_error,
                gateway.policy.promise.confidence,
                gateway.policy.serving.mode,
                gateway.certificate,
                gateway.void or gateway.seen_void,
                gateway.policy.summary,
                gateway.policy.ladder,
            )
            for gateway in self._service.policies.all()
        ]

    def log_health(self) -> LogHealth | None:
        log = self._service.log
        if log is None:
            return None
        writer = log.writer
        problem = "the log cannot be written, and nothing is decided that it could not keep" if writer.full else ""
        return LogHealth(self._service.settings.log.keep, writer.waiting, writer.dropped + writer.failed, problem)

    def viewer(self, name: str) -> Viewer | None:
        if self._service.keys is None:
            return _viewer(self._anyone) if name == self._anyone.name else None
        client = self._service.keys.named(name)
        return None if client is None else _viewer(client)


def _viewer(client: Client) -> Viewer:
    policies = frozenset(client.policies) if client.policies else None
    return Viewer(client.name, frozenset(client.roles), policies, client.mark)


def _dashboard(service: Service, key_without_keys: str) -> list[BaseRoute]:
    from gate.dashboard.routes import dashboard_routes

    anyone = replace(ANYONE, mark=hashlib.sha256(key_without_keys.encode()).hexdigest()[:16])

    def authenticate(key: str) -> Viewer | None:
        if service.keys is None:
            ours = key_without_keys.encode()
            return _viewer(anyone) if ours and hmac.compare_digest(key.encode(), ours) else None
        client = service.keys.identify(f"Bearer {key}", None)
        return None if client is None else _viewer(client)

    def label(said: Label) -> None:
        if service.watch is not None:
            anyio.from_thread.run(service.watch.label, said, service.policies)

    return dashboard_routes(
        service.log.reader if service.log else None,
        Shown(service, anyone),
        authenticate,
        secret=session_secret(service.settings.state),
        trust_forwarded=service.settings.trust_forwarded,
        label=label,
    )


def session_secret(state: Path | None) -> bytes:
    """What sessions are signed with: the same in all workers and after a restart where they share a folder."""
    made = secrets.token_bytes(32)
    if state is None:
        return made
    path, mine = state / _SESSION_SECRET, state / f"{_SESSION_SECRET}.{os.getpid()}"
    with os.fdopen(os.open(mine, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        file.write(made)
    with contextlib.suppress(FileExistsError):
        os.link(mine, path)  # whole or not at all, whichever worker comes first
    mine.unlink()
    return path.read_bytes()
