"""Fitting: what it learns from simulated answers, what it never does, and what it refuses to learn from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration import LogisticCalibrator
from gate.calibration.logistic import StageWeights
from gate.calibration.metrics import auroc, expected_calibration_error
from gate.calibration.probabilities import probabilities
from gate.tuning.fit import Labelled, Readings, _drawn, _folds, _penalties, cross_fit_stages, fit, out_of_fold
from gate.tuning.recalibration import isotonic_of
from gate.types import Reading, SignalVector, Stage

STAGE = Stage("small")
BOUNDS = {"strong": (-9.0, 9.0), "share": (0.0, 1.0), "idle": (-9.0, 9.0), "inverted": (-math.inf, 9.0)}
TRUTH = (1.5, 0.9, 0.0, -1.0)
"""Log-odds a deviation of each signal; ``share`` counts in logit scale."""


def fit_stages(
    stages: Mapping[str, Readings], names: Sequence[str], bounds: Mapping[str, tuple[float, float]]
) -> dict[str, StageWeights]:
    return {key: made.stage for key, made in cross_fit_stages(stages, names, bounds).items()}


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
    assert weight["share"] == pytest.approx(TRUTH[1], abs=0.6)
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
    assert any(unseen[0] == pytest.approx(1 / (100 * penalty)) for penalty in _penalties(100))
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


# --- arrays, weights, stages that learn from each other ------------------------------------------------------------

NAMES = list(BOUNDS)


def arrays(n: int, seed: int, *, level: float = 0.3, truth: tuple[float, ...] = TRUTH, lost: float = 0.1) -> Readings:
    """As `simulated`, without the vectors."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(truth)))
    right = rng.random(n) < 1 / (1 + np.exp(-(level + x @ np.array(truth))))
    x[:, 1] = 1 / (1 + np.exp(-x[:, 1]))
    x[rng.random(x.shape) < lost] = np.nan
    return Readings(x, right.astype(np.float64), np.arange(n) + 1_000_000 * seed)


def loss(weights: StageWeights, new: Readings) -> float:
    p = probabilities(weights, new.values)[0]
    return float(-np.log(np.where(new.correct > 0, p, 1 - p)).mean())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": np.zeros(3)}, r"\[n, k\]"),
        ({"correct": np.zeros(2)}, r"\[n\]"),
        ({"correct": np.array([0.0, 0.5, 1.0])}, "0 or 1"),
        ({"correct": np.array([0.0, np.nan, 1.0])}, "0 or 1"),
        ({"questions": np.zeros(3)}, "whole numbers"),
        ({"values": np.array([[np.inf], [1.0], [2.0]])}, "infinite"),
        ({"weights": np.array([1.0, -1.0, 1.0])}, "weights"),
        ({"weights": np.zeros(3)}, "weights"),
        ({"weights": np.array([1.0, np.nan, 1.0])}, "weights"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(change: dict[str, np.ndarray], said: str) -> None:
    good = {"values": np.zeros((3, 1)), "correct": np.array([0.0, 1.0, 1.0]), "questions": np.arange(3)}
    assert len(Readings(**good)) == 3
    with pytest.raises(ValueError, match=said):
        Readings(**{**good, **change})


def test_names_and_columns_must_match() -> None:
    for names in (NAMES[:3], [*NAMES[:3], NAMES[0]]):
        with pytest.raises(ValueError, match="one column for each"):
            fit(arrays(40, 1), names, BOUNDS)


def test_single_precision_fits_as_double_does() -> None:
    double = arrays(300, 1)
    single = replace(double, values=double.values.astype(np.float32), correct=double.correct.astype(np.int8))
    one, other = fit(double, NAMES, BOUNDS), fit(single, NAMES, BOUNDS)
    new = arrays(500, 9).values
    assert probabilities(one, new)[0] == pytest.approx(probabilities(other, new)[0], abs=1e-3)


def test_weights_bring_the_sample_to_the_traffic() -> None:
    """Right answers that stand for three each: the mean p is that of the traffic, not of the sample."""
    some = arrays(1000, 2)
    heavy = replace(some, weights=np.where(some.correct > 0, 3.0, 1.0))
    weighted = fit(heavy, NAMES, BOUNDS)
    p, share = probabilities(weighted, some.values)[0], heavy.weights / heavy.weights.sum()
    assert share @ p == pytest.approx(share @ some.correct, abs=0.015)
    even = fit(replace(some, weights=np.full(1000, 7.0)), NAMES, BOUNDS)
    assert even == fit(some, NAMES, BOUNDS)
    sure, unsure = (np.trace(np.array(w.covariance)) for w in (even, weighted))
    assert unsure > sure, "uneven weights tell less than as many even ones"


def test_few_answers_borrow_from_a_prior_and_many_do_not_need_it() -> None:
    prior, new = fit(arrays(2000, 3), NAMES, BOUNDS), arrays(4000, 77, level=-0.7)
    gains = []
    for seed in range(10, 20):
        few = arrays(40, seed, level=-0.7)
        gains.append(loss(fit(few, NAMES, BOUNDS), new) - loss(fit(few, NAMES, BOUNDS, prior=prior), new))
    assert np.mean(gains) > 0.01
    other = (0.0, 0.2, 1.5, 0.0)  # nothing of what the prior knows holds here
    many, own = arrays(4000, 5, truth=other), arrays(4000, 6, truth=other)
    assert loss(fit(many, NAMES, BOUNDS, prior=prior), own) < loss(fit(many, NAMES, BOUNDS), own) + 0.002
    with pytest.raises(ValueError, match="prior has the signals"):
        fit(arrays(40, 1), NAMES[::-1], BOUNDS, prior=prior)


def test_stages_learn_from_each_other() -> None:
    stages = {
        "large": arrays(4000, 1),
        "small": arrays(40, 2, level=-0.5),
        "tiny": arrays(12, 3),
        "spotless": replace(arrays(30, 4), correct=np.ones(30)),
        "empty": arrays(0, 5),
    }
    made = fit_stages(stages, NAMES, BOUNDS)
    assert {key: stage.n for key, stage in made.items()} == {key: len(r) for key, r in stages.items()}
    new = arrays(4000, 99)
    alone = loss(fit(stages["large"], NAMES, BOUNDS), new)
    assert loss(made["large"], new) == pytest.approx(alone, abs=0.003), "its own"
    assert loss(made["small"], arrays(4000, 98, level=-0.5)) < loss(
        fit(stages["small"], NAMES, BOUNDS), arrays(4000, 98, level=-0.5)
    )
    for key in ("tiny", "spotless", "empty"):
        weights = [signal.weight for signal in made[key].signals.values()]
        assert weights == [signal.weight for signal in made["empty"].signals.values()]
        LogisticCalibrator(signals=tuple(NAMES), stages={STAGE.key: made[key]})
    level = {key: made[key].intercept for key in made}
    assert level["empty"] == pytest.approx(0.3, abs=0.2)
    assert level["spotless"] > level["empty"] + 0.5
    p = probabilities(made["spotless"], stages["spotless"].values)[0]
    assert p.mean() < 0.98, "thirty right answers of thirty are no certainty"


def test_a_stage_of_its_own_kind_is_not_bent_to_the_others() -> None:
    other = (0.0, 0.2, 1.5, 0.0)
    stages = {"one": arrays(3000, 1), "other": arrays(3000, 2, truth=other)}
    made, new = fit_stages(stages, NAMES, BOUNDS), arrays(4000, 7, truth=other)
    assert loss(made["other"], new) < loss(fit(stages["other"], NAMES, BOUNDS), new) + 0.003
    assert made["other"].signals["strong"].weight < 0.1 < made["one"].signals["strong"].weight


def test_one_stage_is_fitted_as_it_is_alone_and_too_few_answers_in_all_are_refused() -> None:
    some = arrays(100, 1)
    assert fit_stages({"one": some}, NAMES, BOUNDS)["one"] == fit(some, NAMES, BOUNDS)
    together = fit_stages({"one": arrays(15, 3), "other": arrays(15, 4)}, NAMES, BOUNDS)
    assert set(together) == {"one", "other"}
    for stages in ({}, {"one": arrays(9, 3), "other": arrays(9, 4)}):
        with pytest.raises(ValueError, match="need 20"):
            fit_stages(stages, NAMES, BOUNDS)


def test_a_question_is_in_the_same_fold_in_every_stage() -> None:
    questions = np.random.default_rng(0).integers(0, 50, 200)
    stages = [Readings(np.empty((100, 0)), np.ones(100), part) for part in (questions[:100], questions[100:])]
    folds = np.concatenate(_folds(stages, 3))
    assert all(len(set(folds[questions == q])) == 1 for q in set(questions.tolist()))
    assert np.bincount(folds).min() > 20


def test_out_of_fold_probabilities_know_nothing_by_heart() -> None:
    """A signal that tells only which question it is ranks well where it was fitted and not at all out of fold."""
    rng = np.random.default_rng(3)
    question = np.repeat(np.arange(80), 10)
    right, memory = rng.random(80) < 0.5, rng.normal(size=80)
    readings = Readings(
        np.column_stack([memory[question], rng.normal(size=800)]), right[question].astype(float), question
    )
    p = out_of_fold(readings, ["memory", "noise"], {"memory": (-9.0, 9.0), "noise": (-9.0, 9.0)})
    assert auroc(p, right[question]) == pytest.approx(0.5, abs=0.12)
    told = out_of_fold(arrays(600, 1), NAMES, BOUNDS)
    ranked = auroc(told, arrays(600, 1).correct > 0)
    assert ranked is not None
    assert ranked > 0.75


def test_of_many_answers_whole_questions_are_drawn() -> None:
    questions = np.repeat(np.arange(100), 3)
    taken = _drawn(questions, 150, np.random.default_rng(0))
    assert len(taken) == 150
    assert set(np.bincount(questions[taken]).tolist()) <= {0, 3}
    assert _drawn(questions, 300, np.random.default_rng(0)).tolist() == list(range(300))
    assert len(_drawn(np.zeros(9, dtype=np.int64), 5, np.random.default_rng(0))) == 9


@pytest.mark.parametrize("n", [60, 1200])
def test_answers_to_one_question_alone_teach_as_little_as_can_be(n: int) -> None:
    some = arrays(n, 1)
    learned = fit(replace(some, questions=np.zeros(n, dtype=np.int64)), NAMES, BOUNDS)
    assert all(signal.weight < 0.2 for signal in learned.signals.values())
    assert learned.recalibration is None


def test_a_stage_of_very_many_answers_is_fitted_by_itself() -> None:
    stages = {"large": arrays(5001, 1), "small": arrays(40, 2)}
    made = fit_stages(stages, NAMES, BOUNDS)
    assert made["large"] == fit(stages["large"], NAMES, BOUNDS)
    assert made["small"] != fit(stages["small"], NAMES, BOUNDS)


# --- what holds whatever was fitted --------------------------------------------------------------------------------

VALUE = st.none() | st.floats(-6, 6)
VECTORS = st.tuples(VALUE, st.none() | st.floats(0, 1), VALUE, VALUE)


@cache
def bent() -> StageWeights:
    """With everything that a stage can have: a curve on top, and a joint check."""
    some = arrays(1500, 1)
    z, correct = np.linspace(-4, 4, 1500), (np.linspace(-4, 4, 1500) > 0).astype(np.float64)
    correct[::5] = 1 - correct[::5]
    return fit(some, NAMES, BOUNDS).model_copy(update={"recalibration": isotonic_of(z, correct, np.ones(1500))})


def vector(values: Sequence[float | None]) -> SignalVector:
    return SignalVector(
        tuple(Reading(name, x, "lost" if x is None else None) for name, x in zip(BOUNDS, values, strict=True))
    )


@given(VECTORS, st.integers(0, 3), st.floats(0, 3))
def test_p_never_falls_when_a_signal_rises(values: tuple[float | None, ...], place: int, by: float) -> None:
    value = values[place]
    if value is None:
        return
    higher = [*values[:place], min(1.0, value + by) if place == 1 else value + by, *values[place + 1 :]]
    assert p_of(bent(), vector(higher)) >= p_of(bent(), vector(values)) - 1e-12


@given(VECTORS, st.sets(st.integers(0, 3)))
def test_p_is_a_number_whatever_is_missing(values: tuple[float | None, ...], lost: set[int]) -> None:
    left = [None if place in lost else x for place, x in enumerate(values)]
    assert 0 < p_of(bent(), vector(left)) < 1
    rows = np.array([left], dtype=np.float64)
    assert probabilities(bent(), rows)[0][0] == pytest.approx(p_of(bent(), vector(left)), abs=1e-12)


@given(VECTORS, st.integers(0, 3))
def test_losing_a_reading_that_spoke_for_the_answer_never_raises_p(
    values: tuple[float | None, ...], place: int
) -> None:
    name = NAMES[place]
    made = LogisticCalibrator(signals=tuple(NAMES), stages={STAGE.key: bent()})
    said = made.confidence(vector(values), STAGE)
    if values[place] is not None and said.contributions[place].log_odds >= 0:
        assert made.confidence(without(vector(values), name), STAGE).p <= said.p + 1e-12


@pytest.mark.parametrize("n", [100, 1000])
@pytest.mark.parametrize("name", BOUNDS)
def test_right_answers_are_not_made_surer_by_losing_a_signal(n: int, name: str) -> None:
    learned, new = fit(arrays(n, 8), NAMES, BOUNDS), arrays(4000, 55, lost=0.0)
    right = new.values[new.correct > 0]
    bare = right.copy()
    bare[:, NAMES.index(name)] = np.nan
    rise = probabilities(learned, bare)[0] - probabilities(learned, right)[0]
    assert rise.mean() <= 0.02


def test_vectors_drawn_at_random_are_out_of_distribution() -> None:
    rng = np.random.default_rng(0)
    linked = rng.normal(size=(2000, 1)) + 0.4 * rng.normal(size=(2000, 6))
    right = (rng.random(2000) < 1 / (1 + np.exp(-linked[:, 0]))).astype(np.float64)
    names = [f"s{i}" for i in range(6)]
    learned = fit(Readings(linked, right, np.arange(2000)), names, dict.fromkeys(names, (-math.inf, math.inf)))
    alike = rng.normal(size=(5000, 1)) + 0.4 * rng.normal(size=(5000, 6))
    assert probabilities(learned, alike)[1].mean() < 0.004
    assert probabilities(learned, rng.uniform(-3, 3, size=(5000, 6)))[1].mean() > 0.7, "each within its range"
    assert probabilities(learned, alike + 20)[1].all()


def test_signals_that_tell_nothing_leave_p_at_the_base_rate() -> None:
    rng = np.random.default_rng(4)
    names = [f"s{i}" for i in range(12)]
    noise = Readings(rng.normal(size=(2000, 12)), (rng.random(2000) < 0.7).astype(np.float64), np.arange(2000))
    learned = fit(noise, names, dict.fromkeys(names, (-math.inf, math.inf)))
    assert max(signal.weight for signal in learned.signals.values()) < 0.05
    assert probabilities(learned, rng.normal(size=(500, 12)))[0] == pytest.approx(0.7, abs=0.06)
