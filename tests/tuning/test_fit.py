"""Fitting: what it learns from simulated answers, what it never does, and what it refuses to learn from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest

from gate.calibration import LogisticCalibrator
from gate.calibration.logistic import StageWeights
from gate.calibration.metrics import auroc, expected_calibration_error
from gate.tuning.fit import Labelled, Readings, _folds, fit
from gate.tuning.regression import PENALTIES
from gate.types import Reading, SignalVector, Stage

STAGE = Stage("small")
BOUNDS = {"strong": (-9.0, 9.0), "share": (0.0, 1.0), "idle": (-9.0, 9.0), "inverted": (-math.inf, 9.0)}
TRUTH = (1.5, 0.9, 0.0, -1.0)
"""Log-odds a deviation of each signal; ``share`` counts in logit scale."""


def simulated(n: int, seed: int, *, lost: float = 0.1) -> list[Labelled]:
    """Answers right with log-odds .3 + truth . x for standard normal x, each signal lost at random."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(TRUTH)))
    right = rng.random(n) < 1 / (1 + np.exp(-(0.3 + x @ np.array(TRUTH))))
    seen = np.where([[bounds == (0, 1) for bounds in BOUNDS.values()]], 1 / (1 + np.exp(-x)), x)
    gone = rng.random(x.shape) < lost
    return [
        Labelled(
            SignalVector(
                tuple(
                    Reading(name, None, "lost") if gone[row, i] else Reading(name, float(seen[row, i]))
                    for i, name in enumerate(BOUNDS)
                )
            ),
            bool(right[row]),
        )
        for row in range(n)
    ]


def learn(rows: list[Labelled], bounds: Mapping[str, tuple[float, float]] = BOUNDS, *, seed: int = 0) -> StageWeights:
    names = [reading.signal for reading in rows[0].vector.readings] if rows else []
    return fit(Readings.of(rows), names, bounds, seed=seed)


@cache
def fitted(seed: int, n: int = 300) -> StageWeights:
    return learn(simulated(n, seed))


def p_of(weights: StageWeights, vector: SignalVector) -> float:
    made = LogisticCalibrator(signals=tuple(weights.signals), stages={STAGE.key: weights})
    return made.confidence(vector, STAGE).p


def without(vector: SignalVector, name: str) -> SignalVector:
    return SignalVector(tuple(Reading(name, None, "lost") if r.signal == name else r for r in vector.readings))


seeds = pytest.mark.parametrize("seed", [1, 2])


@seeds
def test_it_finds_which_signals_tell_right_from_wrong(seed: int) -> None:
    weight = {name: learned.weight for name, learned in fitted(seed).signals.items()}
    assert weight["strong"] == pytest.approx(TRUTH[0], abs=0.6)
    assert weight["share"] == pytest.approx(TRUTH[1], abs=0.5)
    assert weight["strong"] > weight["share"] > weight["idle"] + 0.1
    assert weight["idle"] < 0.3
    assert weight["inverted"] == 0.0


@seeds
def test_it_notes_scale_and_range_of_what_it_saw(seed: int) -> None:
    learned, rows = fitted(seed), simulated(300, seed)
    assert learned.n == 300
    assert [s.transform for s in learned.signals.values()] == ["identity", "logit", "identity", "identity"]
    for name, signal in learned.signals.items():
        there = [value for row in rows if (value := row.vector.value(name)) is not None]
        assert (signal.low, signal.high) == (min(there), max(there))
        scaled = np.array([signal.standardized(value) for value in there])
        assert (scaled.mean(), scaled.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))


@pytest.mark.parametrize(("seed", "n", "lost"), [(1, 20, 0.0), (2, 40, 0.3), (3, 60, 1.0)])
def test_no_weight_is_negative_and_no_missing_weight_positive(seed: int, n: int, lost: float) -> None:
    rows = simulated(n, seed, lost=lost)
    rows[:2] = [Labelled(rows[0].vector, True), Labelled(rows[1].vector, False)]
    learned = learn(rows)
    assert all(s.weight >= 0 >= s.missing for s in learned.signals.values())
    covariance = np.array(learned.covariance)
    assert covariance.shape == (9, 9)
    assert np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-9)
    assert np.linalg.eigvalsh(covariance).min() > 0


@seeds
@pytest.mark.parametrize("name", BOUNDS)
def test_losing_a_signal_helps_no_answer_on_average(seed: int, name: str) -> None:
    learned, rows = fitted(seed), simulated(300, seed)
    there = [row.vector for row in rows if row.vector.value(name) is not None]
    before, after = (
        np.array([p_of(learned, v) for v in vectors]) for vectors in (there, [without(v, name) for v in there])
    )
    log_odds = np.log(after / (1 - after)) - np.log(before / (1 - before))
    assert log_odds.mean() <= 1e-9
    assert after.mean() <= before.mean() + 0.02  # exact in log-odds; the curve of the logistic leaves this in p


def test_a_loss_that_goes_with_right_answers_is_not_rewarded_and_p_stays_true_on_average() -> None:
    rows = [
        Labelled(without(row.vector, "idle") if row.correct else row.vector, row.correct)
        for row in simulated(300, 4, lost=0.0)
    ]
    learned = learn(rows)
    assert learned.signals["idle"].missing == 0.0
    p = [p_of(learned, row.vector) for row in rows]
    assert np.mean(p) == pytest.approx(np.mean([row.correct for row in rows]), abs=0.03)


def test_a_signal_that_points_the_wrong_way_takes_nothing_from_its_mirror_image() -> None:
    rows = simulated(300, 1, lost=0.0)
    strong = [row.vector.value("strong") or 0.0 for row in rows]
    alone, mirrored = (
        learn([Labelled(SignalVector(tuple(v)), row.correct) for v, row in zip(vectors, rows, strict=True)])
        for vectors in (
            [[Reading("strong", x)] for x in strong],
            [[Reading("strong", x), Reading("inverted", -x)] for x in strong],
        )
    )
    assert mirrored.signals["inverted"].weight == 0.0
    assert mirrored.signals["strong"].weight == pytest.approx(alone.signals["strong"].weight, rel=0.15)


def test_what_was_never_seen_lost_is_known_as_far_as_the_penalty_tells() -> None:
    learned = learn(simulated(100, 1, lost=0.0))
    unseen = [learned.covariance[place][place] for place in range(1 + len(BOUNDS), 1 + 2 * len(BOUNDS))]
    assert unseen == pytest.approx([unseen[0]] * len(BOUNDS))
    assert any(unseen[0] == pytest.approx(1 / (100 * penalty)) for penalty in PENALTIES)
    assert all(learned.covariance[place][place] < unseen[0] for place in range(1 + len(BOUNDS)))


@seeds
def test_p_means_what_it_says_on_answers_it_has_not_seen(seed: int) -> None:
    learned, held_out = fitted(seed), simulated(1500, 100 + seed)
    p, right = [p_of(learned, row.vector) for row in held_out], [row.correct for row in held_out]
    assert expected_calibration_error(p, right, bins=10) < 0.08
    ranked = auroc(p, right)
    assert ranked is not None
    assert ranked > 0.7


@seeds
def test_it_still_ranks_when_only_one_signal_is_left(seed: int) -> None:
    held_out = simulated(800, 200 + seed, lost=0.0)
    bare = [without(without(without(row.vector, "share"), "idle"), "inverted") for row in held_out]
    ranked = auroc([p_of(fitted(seed), vector) for vector in bare], [row.correct for row in held_out])
    assert ranked is not None
    assert ranked > 0.65


def test_more_answers_make_it_surer() -> None:
    few, many = (float(np.trace(np.array(fitted(1, n).covariance)[:3, :3])) for n in (60, 300))
    assert many < few


def test_the_same_answers_and_seed_give_the_same_weights() -> None:
    rows = simulated(300, 1)
    assert learn(rows) == fitted(1)
    assert learn(rows, BOUNDS, seed=8) != fitted(1)


def test_a_signal_that_never_was_or_never_changed_weighs_nothing() -> None:
    rows = [
        Labelled(
            SignalVector(
                (row.vector.readings[0], Reading("share", None, "no upstream gives it"), Reading("idle", 4.0))
            ),
            row.correct,
        )
        for row in simulated(60, 1)
    ]
    learned = learn(rows).signals
    assert (learned["share"].weight, learned["share"].low, learned["share"].high) == (0.0, 0.0, 0.0)
    assert (learned["idle"].weight, learned["idle"].low, learned["idle"].high) == (0.0, 4.0, 4.0)


def test_too_few_answers_or_only_one_kind_teach_nothing() -> None:
    rows = simulated(60, 1)
    right = [Labelled(row.vector, True) for row in rows]
    for poor in ([], rows[:19], right, [Labelled(row.vector, False) for row in rows]):
        with pytest.raises(ValueError, match="need 20 labelled answers with both right and wrong"):
            learn(poor)
    assert learn([*right[:19], Labelled(rows[19].vector, False)]).n == 20


def test_probabilities_that_differ_only_far_behind_the_point_are_told_apart() -> None:
    rng = np.random.default_rng(5)
    sure = rng.uniform(2, 7, 600)  # how many nines
    right = rng.random(600) < 1 / (1 + np.exp(-(sure - 4)))
    rows = [
        Labelled(SignalVector((Reading("p", 1 - 10.0**-nines),)), bool(y)) for nines, y in zip(sure, right, strict=True)
    ]
    weights = learn(rows, {"p": (0.0, 1.0)})
    p = [p_of(weights, row.vector) for row in rows]
    assert auroc(p, right) == pytest.approx(auroc(sure, right))
    assert expected_calibration_error(p, right) < 0.06


def test_answers_to_one_question_are_never_parted() -> None:
    questions = ["a", "b", "", "a", "", "b", "c", "a"] * 5
    numbers = Readings.of([Labelled(SignalVector(()), True, question) for question in questions]).questions
    assert numbers[0] == numbers[3]
    fold = _folds([Readings(np.empty((40, 0)), np.ones(40), numbers)], 0)[0]
    assert {question: len(set(fold[[q == question for q in questions]])) for question in "abc"} == {
        "a": 1,
        "b": 1,
        "c": 1,
    }
    alone = fold[[q == "" for q in questions]]
    assert len(set(alone)) > 1, "those without a question stand alone"


def test_a_repeated_question_does_not_pass_for_more_evidence() -> None:
    """A signal that only knows the question by heart is worth nothing on new ones, and must not look worth it."""
    rng = np.random.default_rng(3)
    rows = []
    for question in range(60):
        right, memory = bool(rng.random() < 0.5), rng.normal()
        rows += [
            Labelled(SignalVector((Reading("memory", float(memory + 0.01 * copy)),)), right, str(question))
            for copy in range(10)
        ]
    together = learn(rows, {"memory": (-9.0, 9.0)})
    parted = learn([Labelled(row.vector, row.correct) for row in rows], {"memory": (-9.0, 9.0)})
    assert together.signals["memory"].weight <= parted.signals["memory"].weight


def test_many_signals_that_tell_nothing_cost_little() -> None:
    rng = np.random.default_rng(8)
    names = ["told", *(f"noise{i}" for i in range(40))]
    bounds = dict.fromkeys(names, (-9.0, 9.0))

    def rows(n: int) -> list[Labelled]:
        x = rng.normal(size=(n, len(names)))
        right = rng.random(n) < 1 / (1 + np.exp(-(2.0 + 1.5 * x[:, 0])))
        return [
            Labelled(SignalVector(tuple(Reading(k, float(v)) for k, v in zip(names, row, strict=True))), bool(y))
            for row, y in zip(x, right, strict=True)
        ]

    weights, new = learn(rows(300), bounds), rows(2000)
    labels = [row.correct for row in new]
    alone = auroc([row.vector.value("told") or 0.0 for row in new], labels)
    together = auroc([p_of(weights, row.vector) for row in new], labels)
    assert alone is not None
    assert together is not None
    assert together > alone - 0.03
