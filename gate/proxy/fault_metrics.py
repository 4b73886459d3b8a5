"""What Prometheus is told of faults: upstreams left alone, requests turned away, and the store that machines share.

All of it is counted elsewhere, where the faults are. Here it is asked for when the metrics are shown.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge

from gate.gateway import Gateway
from gate.proxy.shared_counters import SharedCounters

Refused = tuple[Mapping[str, int], Mapping[str, int]]


class Watched(NamedTuple):
    """How one that is asked does, as `FaultMetrics.watch_upstreams` wants it. Numbers are since ``source`` was made."""

    source: object
    """What counts: asked again later, it has counted on."""
    upstream: str
    state: int | None = None
    """Of its breaker: 0 closed, 1 half open, 2 open; None where it has none."""
    opened: int = 0
    hedged: int = 0
    other_models: int = 0


def watched(gateway: Gateway) -> list[Watched]:
    """Those that a policy asks."""
    made: list[Watched] = []
    for health in gateway.world.health.values():
        breaker, sent = health.breaker, 0 if health.hedge is None else health.hedge.sent
        state, opened = (None, 0) if breaker is None else (int(breaker.state), breaker.opened)
        made.append(Watched(health, health.name, state, opened, sent))
    others = dict(gateway.models.others)
    return made + [Watched(gateway.models, name, other_models=count) for name, count in others.items()]


class FaultMetrics:
    """Families of a registry. `refresh` one thread at a time; `note` on any."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._sharing: SharedCounters | None = None
        self._upstreams: Callable[[], Iterable[Watched]] | None = None
        self._refused: Callable[[], Refused] | None = None
        self._noting = threading.Lock()
        self._seen: WeakKeyDictionary[object, dict[str, tuple[int, ...]]] = WeakKeyDictionary()
        self._seen_refused: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._define_shared(registry)
        self._define_upstreams(registry)

    def _define_shared(self, registry: CollectorRegistry) -> None:
        """Of the store that several machines share; nothing is wrong with it where there is none."""
        kept: dict[str, Any] = {"registry": registry}
        down = "Whether the shared store cannot be used, as some worker sees it: 1 or 0."
        self._shared_down = Gauge("gate_shared_down", down, (), **kept)
        waiting = "Ended requests whose cost the shared store has not been told yet."
        self._shared_waiting = Gauge("gate_shared_waiting", waiting, **kept)
        self._shared_lost = Counter("gate_shared_lost", "Of these, those it never will be: too many waited.", **kept)
        self._shared_failures = Counter("gate_shared_failures", "Calls of the shared store that failed.", **kept)
        alone = "Requests that a worker let in by its own counts alone."
        self._shared_alone = Counter("gate_shared_alone", alone, **kept)

    def _define_upstreams(self, registry: CollectorRegistry) -> None:
        kept: dict[str, Any] = {"registry": registry}
        state = "Whether an endpoint is asked: 0 yes, 1 one call tries it, 2 no, for it kept failing."
        self._breaker = Gauge("gate_upstream_breaker", state, ("upstream",), **kept)
        opened = "Times that an endpoint was left alone because it kept failing."
        self._opened = Counter("gate_upstream_breaker_opened", opened, ("upstream",), **kept)
        hedged = "Requests that were sent once more, because the reply took long."
        self._hedged = Counter("gate_upstream_hedged", hedged, ("upstream",), **kept)
        others = "Replies of another model than the certified one, or the first that was seen."
        self._others = Counter("gate_upstream_other_model", others, ("upstream",), **kept)
        away = "Requests that were not let in, by the code of the error."
        self._turned_away = Counter("gate_turned_away", away, ("code",), **kept)
        shed = "Those of them that there was too much under way for, by the reason."
        self._shed = Counter("gate_shed", shed, ("reason",), **kept)

    def watch_upstreams(self, states: Callable[[], Iterable[Watched]]) -> None:
        """Ask this how those do who are asked, whenever the metrics are shown."""
        self._upstreams = states

    def watch_refused(self, counts: Callable[[], Refused]) -> None:
        """Ask this for the requests that were not let in, by the error's code, and, of too many, by the reason."""
        self._refused = counts

    def watch_shared(self, counters: SharedCounters) -> None:
        """Ask this for its counts whenever the metrics are shown."""
        self._sharing = counters

    def refresh(self) -> None:
        """Ask for all of it."""
        if self._sharing is not None:
            self._count_shared(self._sharing)
        if self._upstreams is not None:
            self._count_upstreams(self._upstreams())
        if self._refused is not None:
            self._count_refused(self._refused())

    def _count_shared(self, counters: SharedCounters) -> None:
        sharing = counters.counts
        self._shared_down.set(not sharing.up)
        self._shared_waiting.set(sharing.waiting)
        for counter, now in (
            (self._shared_lost, sharing.lost),
            (self._shared_failures, sharing.failures),
            (self._shared_alone, sharing.alone),
        ):
            counter.reset()
            counter.inc(now)

    def _count_upstreams(self, watched: Iterable[Watched]) -> None:
        """What was counted since it was last asked for: policies that are loaded anew begin at nothing."""
        self._breaker.clear()
        states: dict[str, int] = {}
        for now in watched:
            self.note(now)
            if now.state is not None:
                states[now.upstream] = max(states.get(now.upstream, 0), now.state)
        for upstream, state in states.items():
            self._breaker.labels(upstream).set(state)

    def note(self, now: Watched) -> None:
        """Add what was counted since this source was last noted: also a last time, before it is forgotten."""
        with self._noting:
            seen = self._seen.setdefault(now.source, {})
            before = seen.get(now.upstream, (0, 0, 0))
            counts = (now.opened, now.hedged, now.other_models)  # another thread may have noted later ones already
            seen[now.upstream] = latest = tuple(map(max, counts, before))
            if now.state is not None:
                self._opened.labels(now.upstream).inc(0)
            for counter, count, noted in zip((self._opened, self._hedged, self._others), latest, before, strict=True):
                if count > noted:
                    counter.labels(now.upstream).inc(count - noted)

    def _count_refused(self, refused: Refused) -> None:
        for counter, counts, seen in zip((self._turned_away, self._shed), refused, self._seen_refused, strict=True):
            for name, count in tuple(counts.items()):
                counter.labels(name).inc(count - seen.get(name, 0))
                seen[name] = count
