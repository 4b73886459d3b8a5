"""What it costs: by key and day, and by policy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gate.log.kept import DecisionReader, Sought, Total

DAYS = ("7", "14", "30")


@dataclass(frozen=True, slots=True)
class Spent:
    """By one key on one day; money in US dollars."""

    money: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class KeySpend:
    key: str
    money: float
    tokens: int
    days: tuple[Spent, ...]
    """The oldest first, one for each day of the period."""


@dataclass(frozen=True, slots=True)
class PolicySpend:
    policy: str
    count: int
    money: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Spending:
    days: tuple[datetime, ...]
    """Midnights, UTC, the oldest first; the last is today's."""
    total: tuple[Spent, ...]
    """Of all keys, by day."""
    keys: tuple[KeySpend, ...]
    """Who spent most first."""
    policies: tuple[PolicySpend, ...]

    @property
    def money(self) -> float:
        return sum(day.money for day in self.total)

    @property
    def tokens(self) -> int:
        return sum(day.tokens for day in self.total)

    @property
    def largest(self) -> float:
        """Of any day: the height of a chart."""
        return max((day.money for day in self.total), default=0.0)


def spending(reader: DecisionReader, days: int, now: float) -> Spending:
    """The last ``days`` days with today. Blocks."""
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    midnights = tuple(today - timedelta(days=back) for back in reversed(range(days)))
    # sums since the newest midnight first: what comes in meanwhile can then only be counted, never be negative
    since = [dict(_by_key(reader.spent(at.timestamp()))) for at in reversed(midnights)][::-1]
    names = {key for held in since for key in held}
    keys = [_key(key, [held.get(key, Spent()) for held in since]) for key in names]
    keys.sort(key=lambda k: (-k.money, -k.tokens, k.key))
    total = tuple(Spent(sum(k.days[i].money for k in keys), sum(k.days[i].tokens for k in keys)) for i in range(days))
    by_policy = _policies(reader.totals(Sought(since=midnights[0].timestamp())))
    return Spending(midnights, total, tuple(keys), by_policy)


def _by_key(rows: Sequence[tuple[str, float, int]]) -> list[tuple[str, Spent]]:
    return [(key, Spent(money, tokens)) for key, money, tokens in rows]


def _key(key: str, since: Sequence[Spent]) -> KeySpend:
    """Of sums since each midnight, the days between."""
    after = [*since[1:], Spent()]
    each = tuple(
        Spent(max(0.0, a.money - b.money), max(0, a.tokens - b.tokens)) for a, b in zip(since, after, strict=True)
    )
    return KeySpend(key, since[0].money, since[0].tokens, each)


def _policies(totals: Sequence[Total]) -> tuple[PolicySpend, ...]:
    held: dict[str, list[Total]] = defaultdict(list)
    for total in totals:
        held[total.policy].append(total)
    made = (
        PolicySpend(
            policy,
            sum(t.count for t in parts),
            sum(t.money for t in parts),
            sum(t.prompt_tokens + t.completion_tokens for t in parts),
        )
        for policy, parts in held.items()
    )
    return tuple(sorted(made, key=lambda p: (-p.money, p.policy)))
