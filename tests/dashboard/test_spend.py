"""Who spent how much, and when."""

from __future__ import annotations

import pytest

from gate.dashboard.spend import spending
from tests.dashboard.fake_reader import NOW, FakeReader, a_decision

DAY = 86_400.0
MIDNIGHT = NOW - NOW % DAY


def test_days_begin_at_midnight_utc_and_sums_are_told_apart() -> None:
    reader = FakeReader()
    for name, at, key, money in (
        ("a", MIDNIGHT + 1, "one", 1.0),
        ("b", MIDNIGHT - 1, "one", 2.0),
        ("c", MIDNIGHT - 1, "two", 8.0),
        ("d", MIDNIGHT - 6 * DAY, "one", 4.0),
        ("e", MIDNIGHT - 6 * DAY - 1, "one", 100.0),
    ):
        reader.add(a_decision(name, at=at, key=key, money=money, prompt_tokens=10, completion_tokens=5))
    found = spending(reader, 7, NOW)
    assert [k.key for k in found.keys] == ["two", "one"]
    assert [day.money for day in found.keys[1].days] == pytest.approx([4, 0, 0, 0, 0, 2, 1])
    assert [day.tokens for day in found.keys[1].days] == [15, 0, 0, 0, 0, 15, 15]
    assert [day.money for day in found.total] == pytest.approx([4, 0, 0, 0, 0, 10, 1])
    assert (found.money, found.tokens, found.largest) == (pytest.approx(15), 60, pytest.approx(10))
    assert found.days[-1].timestamp() == MIDNIGHT
    (policy,) = found.policies
    assert (policy.policy, policy.count, policy.money) == ("balanced", 4, pytest.approx(15))


def test_what_comes_in_meanwhile_makes_no_day_negative() -> None:
    class Busy(FakeReader):
        def spent(self, since: float) -> list[tuple[str, float, int]]:
            found = super().spent(since)
            self.add(a_decision(f"x{len(self.rows)}", at=NOW - 1))
            return list(found)

    found = spending(Busy(), 7, NOW)
    assert all(day.money >= 0 and day.tokens >= 0 for day in found.total)


def test_nothing_spent() -> None:
    found = spending(FakeReader(), 14, NOW)
    assert (found.keys, found.policies, found.money, found.largest, len(found.total)) == ((), (), 0, 0, 14)
