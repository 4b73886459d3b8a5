"""Which settings keep the promise: worked p-values, the procedures against each other, and no false rejection."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from gate.guarantees.learn_then_test import (
    _bentkus,
    _hoeffding,
    binomial_p_value,
    fixed_sequence,
    graphical,
    hoeffding_bentkus_p_value,
    holm,
)
from gate.guarantees.selective_risk import upper_bound

P_VALUES = st.lists(st.sampled_from([0.0, 0.004, 0.012, 0.02, 0.03, 0.05, 0.4, 1.0]), min_size=1, max_size=7)
DELTA = 0.05


def chain(m: int) -> list[list[float]]:
    return [[float(j == i + 1) for j in range(m)] for i in range(m)]


def everyone(m: int) -> list[list[float]]:
    return [[0.0 if i == j else 1 / max(1, m - 1) for j in range(m)] for i in range(m)]


# --- p-values ----------------------------------------------------------------------------------------------------


def test_worked_p_values() -> None:
    assert _bentkus(30, 500, 0.1) == pytest.approx(0.002725, abs=1e-6)
    assert _hoeffding(30, 500, 0.1) == pytest.approx(0.006017, abs=1e-6)
    assert hoeffding_bentkus_p_value(30, 500, 0.1) == pytest.approx(0.002725, abs=1e-6)
    assert binomial_p_value(30, 500, 0.1) == pytest.approx(0.001003, abs=1e-6)


def test_a_sum_of_shares_is_not_rounded_up_by_its_last_bit() -> None:
    assert math.ceil(100 * 0.07) == 8
    assert hoeffding_bentkus_p_value(100 * 0.07, 100, 0.1) == pytest.approx(hoeffding_bentkus_p_value(7, 100, 0.1))


@given(st.integers(1, 200), st.data(), st.floats(0.01, 0.9), st.floats(0.01, 0.5))
def test_a_p_value_below_delta_is_a_bound_below_alpha(n: int, data: st.DataObject, alpha: float, delta: float) -> None:
    errors = data.draw(st.integers(0, n))
    p, bound = binomial_p_value(errors, n, alpha), upper_bound(errors, n, delta)
    if abs(p - delta) > 1e-9:
        assert (p <= delta) == (bound <= alpha)
    assert hoeffding_bentkus_p_value(errors, n, alpha) >= p - 1e-12


def test_without_answers_nothing_is_shown_and_odd_counts_are_refused() -> None:
    assert binomial_p_value(0, 0, 0.1) == hoeffding_bentkus_p_value(0, 0, 0.1) == 1.0
    assert hoeffding_bentkus_p_value(50, 50, 0.1) == 1.0
    for errors, n, alpha in ((-1, 5, 0.1), (6, 5, 0.1), (1, 5, 0.0), (1, 5, 1.0), (1, 5, math.nan)):
        with pytest.raises(ValueError, match="need 0 <="):
            binomial_p_value(errors, n, alpha)
        with pytest.raises(ValueError, match="need 0 <="):
            hoeffding_bentkus_p_value(errors, n, alpha)


@pytest.mark.parametrize("p_value", [_hoeffding, _bentkus, hoeffding_bentkus_p_value])
def test_at_the_edge_a_p_value_is_small_no_oftener_than_it_says(p_value: Callable[[float, int, float], float]) -> None:
    """Losses of 0, .5 and 1 with a mean of exactly alpha."""
    rng = np.random.default_rng(0)
    totals = rng.choice([0.0, 0.5, 1.0], p=[0.85, 0.1, 0.05], size=(4000, 300)).sum(1)
    p = {total: p_value(float(total), 300, 0.1) for total in np.unique(totals)}
    for level in (0.05, 0.2):
        assert np.mean([p[t] <= level for t in totals]) <= level + 3 * math.sqrt(level * (1 - level) / 4000)


# --- procedures --------------------------------------------------------------------------------------------------


def test_a_sequence_ends_at_its_first_failure() -> None:
    assert fixed_sequence([0.01, 0.04, 0.06, 0.0], DELTA) == (True, True, False, False)
    assert fixed_sequence([0.06, 0.0], DELTA) == (False, False)
    assert fixed_sequence([], DELTA) == ()


def test_several_sequences_share_the_error_and_survive_a_bad_start() -> None:
    p = [0.3, 0.001, 0.02, 0.03]
    assert fixed_sequence(p, DELTA) == (False,) * 4
    assert fixed_sequence(p, DELTA, [[0, 1], [2, 3]]) == (False, False, True, False)
    assert fixed_sequence(p, DELTA, [[0], [1, 2, 0]]) == (False, True, True, False)


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005], DELTA) == (True, False, False, True)  # .03 > .05 / 2
    assert holm([0.01, 0.04, 0.02, 0.005], DELTA) == (True, True, True, True)
    assert holm([0.02, 0.02, 0.02], DELTA) == (False, False, False)


def test_what_one_sequence_leaves_another_gets() -> None:
    p, weights = [0.01, 0.04], [0.5, 0.5]
    assert fixed_sequence(p, DELTA, [[0], [1]]) == (True, False)
    assert graphical(p, DELTA, weights, [[0, 1], [1, 0]]) == (True, True)
    assert graphical(p, DELTA, weights, [[0, 0], [0, 0]]) == (True, False)


def test_the_worked_graph_of_two_doses_and_two_endpoints() -> None:
    """Two doses share the error; the first endpoint of each hands half to the other dose, half to its own second."""
    weights = [0.5, 0.5, 0.0, 0.0]
    graph = [[0, 0.5, 0.5, 0], [0.5, 0, 0, 0.5], [0, 1, 0, 0], [1, 0, 0, 0]]
    # .02 <= .025 goes; then the other dose has .0375 and the second endpoint .0125; .01 goes and gives the rest over
    assert graphical([0.02, 0.045, 0.01, 0.5], DELTA, weights, graph) == (True, True, True, False)
    assert graphical([0.02, 0.045, 0.013, 0.5], DELTA, weights, graph) == (True, False, False, False)


@given(P_VALUES)
def test_holm_is_the_graph_in_which_everyone_hands_to_everyone(p: list[float]) -> None:
    m = len(p)
    assert graphical(p, DELTA * 1.0001, [1 / m] * m, everyone(m)) == holm(p, DELTA * 1.0001)


@given(P_VALUES, P_VALUES)
def test_fixed_sequences_are_chains_of_the_graph(one: list[float], other: list[float]) -> None:
    m, n = len(one), len(other)
    alone = graphical(one, DELTA, [1.0] + [0.0] * (m - 1), chain(m))
    assert alone == fixed_sequence(one, DELTA)
    graph = [[*row, *[0.0] * n] for row in chain(m)] + [[*[0.0] * m, *row] for row in chain(n)]
    starts = [float(i in (0, m)) / 2 for i in range(m + n)]
    walks = [range(m), range(m, m + n)]
    assert graphical([*one, *other], DELTA, starts, graph) == fixed_sequence([*one, *other], DELTA, walks)


@given(P_VALUES, st.randoms(use_true_random=False))
def test_the_order_of_writing_down_changes_no_rejection(p: list[float], shuffler: object) -> None:
    m = len(p)
    rng = np.random.default_rng(m)
    weights, graph = rng.dirichlet(np.ones(m)), rng.random((m, m)) / max(1, m)
    np.fill_diagonal(graph, 0.0)
    order = list(range(m))
    shuffler.shuffle(order)  # type: ignore[attr-defined]
    plain = graphical(p, DELTA, weights, graph)
    mixed = graphical([p[i] for i in order], DELTA, weights[order], graph[np.ix_(order, order)])
    assert mixed == tuple(plain[i] for i in order)


PROCEDURES: dict[str, Callable[[list[float], float], tuple[bool, ...]]] = {
    "sequence": fixed_sequence,
    "sequences": lambda p, delta: fixed_sequence(p, delta, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [9, 4, 0]]),
    "holm": holm,
    "graph": lambda p, delta: graphical(
        p,
        delta,
        [float(i in (0, 4, 8)) / 3 for i in range(10)],
        [[{1: 0.6, 2: 0.4}.get((j - i) % 10, 0.0) for j in range(10)] for i in range(10)],
    ),
}
each = pytest.mark.parametrize("procedure", PROCEDURES.values(), ids=PROCEDURES)
WORLDS = 2000
FALSE = {
    "all": list(range(10)),
    "the bold half": [5, 6, 7, 8, 9],
    "every other": [1, 3, 5, 7, 9],
    "the first": [0],
    "the last": [9],
}


def p_values(above: list[int], correlation: float, rng: np.random.Generator) -> np.ndarray:
    """[worlds, 10]: uniform where the risk is just above alpha, tiny where far below; tests that hang together."""
    shared, own = rng.normal(size=(WORLDS, 1)), rng.normal(size=(WORLDS, 10))
    z = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own
    z[:, [i for i in range(10) if i not in above]] -= 3.5
    return np.asarray(norm.cdf(z))


@each
@pytest.mark.parametrize("above", FALSE.values(), ids=FALSE)
@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_any_false_rejection_is_as_rare_as_promised_whichever_are_true(
    procedure: Callable[[list[float], float], tuple[bool, ...]], above: list[int], correlation: float
) -> None:
    rows = p_values(above, correlation, np.random.default_rng(7))[:600]
    rejected = np.array([procedure(row, 0.1) for row in rows.tolist()])
    broken = rejected[:, above].any(1).mean()
    assert broken <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / len(rows))


def test_believing_every_small_p_value_breaks_it() -> None:
    rows = p_values(FALSE["all"], 0.0, np.random.default_rng(7))
    assert (rows <= 0.1).any(1).mean() > 0.5


@each
def test_on_real_counts_the_promise_holds_and_something_is_certified(
    procedure: Callable[[list[float], float], tuple[bool, ...]],
) -> None:
    """Ten thresholds on the same 500 questions, P(right | s) = .4 + .6 s: above alpha = .15 below a threshold of .5."""
    rng = np.random.default_rng(3)
    thresholds = np.linspace(0.9, 0.4, 10)
    scores = rng.random((600, 500))
    wrong = rng.random((600, 500)) >= 0.4 + 0.6 * scores
    answered = np.stack([(scores >= t).sum(1) for t in thresholds], 1)
    errors = np.stack([((scores >= t) & wrong).sum(1) for t in thresholds], 1)
    rows = binom.cdf(errors, answered, 0.15)
    assert rows[0, 3] == pytest.approx(binomial_p_value(int(errors[0, 3]), int(answered[0, 3]), 0.15))
    rejected = np.array([procedure(row, 0.1) for row in rows.tolist()])
    assert rejected[:, thresholds < 0.5].any(1).mean() <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 600)
    assert rejected.any(1).mean() > 0.25


@pytest.mark.parametrize("procedure", [fixed_sequence, holm])
def test_what_is_no_p_value_is_refused(procedure: Callable[..., tuple[bool, ...]]) -> None:
    for p, delta in (([0.5, 1.5], 0.05), ([math.nan], 0.05), ([-0.1], 0.05), ([0.5], 0.0), ([0.5], 1.0)):
        with pytest.raises(ValueError, match="p-values"):
            procedure(p, delta)


def test_impossible_graphs_are_refused() -> None:
    for weights, graph, said in (
        ([1.0], [[0, 1], [1, 0]], "2 weights"),
        ([0.5, 0.5], [[0, 1]], "2 x 2"),
        ([0.7, 0.7], [[0, 1], [1, 0]], "sum <= 1"),
        ([0.5, 0.5], [[0, 1.2], [1, 0]], "sum <= 1"),
        ([0.5, 0.5], [[0, -0.2], [1, 0]], "sum <= 1"),
        ([0.5, 0.5], [[0.5, 0.5], [1, 0]], "diagonal"),
        ([0.5, math.nan], [[0, 1], [1, 0]], "sum <= 1"),
    ):
        with pytest.raises(ValueError, match=said):
            graphical([0.01, 0.02], DELTA, weights, graph)
    with pytest.raises(ValueError, match="none of the 2"):
        fixed_sequence([0.01, 0.02], DELTA, [[0, 2]])
