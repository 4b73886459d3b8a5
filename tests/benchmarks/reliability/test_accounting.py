"""Counts, bounds and how long healing took, of made-up requests."""

from __future__ import annotations

import pytest

from tests.benchmarks.reliability.accounting import (
    Asked,
    Kind,
    Phases,
    answered_once,
    beyond_the_limit,
    clopper_pearson,
    recovery,
    tally,
)
from tests.benchmarks.reliability.questions import TIGHT, TIGHT_REQUESTS, Item

EASY = next(item for item in (Item(str(n), "alpha") for n in range(100)) if not item.hard)
HARD = next(item for item in (Item(str(n), "alpha") for n in range(100)) if item.hard)


def one(at: float, kind: Kind = Kind.RIGHT, *, took: float = 0.1, item: Item = EASY, **more: object) -> Asked:
    return Asked(item, at, at + took, kind, **more)  # type: ignore[arg-type]


def steady(begin: float, end: float, kind: Kind = Kind.RIGHT) -> list[Asked]:
    return [one(begin + place / 20, kind) for place in range(int((end - begin) * 20))]


def test_what_became_of_all() -> None:
    asked = [
        one(0, status=200, decisions=("a",)),
        one(1, Kind.WRONG, status=200, decisions=("b", "c")),
        one(2, Kind.WITHHELD, took=0.3),
        one(3, Kind.REFUSED, status=503, code="overloaded"),
        one(4, Kind.CUT, again=2),
        one(5, Kind.LOST),
        one(6, Kind.LEAK),
    ]
    found = tally(asked, Phases(1, 2), 1, cuts_are_lost=True)
    assert (found.tries, found.let_out, found.wrong, found.leaks, found.lost) == (7, 2, 1, 1, 2)
    assert (found.refusals, found.again, found.missing, found.named) == ({"503 overloaded": 1}, 1, 1, 3)
    assert found.p99 == pytest.approx(0.3)
    assert tally(asked, Phases(1, 2), 1, cuts_are_lost=False).lost == 1


def test_it_is_back_when_right_answers_are() -> None:
    before, fault, late, after = steady(0, 4), steady(4, 6, Kind.REFUSED), steady(6, 7, Kind.REFUSED), steady(7, 12)
    assert recovery([*before, *fault, *late, *after], Phases(4, 6)) == pytest.approx(1.0, abs=0.3)
    assert recovery([*before, *fault, *steady(6, 12)], Phases(4, 6)) == pytest.approx(0.0, abs=0.25)


def test_what_does_not_come_back_is_not_back() -> None:
    assert recovery([*steady(0, 4), *steady(4, 12, Kind.REFUSED)], Phases(4, 6)) is None
    assert recovery([*steady(0, 4), *steady(4, 12, Kind.WITHHELD)], Phases(4, 6)) is None
    assert recovery([], Phases(4, 6)) is None


def test_what_the_model_does_not_know_is_no_outage() -> None:
    hard = [one(at / 10, Kind.WITHHELD, item=HARD) for at in range(120)]
    assert recovery([*steady(0, 12), *hard], Phases(4, 6)) == 0.0


@pytest.mark.parametrize(
    ("wrong", "of", "low", "high"),
    [(0, 59, 0.0, 0.0495), (0, 0, 0.0, 1.0), (5, 5, 0.5493, 1.0), (10, 100, 0.0553, 0.1637)],
)
def test_the_bounds_are_those_of_clopper_and_pearson(wrong: int, of: int, low: float, high: float) -> None:
    assert clopper_pearson(wrong, of) == pytest.approx((low, high), abs=5e-4)


def test_what_goes_out_wrong_while_a_fault_lasts_is_not_hidden_by_the_rest() -> None:
    asked = [*steady(0, 40), *steady(40, 42, Kind.WRONG), *steady(42, 80)]
    found = tally(asked, Phases(40, 42), 0, cuts_are_lost=True)
    assert (found.out_meanwhile, found.wrong_meanwhile) == (40, 40)
    assert found.bounds[0] < 0.05
    assert found.broken(0.05)
    assert not tally(asked, Phases(50, 52), 0, cuts_are_lost=True).broken(0.05)


def test_of_a_tight_limit_more_than_its_time_brings_is_too_much() -> None:
    item = Item("1", TIGHT)
    asked = [one(at, item=item, decisions=(str(at),)) for at in range(10)]
    repeat = one(9.5, item=item, decisions=("9",))
    refused = one(9.5, Kind.REFUSED, item=item)
    assert beyond_the_limit([*asked, repeat, refused]) == (10, 10 - TIGHT_REQUESTS - 1)
    assert beyond_the_limit(asked, fills=2) == (10, 0)
    assert beyond_the_limit([*asked, one(60, item=EASY)]) == (10, 0)


def test_a_key_is_answered_once_whoever_else_uses_the_same() -> None:
    first, other = one(0, key="k", decisions=("a",)), one(0, key="k", decisions=("b",), item=Item("1", "beta"))
    again = one(1, key="k", decisions=("a",), repeats=True)
    anew = one(1, key="k", decisions=("c",), repeats=True)
    assert answered_once([first, other]) == (0, 0)
    assert answered_once([first, other, again]) == (1, 0)
    assert answered_once([first, other, again, anew]) == (1, 1)
    unsure = one(1, key="k", decisions=("c",), sure=False)
    failed = one(1, Kind.REFUSED, key="k")
    assert answered_once([first, unsure, failed]) == (0, 0)
    assert answered_once([one(0, decisions=("a",)), one(0, decisions=("b",))]) == (0, 0), "they have no key"


def test_a_backlog_that_is_worked_off_is_no_sign_that_it_is_over() -> None:
    before, fault = steady(0, 4), [one(4 + place / 20, took=2.5 - place / 20) for place in range(40)]
    assert recovery([*before, *fault, *steady(6, 12, Kind.REFUSED)], Phases(4, 6)) is None
    slow = [one(6 + place / 20, took=4.0) for place in range(60)]
    assert recovery([*before, *fault, *slow, *steady(9, 14)], Phases(4, 6)) == pytest.approx(3.0, abs=0.3)


def test_what_goes_away_again_was_not_back() -> None:
    before, fault = steady(0, 4), steady(4, 6, Kind.REFUSED)
    flash = [*steady(6, 7.5), *steady(7.5, 9, Kind.REFUSED), *steady(9, 40)]
    assert recovery([*before, *fault, *flash], Phases(4, 6)) == pytest.approx(3.0, abs=0.3)
    assert recovery([*before, *fault, *steady(6, 9), *steady(9, 12, Kind.REFUSED)], Phases(4, 6)) is None
    one_bad = [*steady(6, 9), one(9, Kind.REFUSED), *steady(9.05, 12)]
    assert recovery([*before, *fault, *one_bad], Phases(4, 6)) == 0.0


def test_who_always_took_long_is_not_late() -> None:
    asked = [one(place / 20, took=2.0) for place in range(240)]
    assert recovery(asked, Phases(4, 6)) == 0.0


def test_what_was_under_way_when_the_fault_came_is_the_fault_s() -> None:
    asked = [*steady(0, 3.5), *[one(3.5 + place / 20, Kind.REFUSED, took=0.8) for place in range(10)]]
    assert tally(asked, Phases(4, 6), 0, cuts_are_lost=True).before == 1.0
    stood_still = [*steady(0, 2), *[one(2 + place / 20, Kind.LOST, took=20) for place in range(40)]]
    assert tally(stood_still, Phases(4, 6), 0, cuts_are_lost=True).before == pytest.approx(0.67, abs=0.05)


def test_a_refusal_needs_a_reason() -> None:
    asked = [
        one(0, Kind.REFUSED, status=503, code="overloaded"),
        one(3, Kind.REFUSED, status=503, code="overloaded"),
        one(3, Kind.REFUSED, status=503, code="log_unavailable"),
        one(3, Kind.REFUSED, status=429, code="rate_limit_exceeded"),
        one(0, Kind.REFUSED, status=429, code="rate_limit_exceeded", item=Item("1", TIGHT)),
        one(0, Kind.REFUSED, status=429, code="insufficient_quota", item=Item("1", TIGHT)),
    ]
    found = tally(asked, Phases(2, 4), 0, cuts_are_lost=True, explained=("overloaded",)).unexplained
    assert found == {
        "503 overloaded before the fault": 1,
        "503 log_unavailable": 1,
        "429 rate_limit_exceeded": 1,
        "429 insufficient_quota before the fault": 1,
    }


def test_what_fails_is_slow_too() -> None:
    asked = [*steady(0, 1), one(1, Kind.LOST, took=20), one(1, Kind.REFUSED, took=9)]
    kept_out = [one(1, Kind.REFUSED, took=0, status=429, code="rate_limit_exceeded", item=Item("1", TIGHT))] * 40
    found = tally([*asked, *kept_out, one(1, Kind.UNSENT, took=0)], Phases(2, 4), 0, cuts_are_lost=True)
    assert (found.p50, found.p99) == (pytest.approx(0.1), 20)
