"""Is the promise kept, and how much is answered under it: in simulation, and on recorded answers split again and again.

The promise made on a set is one that can be made with its labels: the target risk is the least of some shares of the
error of answering all (`FACTORS`) at which, with the confidences at hand, some threshold that answers three in ten or
more would pass an exact test of so many labels nine times in ten. Where there is none, the set is hopeless: its answers
are too alike to promise anything, and what is counted there is only whether the promise is broken.

On recorded answers all that the fit split left over is the population: the certify split is a random sample of it, so
its error among answers is what the certificate is about, and more than alpha of it is a broken promise, exactly. The
answers that certified nothing, judged alone, are the harder test: they are few, and a policy at the edge of what may be
promised shows more than alpha on them half the time. How often any part as large would is stated beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, hypergeom

from gate.calibration.logistic import StageWeights
from gate.calibration.probabilities import probabilities
from gate.guarantees.label_noise import JudgeError
from gate.guarantees.selective_risk import upper_bound
from gate.tuning.bounds import judged_by, trusted
from gate.tuning.certification import Bound, Counted, Foreseen, most_errors, start, tested
from gate.tuning.fit import Readings as Labelled
from gate.tuning.fit import fit as fit_calibrator
from gate.tuning.fit import out_of_fold
from gate.tuning.fitting import confidences, fit_table
from gate.tuning.search import Option, Structure
from gate.tuning.splits import Shares
from gate.tuning.table import Table
from gate.tuning.tune import _foreseen, _Ground, _sequence
from gate.tuning.variants import Variant
from gate.tuning.walk import Terrain, Walked, walk
from tests.benchmarks.tuning.sets import Array, Bools, Places, Readings, policy_of, resplits

DELTA = 0.05
LABELLED, TWO_THIRDS = 1000, 2 / 3
FIT = Shares().fit
RESPLITS, HOPELESS_RESPLITS = 200, 40
FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Target risks to choose from, in errors of answering all."""
ENOUGH, POWER = 0.3, 0.9
"""Least share answered, and how often a promise should be certified, for it to be worth a trial."""


# --- simulated ---------------------------------------------------------------------------------------------------

N, TARGET, LENIENCE, DOUBLY = 500, 0.15, 0.3, 200
"""Labelled answers, target risk, share of wrong answers that the lenient judge calls right, answers graded twice."""
GRID = tuple(float(t) for t in np.linspace(0.98, 0.0, 50))


@dataclass(frozen=True)
class Kept:
    """Over many draws, how often the promise was broken, how often nothing was promised, and the share answered."""

    name: str
    draws: int
    broken: float
    refused: float
    coverage: float
    """Mean, 0 where nothing was promised."""


def simulated(draws: int = 1000) -> list[Kept]:
    """Scores s uniform on [0, 1], P(right | s) = .4 + .6 s: above a threshold t the true risk is .3 (1 - t)."""
    rng = np.random.default_rng(1)
    found: dict[str, list[float]] = {}
    for _ in range(draws):
        s = rng.random(N)
        right = rng.random(N) < 0.4 + 0.6 * s
        judged = right | (rng.random(N) < LENIENCE)
        twice = JudgeError(*_counts(right[:DOUBLY], judged[:DOUBLY]))
        for name, threshold in (
            ("boldest that looks right", boldest(s, right, TARGET)),
            ("SGR", sgr(s, right, TARGET, DELTA)),
            ("SGR on gate's certify split alone", sgr(s[int(FIT * N) :], right[int(FIT * N) :], TARGET, DELTA)),
            ("gate: fixed sequence", fixed_sequence(s, right, TARGET, trusted)),
            ("lenient judge believed: SGR", sgr(s, judged, TARGET, DELTA)),
            ("lenient judge believed: gate", fixed_sequence(s, judged, TARGET, trusted)),
            (
                f"lenient judge, its errors counted on {DOUBLY}: gate",
                fixed_sequence(s, judged, TARGET, judged_by(twice)),
            ),
        ):
            found.setdefault(name, []).append(threshold)
    return [kept(name, np.array(thresholds)) for name, thresholds in found.items()]


def kept(name: str, thresholds: Array) -> Kept:
    """Thresholds of nan promise nothing."""
    coverage = np.where(np.isnan(thresholds), 0.0, 1.0 - thresholds)
    broken = 0.3 * coverage > TARGET + 1e-12
    return Kept(name, len(thresholds), float(broken.mean()), float(np.isnan(thresholds).mean()), float(coverage.mean()))


def _counts(right: Bools, judged: Bools) -> tuple[int, int, int, int]:
    wrong = ~right
    return int(wrong.sum()), int((wrong & judged).sum()), int(right.sum()), int((right & ~judged).sum())


def boldest(s: Array, right: Bools, alpha: float) -> float:
    """The lowest threshold whose error on these very answers is at most alpha."""
    order = np.argsort(-s)
    risk = np.cumsum(~right[order]) / np.arange(1, len(s) + 1)
    feasible = np.flatnonzero(risk <= alpha)
    return float(s[order][feasible[-1]]) if len(feasible) else np.nan


def sgr(s: Array, right: Bools, alpha: float, delta: float) -> float:
    """Selection with guaranteed risk (Geifman and El-Yaniv 2017): a binary search, each step at its part of delta."""
    order = np.argsort(-s)
    errors, n = np.cumsum(~right[order]), len(s)
    steps = int(np.ceil(np.log2(n)))
    low, high, passed = 1, n, np.nan
    for _ in range(steps):
        if low > high:
            break
        middle = (low + high) // 2
        if upper_bound(int(errors[middle - 1]), middle, delta / steps) <= alpha:
            passed, low = float(s[order][middle - 1]), middle + 1
        else:
            high = middle - 1
    return passed


def fixed_sequence(s: Array, right: Bools, alpha: float, bound: Bound) -> float:
    """As gate does: where to start is chosen on the fit split, and the certify split walks on from there."""
    promise = policy_of(["m"], alpha).promise
    fit = slice(0, int(FIT * len(s)))
    certify = slice(fit.stop, len(s))
    p = _stated(s[fit], right[fit])
    foreseen = [_foreseen_at(s[fit], right[fit], p, t) for t in GRID]
    at = start(foreseen, (len(s) - fit.stop) / fit.stop, promise, bound)
    tests = tested(((t, _at(s[certify], right[certify], t)) for t in GRID[at:]), promise, bound)
    return min((test.candidate for test in tests if test.passed), default=np.nan)


def _at(s: Array, right: Bools, threshold: float) -> Counted:
    out = s >= threshold
    return Counted(len(s), int(out.sum()), int((out & ~right).sum()), 0.0)


def _stated(s: Array, right: Bools) -> Array:
    values = s[:, None]
    labels = Labelled(values, right.astype(np.float64), np.arange(len(s)))
    return probabilities(fit_calibrator(labels, ("score",), {"score": (0.0, 1.0)}), values)[0]


def _foreseen_at(s: Array, right: Bools, p: Array, threshold: float) -> Foreseen:
    counted, out = _at(s, right, threshold), s >= threshold
    return Foreseen(counted.answered, counted.wrong, float((1 - p[out]).mean()) if out.any() else 1.0)


# --- recorded ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Draw:
    """One re-split. Risks are nan where nothing was promised, or nothing was answered."""

    coverage: float
    """Of the rest."""
    oracle: float
    """What could have been answered of the rest, knowing its labels."""
    rest_risk: float
    population_risk: float
    by_chance: float
    """The chance that as many answers as of the rest, drawn from all that fitted nothing, show more than alpha."""


@dataclass(frozen=True)
class Promised:
    """A set split again and again."""

    name: str
    n: int
    labelled: int
    accuracy: float
    target: Target
    draws: int
    broken: float
    rest: int
    rest_above: float
    chance_above: float
    """How often the rest would, were it any part as large of the answers that fitted nothing."""
    refused: float
    coverage: float
    oracle: float

    @property
    def reached(self) -> float | None:
        """Coverage as a share of the oracle's."""
        return self.coverage / self.oracle if self.oracle > 0 else None


def promised_or_why(found: Readings, draws: int = RESPLITS) -> Promised | str:
    """A word instead where too few answers are wrong, or right, to learn from every draw."""
    try:
        return promised(found, draws)
    except ValueError as error:
        return f"{found.name}: no promise can be tried: {error}"


def promised(found: Readings, draws: int = RESPLITS, fit: float = FIT) -> Promised:
    n, target = len(found.right), target_of(found)
    labelled, alpha = _labelled(n), target.alpha
    draws = min(draws, HOPELESS_RESPLITS) if target.hopeless else draws
    made = [one_draw(found, train, rest, alpha, fit) for train, rest in resplits(n, labelled, draws)]
    return Promised(
        found.name,
        n,
        labelled,
        float(found.right.mean()),
        target,
        draws,
        broken=float(np.mean([draw.population_risk > alpha for draw in made])),
        rest=n - labelled,
        rest_above=float(np.mean([draw.rest_risk > alpha for draw in made])),
        chance_above=float(np.mean([draw.by_chance for draw in made])),
        refused=float(np.mean([np.isnan(draw.population_risk) for draw in made])),
        coverage=float(np.mean([draw.coverage for draw in made])),
        oracle=float(np.mean([draw.oracle for draw in made])),
    )


@dataclass(frozen=True)
class Target:
    """What is promised on a set."""

    alpha: float
    factor: float
    """Alpha is so many times the error of answering all."""
    hopeless: bool
    certifiable: float
    """The most that could be answered by a threshold that passes as often as not, if one knew which it is."""


def target_of(found: Readings) -> Target:
    n, error = len(found.right), 1 - float(found.right.mean())
    labels = Labelled(found.values, found.right.astype(np.float64), np.arange(n))
    p = out_of_fold(labels, found.names, found.bounds)
    wrong = np.cumsum(~found.right[np.argsort(-p, kind="stable")])
    places = np.unique(np.linspace(ENOUGH * n, n - 1, 60).astype(int))
    answered = np.round((places + 1) / n * (1 - FIT) * _labelled(n)).astype(int)
    for factor in FACTORS:
        alpha = max(0.01, round(factor * error, 2))
        promise = policy_of(["m"], alpha).promise
        allowed = [most_errors(int(m), promise, trusted) for m in answered]
        power = binom.cdf(allowed, answered, wrong[places] / (places + 1))
        if power.max() >= POWER:
            return Target(alpha, factor, False, float(places[power >= 0.5].max() + 1) / n)
    return Target(alpha, factor, True, 0.0)


def _labelled(n: int) -> int:
    return min(LABELLED, int(TWO_THIRDS * n))


def oracle_coverage(p: Array, right: Bools, alpha: float) -> float:
    """The most that a threshold can answer with an error of at most alpha on these very answers."""
    order = np.argsort(-p, kind="stable")
    risk = np.cumsum(~right[order]) / np.arange(1, len(p) + 1)
    whole = np.r_[np.diff(p[order]) != 0, True]  # those of equal p are answered together
    feasible = np.flatnonzero((risk <= alpha) & whole)
    return float(feasible[-1] + 1) / len(p) if len(feasible) else 0.0


def one_draw(found: Readings, train: Places, rest: Places, alpha: float, fit: float = FIT) -> Draw:
    """Fit, search and certify as `gate.tuning.tune` does, take the boldest that passed, and judge it on the rest."""
    table, policy = found.table(), policy_of(["m"], alpha)
    fitted_on, certified_on = train[: int(fit * len(train))], train[int(fit * len(train)) :]
    learning = table.where(fitted_on)
    fitted = fit_table(learning, found.bounds)
    shape = Structure(("m",), ())
    ground = _Ground(
        Variant("recorded", policy), len(learning), learning, fitted.unseen, fitted.calibrator(found.names, {})
    )
    options = [option for _, option in _sequence(policy, [ground], [shape])]
    foreseen = [_foreseen(option, len(learning)) for option in options]
    at = start(foreseen, len(certified_on) / len(fitted_on), policy.promise, trusted)
    certifying, judging = (_terrain(table.where(part), fitted.stages) for part in (certified_on, rest))
    tests = tested(((option, _counted(certifying, option)) for option in options[at:]), policy.promise, trusted)
    passed = [test for test in tests if test.passed]
    p, right = judging.rounds["m", False][0].p, found.right[rest]
    oracle = oracle_coverage(p, right, alpha)
    if not passed:
        return Draw(0.0, oracle, np.nan, np.nan, 0.0)
    test = max(passed, key=lambda test: test.counted.answered)
    judged, own = _counted(judging, test.candidate), test.counted
    both = own.answered + judged.answered
    return Draw(
        judged.answered / len(rest),
        oracle,
        judged.wrong / judged.answered if judged.answered else np.nan,
        (own.wrong + judged.wrong) / both,
        float(hypergeom.sf(int(alpha * judged.answered + 1e-9), both, own.wrong + judged.wrong, judged.answered)),
    )


def _terrain(table: Table, stages: Mapping[str, StageWeights]) -> Terrain:
    return Terrain.of(table, confidences(stages, table), ("m",), 1)


def _counted(terrain: Terrain, option: Option) -> Counted:
    walked: Walked = walk(terrain, option.rule)
    out = walked.answered
    return Counted(terrain.n, int(out.sum()), int((out & (walked.correct == 0.0)).sum()), 0.0)
