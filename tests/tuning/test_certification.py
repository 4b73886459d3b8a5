"""Certification: the order of tests, where they begin, and how often the promise is broken by all of tuning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from gate.guarantees.selective_risk import errors_allowed, upper_bound
from gate.policy import Promise
from gate.tuning import certification
from gate.tuning.bounds import trusted
from gate.tuning.certification import Counted, Foreseen, start
from gate.tuning.search import Option, Prices, Structure, best, between
from gate.tuning.walk import Terrain, walk
from gate.types import Action, Stage
from tests.tuning.terrains import confident, part

PROMISE = Promise(max_error=0.1, confidence=0.9)


def counted(answered: int, wrong: int, money: float = 0.0) -> Counted:
    return Counted(1000, answered, wrong, money)


def run(*counts: Counted) -> list[certification.Tested[int]]:
    return list(certification.tested(enumerate(counts), PROMISE, trusted))


def test_tests_end_with_the_first_that_fails() -> None:
    tests = run(counted(200, 5), counted(400, 25), counted(600, 60), counted(800, 0))
    assert [(test.candidate, test.passed) for test in tests] == [(0, True), (1, True), (2, False)]
    assert [test.bound for test in tests] == [
        pytest.approx(upper_bound(wrong, answered, 0.1)) for answered, wrong in ((200, 5), (400, 25), (600, 60))
    ]


def test_a_policy_that_answers_nothing_is_passed_over() -> None:
    assert [test.candidate for test in run(counted(0, 0), counted(200, 5))] == [1]
    assert run(counted(0, 0)) == run() == []


def test_nothing_is_worked_out_behind_the_first_that_fails() -> None:
    asked = []

    def candidates() -> Iterator[tuple[int, Counted]]:
        for place in range(9):
            asked.append(place)
            yield place, counted(100, 3 * place)

    tests = list(certification.tested(candidates(), PROMISE, trusted))
    assert asked == [test.candidate for test in tests]
    assert [test.passed for test in tests] == [True, True, False]


def test_a_limit_that_meets_the_promise_passes_and_one_that_is_no_number_fails() -> None:
    one = [(0, counted(100, 1))]
    assert next(certification.tested(one, PROMISE, lambda c, delta: 0.1)).passed
    assert not next(certification.tested(one, PROMISE, lambda c, delta: math.nextafter(0.1, 1))).passed
    assert not next(certification.tested(one, PROMISE, lambda c, delta: math.nan)).passed


def test_the_limit_is_asked_for_at_the_delta_of_the_promise() -> None:
    seen = []
    list(certification.tested([(0, counted(9, 0))], PROMISE, lambda c, delta: seen.append((c.answered, delta)) or 0.0))
    assert seen == [(9, pytest.approx(0.1))]


def seen(answered: int, wrong: int, stated: float) -> Foreseen:
    return Foreseen(answered, wrong, stated)


def test_tests_begin_where_other_data_make_passing_likeliest() -> None:
    few, sound, bold = seen(20, 0, 0.01), seen(200, 5, 0.03), seen(900, 100, 0.11)
    assert start([few, sound, bold], 1.0, PROMISE, trusted) == 1
    assert start([seen(0, 0, 1.0), seen(5, 5, 0.9), few], 4.0, PROMISE, trusted) == 2
    assert start([seen(0, 0, 1.0)] * 2, 1.0, PROMISE, trusted) == start([], 1.0, PROMISE, trusted) == 0


def test_the_first_is_taken_where_none_can_pass() -> None:
    assert start([seen(2, 0, 0.0), seen(3, 0, 0.0)], 1.0, PROMISE, trusted) == 1  # of those the nearest
    assert start([seen(3, 3, 1.0), seen(3, 3, 1.0)], 1.0, PROMISE, trusted) == 0


def test_what_confidences_state_goes_beside_what_was_seen() -> None:
    """Thirty right answers of which their confidences say that one in four is wrong are not thirty sure ones."""
    lucky, sound = seen(30, 0, 0.25), seen(60, 2, 0.03)
    assert start([lucky, sound], 3.0, PROMISE, trusted) == 1
    assert start([seen(30, 0, 0.0), seen(60, 9, 0.15)], 3.0, PROMISE, trusted) == 0


@given(st.integers(1, 400), st.floats(0.02, 0.4), st.floats(0.6, 0.99))
def test_the_most_errors_are_those_of_the_exact_bound(answered: int, alpha: float, confidence: float) -> None:
    allowed = errors_allowed(answered, alpha, 1 - confidence)
    promise = Promise(max_error=alpha, confidence=confidence)
    assert certification.most_errors(answered, promise, trusted) == (-1 if allowed is None else allowed)


@given(st.integers(-1, 60), st.integers(1, 60), st.floats(0.5, 40), st.floats(0.5, 40))
def test_the_chance_to_pass_is_that_of_a_beta_binomial(k: int, n: int, a: float, b: float) -> None:
    k = min(k, n)
    assert certification._beta_binomial_cdf(k, n, a, b) == pytest.approx(betabinom.cdf(k, n, a, b), abs=1e-9)


# --- all of tuning, many times -----------------------------------------------------------------------------------

WORLDS, FIT, CERTIFY, ALL = 300, 100, 300, 20_000
SHAPES = (Structure(("a",), ()), Structure(("a", "b"), (Action.ESCALATE,)))
RATIOS = tuple(float(r) for r in np.geomspace(20.0, 1.2, 4))
WRONG = 0.1
"""So cheap is a wrong answer to whoever chooses among those that passed: the boldest are taken."""
STRICT = Promise(max_error=0.12, confidence=0.9)


@cache
def everyone() -> Terrain:
    """All the questions there are: what a policy does with them is what it does. p is far too sure of itself."""
    rng = np.random.default_rng(3)
    ease = rng.normal(0.4, 1.3, ALL)
    rounds = {}
    for name, skill, money in (("a", 0.0, 0.001), ("b", 1.0, 0.02)):
        level = ease + skill + rng.normal(0, 0.8, ALL)
        right = (rng.random(ALL) < 1 / (1 + np.exp(-level))).astype(np.float64)
        p = 1 / (1 + np.exp(-1.6 * level - 0.6 + rng.normal(0, 0.5, ALL)))
        rounds[name, False] = (confident(Stage(name), p, right, np.full(ALL, money)),)
    return Terrain(ALL, rounds, ("a", "b"), True, np.ones(ALL))


def sequence(fit: Terrain) -> list[Option]:
    """As tuning makes it: at each price the best of all structures, with others between those far apart."""
    made: list[Option] = []
    for ratio in RATIOS:
        prices = Prices(0.1 * ratio, 0.1)
        option = min((best(fit, shape, prices) for shape in SHAPES), key=lambda found: found.expected_cost)
        if made and (made[-1].structure, made[-1].rule) == (option.structure, option.rule):
            continue
        made += [*(between(fit, made[-1], option, prices) if made else ()), option]
    return made


def counts_of(terrain: Terrain, option: Option) -> Counted:
    walked = walk(replace(terrain, ladder=option.structure.ladder), option.rule)
    wrong = int((walked.answered & (walked.correct == 0.0)).sum())
    return Counted(terrain.n, int(walked.answered.sum()), wrong, float(walked.costs["money"].mean()))


def foreseen(fit: Terrain, option: Option) -> Foreseen:
    done = counts_of(fit, option)
    return Foreseen(done.answered, done.wrong, option.stated)


def chosen(tests: Sequence[certification.Tested[Option]]) -> Option | None:
    def cost(test: certification.Tested[Option]) -> float:
        c = test.counted
        return c.money + (0.1 * (c.asked - c.answered) + WRONG * c.wrong) / c.asked

    found = min((test for test in tests if test.passed), key=cost, default=None)
    return found.candidate if found else None


def broken(option: Option) -> bool:
    done = counts_of(everyone(), option)
    return done.wrong > STRICT.max_error * done.answered


@cache
def tuned_many_times() -> tuple[tuple[bool, bool, bool, bool], ...]:
    """For each world: whether a policy was certified, and broken; the same of a twin that certifies where it fitted."""
    found = []
    for seed in range(WORLDS):
        rows = np.random.default_rng(seed).integers(0, ALL, FIT + CERTIFY)
        fit, held_out = part(everyone(), rows[:FIT]), part(everyone(), rows[FIT:])
        options = sequence(fit)
        at = start([foreseen(fit, option) for option in options], CERTIFY / FIT, STRICT, trusted)
        both = []
        for judge in (held_out, fit):
            tests = list(certification.tested(((o, counts_of(judge, o)) for o in options[at:]), STRICT, trusted))
            option = chosen(tests)
            both += [option is not None, option is not None and broken(option)]
        found.append(tuple(both))
    return tuple(found)


def test_all_of_tuning_breaks_the_promise_no_more_often_than_it_says() -> None:
    certified, wrong, _, _ = np.mean(tuned_many_times(), axis=0)
    delta = 1 - STRICT.confidence
    assert wrong <= delta + 3 * math.sqrt(delta * (1 - delta) / WORLDS)
    assert certified > 0.4  # and it is no promise kept by refusing
    assert wrong > 0.02  # nor one that has room to spare


def test_certifying_on_what_was_fitted_breaks_it_far_more_often() -> None:
    _, honest, _, wrong = np.mean(tuned_many_times(), axis=0)
    assert wrong > max(2 * honest, 1 - STRICT.confidence)
