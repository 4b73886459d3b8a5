"""The first page: for each policy what it promises, whether that is kept, and what it did in the last hour and day."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from gate.dashboard.serving import LivePolicy
from gate.guarantees.monitor import DriftMonitor
from gate.log.kept import DecisionReader, Kept, Sought, Total

HOUR, DAY = 3600.0, 86_400.0
SAMPLE = 500
"""So many of the newest decisions are looked at to see which ways they went."""
_ORDER = ("answer", "clarify", "abstain", "")


@dataclass(frozen=True, slots=True)
class Part:
    """How many ended one way."""

    action: str
    count: int
    share: float
    start: float
    """Where it begins in a bar of all."""


@dataclass(frozen=True, slots=True)
class Period:
    """What happened since some time. A mean or a share of nothing is None."""

    name: str
    count: int
    coverage: float | None
    """Answered, or of observed ones to be answered, among all that were decided."""
    retracted: int
    observed: int
    tokens: int
    money: float
    seconds: float | None
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Ways:
    """Which ways the newest decisions went."""

    count: int
    retrieved: int
    escalated: int
    """Their last draft was another model's than the first of the ladder."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What the monitor says of the promise."""

    audited: int
    wrong: int
    risk: float | None
    interval: tuple[float, float] | None
    e_value: float
    limit: float
    place: float
    """Of the evidence against the promise between none, 0, and an alarm, 1: on a logarithmic scale."""
    alarm: bool


@dataclass(frozen=True, slots=True)
class Card:
    live: LivePolicy
    hour: Period | None
    day: Period | None
    ways: Ways | None
    drift: Drift | None


def overview(reader: DecisionReader | None, policies: Sequence[LivePolicy], now: float) -> tuple[Card, ...]:
    """A card for each policy. Blocks."""
    return tuple(_card(reader, live, now) for live in policies)


def _card(reader: DecisionReader | None, live: LivePolicy, now: float) -> Card:
    if reader is None:
        return Card(live, None, None, None, drift(live.monitor))
    hour, day = (
        period(name, reader.totals(Sought(policy=live.name, since=now - back)))
        for name, back in (("Last hour", HOUR), ("24 hours", DAY))
    )
    newest = reader.recent(Sought(policy=live.name, since=now - DAY), SAMPLE)
    monitor = reader.monitor(live.name, live.fingerprint) or live.monitor  # the log's is of all workers
    return Card(live, hour, day, ways(newest, live.ladder), drift(monitor))


def period(name: str, totals: Sequence[Total]) -> Period:
    """The sums of one policy, put together."""
    counts: dict[str, int] = defaultdict(int)
    for total in totals:
        counts[total.action] += total.count
    everything = sum(counts.values())
    decided = everything - counts.get("", 0)
    parts, start = [], 0.0
    for action in sorted(counts, key=lambda a: (_ORDER.index(a) if a in _ORDER else len(_ORDER), a)):
        share = counts[action] / everything if everything else 0.0
        parts.append(Part(action, counts[action], share, start))
        start += share
    return Period(
        name=name,
        count=everything,
        coverage=counts.get("answer", 0) / decided if decided else None,
        retracted=sum(t.retracted for t in totals),
        observed=sum(t.count for t in totals if t.mode == "observe"),
        tokens=sum(t.prompt_tokens + t.completion_tokens for t in totals),
        money=sum(t.money for t in totals),
        seconds=sum(t.seconds * t.count for t in totals) / everything if everything else None,
        parts=tuple(p for p in parts if p.count),
    )


def ways(newest: Sequence[Kept], ladder: Sequence[str]) -> Ways:
    """What the stages of the last drafts tell."""
    retrieved = sum("/with_passages/" in kept.stage for kept in newest)
    first = f"{ladder[0]}/" if ladder else ""
    escalated = sum(bool(kept.stage) and not kept.stage.startswith(first) for kept in newest)
    return Ways(len(newest), retrieved, escalated)


def drift(monitor: DriftMonitor | None) -> Drift | None:
    if monitor is None:
        return None
    limit = 1 / monitor.delta
    place = math.log(max(1.0, monitor.peak if monitor.alarm else monitor.e_value)) / math.log(limit)
    return Drift(
        audited=monitor.audited,
        wrong=monitor.wrong,
        risk=monitor.risk,
        interval=monitor.interval if monitor.audited else None,
        e_value=monitor.e_value,
        limit=limit,
        place=min(1.0, place),
        alarm=monitor.alarm,
    )
