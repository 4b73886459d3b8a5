"""Numbers, times and codes in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gate.dashboard import wording
from gate.log.kept import Label
from tests.dashboard.fake_reader import NOW, a_decision

S = "\u00a0"


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (None, "–"),
        (0.0, f"0{S}%"),
        (1.0, f"100{S}%"),
        (0.00001, f"<{S}0.01{S}%"),
        (0.99999, f">{S}99.99{S}%"),
        (0.0049, f"0.49{S}%"),
        (0.9915, f"99.15{S}%"),
        (0.4567, f"45.7{S}%"),
    ],
)
def test_only_what_is_nothing_or_all_is_said_to_be(share: float | None, said: str) -> None:
    assert wording.percent(share) == said


def test_what_was_chosen_is_said_as_it_was_written() -> None:
    assert [wording.chosen(x) for x in (0.05, 0.9427, 1.0, None)] == [f"5{S}%", f"94.27{S}%", f"100{S}%", "–"]


def test_money_seconds_and_counts() -> None:
    assert [wording.money(x) for x in (None, 0, 0.0000015, 0.0402, 12.345, 1234.5)] == [
        "–", "$0", "$0.0000015", "$0.0402", "$12.35", "$1,234.50",
    ]  # fmt: skip
    assert [wording.seconds(x) for x in (None, 0, 0.0834, 0.3, 2.5)] == [
        "–",
        f"0{S}ms",
        f"83{S}ms",
        f"300{S}ms",
        f"2.5{S}s",
    ]
    assert [wording.short(x) for x in (0, 9999, 12_345, 123_456, 4_560_000)] == [
        "0", "9,999", f"12.3{S}k", f"123{S}k", f"4.6{S}M",
    ]  # fmt: skip
    assert (wording.counted(1, "label"), wording.counted(1200, "label")) == (f"1{S}label", f"1,200{S}labels")
    assert wording.counted(2, "decision was", "decisions were") == f"2{S}decisions were"
    assert (wording.count(1234.4), wording.count(None)) == ("1,234", "–")


def test_differences_have_a_sign_and_a_real_minus() -> None:
    assert [wording.signed(x) for x in (1.5, -0.456, 0.001)] == ["+1.50", "−0.46", "0"]
    assert (wording.number(-1.23456, 2), wording.number(None)) == ("−1.23", "–")
    assert [wording.value(x) for x in (None, -0.14308, 0.0, 1e-5)] == ["–", "−0.143", "0.000", "1.00e−05"]


def test_times_say_the_day_only_where_it_is_another() -> None:
    assert wording.clock(NOW - 60, NOW) == "14:02:00"
    assert wording.clock(NOW - 86_400, NOW) == f"29{S}Jul{S}14:03"
    assert wording.clock(NOW - 400 * 86_400, NOW) == f"25{S}Jun{S}2025"
    assert wording.moment(NOW) == "2026-07-30T14:03:00Z"
    assert wording.in_full(NOW) == f"30{S}July{S}2026, 14:03:00{S}UTC"
    assert wording.day(datetime(2026, 7, 3, tzinfo=UTC)) == f"3{S}Jul"


def test_what_was_done_says_would_where_gate_only_observes() -> None:
    assert wording.done(a_decision()) == "Answered"
    assert wording.done(a_decision(mode="observe", action="abstain")) == "Would abstain"
    assert wording.done(a_decision(mode="observe", action="")) == "Failed"
    assert wording.action("something_new") == "something_new"


def test_codes_in_words_and_new_ones_as_they_are() -> None:
    assert wording.reason("budget_spent") == "the budget is spent"
    assert wording.reason("brand_new") == "brand new"
    assert wording.reason(None) == "–"


def test_the_state_of_a_label() -> None:
    states = [wording.standing(a_decision(label=Label("d0", correct, "me"))) for correct in (True, False, None)]
    assert states == [("right", "Right"), ("wrong", "Wrong"), ("unclear", "Cannot tell")]
    assert wording.standing(a_decision(audit=0.05)) == ("waiting", "To review")
    assert wording.standing(a_decision()) == ("none", "No label")
    assert wording.verdict(None) == "No label"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("small/closed_book/tier0", "small by itself"),
        ("hub/small/with_passages/tier2", "hub/small with passages, evidence tier 2"),
        ("large/with_passages/tier1/memory", "large from memory, beside passages, evidence tier 1"),
        ("odd", "odd"),
        ("a/b/c", "a/b/c"),
        ("", ""),
    ],
)
def test_stages_in_words(key: str, said: str) -> None:
    assert wording.stage(key) == said


def test_chances() -> None:
    assert [wording.one_in(p) for p in (1.0, 0.05, 0.3)] == ["all", "1 in 20", f"30.0{S}%"]
