"""Filters, places in the list, and whose decisions are shown."""

from __future__ import annotations

import dataclasses

import pytest

from gate.dashboard.decisions import PAGE, Filters, listed, own
from gate.errors import RequestError
from tests.dashboard.fake_reader import ADMIN, NOW, REVIEWER, FakeReader, a_decision


def test_filters_become_what_the_log_is_asked() -> None:
    fields = {"policy": "balanced", "action": "answer", "key": "chat-app", "period": "1h"}
    sought = Filters.read(fields).sought(ADMIN, NOW)
    assert (sought.policy, sought.action, sought.keys, sought.since) == (
        "balanced",
        "answer",
        ("chat-app",),
        NOW - 3600,
    )
    assert Filters.read({}).sought(ADMIN, NOW).keys is None


def test_a_reviewer_asks_of_its_own_key_whatever_the_filter_says() -> None:
    assert Filters.read({"key": "chat-app"}).sought(REVIEWER, NOW).keys == ("notebook",)
    assert Filters.read({}).sought(REVIEWER, NOW).keys == ("notebook",)


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "<script>"}, {"period": "2h"}, {"before": "yesterday"}, {"before_id": "../x"}, {"policy": "p" * 201},
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(RequestError):
        Filters.read(fields)


def test_the_query_says_the_filters_again() -> None:
    assert Filters.read({"policy": "a&b", "period": "7d", "before": "1.5"}).query == "policy=a%26b&period=7d"


def test_pages_meet_without_gap_or_repetition_even_at_one_moment() -> None:
    reader = FakeReader()
    for number in range(2 * PAGE + 7):
        reader.add(a_decision(f"d{number:03d}", at=NOW - number // 10))  # ten of each moment
    seen: list[str] = []
    filters = Filters(policy="balanced")
    for _ in range(3):
        found = listed(reader, filters, ADMIN, NOW)
        seen.extend(kept.id for kept in found.rows)
        assert found.live == (filters.before is None)
        if not found.older:
            break
        parts = dict(part.split("=") for part in found.older.split("&"))
        assert parts["policy"] == "balanced"
        filters = Filters.read(parts)
    assert not found.older
    expected = sorted(reader.rows.values(), key=lambda k: (k.at, k.id), reverse=True)
    assert seen == [kept.id for kept in expected]


def test_another_keys_decision_looks_as_if_it_were_not_there() -> None:
    reader = FakeReader()
    reader.add(a_decision("mine", key="notebook"))
    reader.add(a_decision("theirs", key="chat-app"))
    assert own(reader, "mine", REVIEWER) is not None
    assert own(reader, "theirs", REVIEWER) is None
    assert own(reader, "nobodys", REVIEWER) is None
    assert own(reader, "theirs", ADMIN) is not None
    nameless = dataclasses.replace(REVIEWER, name="")
    assert own(reader, "theirs", nameless) is None
