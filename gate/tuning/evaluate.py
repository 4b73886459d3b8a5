"""How good a policy was on labelled questions: what it let through, how much of that was wrong, and what it cost.

Questions without a label count for coverage and cost, and for nothing else: they are never guessed. Shares of labelled
questions follow the weights of the labels; what ranks or calibrates is of the labelled rows as they are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.calibration.calibration_error import expected_calibration_error, reliability_bins
from gate.calibration.metrics import aurc, auroc, excess_aurc, fpr_at_recall, risk_coverage
from gate.calibration.proper_scores import brier
from gate.calibration.significance import Metric, bootstrap_metric
from gate.errors import ConfigError
from gate.tuning.estimates import UNKNOWN, Array, Estimate, Mask, bound, mean, quantile, share
from gate.tuning.judgements import Judgements

FEWEST = 30
"""A segment with fewer labelled questions is too small to be judged by itself."""
SURE = 0.9
FALSE_ALARMS = 0.05
COSTS = ("calls", "tokens", "seconds", "money")
RESAMPLES = 1000
_BINS = 10
_CURVE_POINTS = 200


@dataclass(frozen=True, slots=True)
class ActionShare:
    action: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class CostRow:
    """One kind of cost, for one question. None where it is not known."""

    kind: str
    mean: float | None
    p50: float | None
    p95: float | None
    per_right: float | None
    """Spent on all labelled questions, for each that was answered right."""


@dataclass(frozen=True, slots=True)
class SegmentRow:
    segment: str
    n: int
    labelled: int
    answered: int
    coverage: Estimate
    risk: Estimate
    bound: float | None
    too_few: bool
    """Fewer than 30 labelled questions."""


@dataclass(frozen=True, slots=True)
class Catch:
    """How much of a slice one signal finds when it may accuse one in twenty of the right answers beside it."""

    signal: str
    rate: float | None
    n: int
    """Wrong answers of the slice that have the signal."""


@dataclass(frozen=True, slots=True)
class ConfidentWrong:
    """The wrong answers of which the policy was at least ``above`` sure, let through or not."""

    above: float
    wrong: int
    right: int
    """Right answers it was as sure of."""
    of_wrong: float | None
    """Share of all wrong answers."""
    of_labelled: float | None
    catches: tuple[Catch, ...]


@dataclass(frozen=True, slots=True)
class SignalQuality:
    signal: str
    n: int
    """Labelled rows that have it."""
    missing: float | None
    """Share of the labelled rows that lack it."""
    auroc: float | None


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers whose confidence lies in (low, high], the first bin closed; ``accuracy`` is the share of right ones."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class CurvePoint:
    coverage: float
    risk: float
    oracle: float
    """The risk at this coverage of an order that puts every right answer first."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` found. Counts are of rows; shares of labelled ones are weighted where labels are."""

    n: int
    labelled: int
    answered: int
    answered_labelled: int
    wrong: int
    """Of ``answered_labelled``."""
    confidence: float
    """Of every interval and bound here."""
    weighted: bool
    coverage: Estimate
    risk: Estimate
    """Selective risk: the share of wrong ones among the answers let through."""
    bound: float | None
    """One-sided upper limit on the risk (Clopper and Pearson 1934)."""
    without_gate: Estimate
    """Accuracy of the first draft, let through always."""
    right_of_all: Estimate
    """Share of the labelled questions that were answered, and right; not known where no abstention has a label."""
    right_kept: Estimate
    """Of the last drafts that were right, the share let through."""
    right_lost: int
    """Last drafts that were right and were not let through."""
    actions: tuple[ActionShare, ...]
    auroc: Estimate
    aurc: Estimate
    excess_aurc: Estimate
    """E-AURC: above the best order of the same answers (Geifman, Uziel and El-Yaniv 2019)."""
    ece: Estimate
    """With ten bins of equal width."""
    brier: Estimate
    costs: tuple[CostRow, ...]
    segments: tuple[SegmentRow, ...]
    confident_wrong: tuple[ConfidentWrong, ...]
    signals: tuple[SignalQuality, ...]
    reliability: tuple[Bin, ...]
    curve: tuple[CurvePoint, ...]
    notes: tuple[str, ...]


def evaluate(
    judgements: Judgements,
    *,
    confidence: float = 0.95,
    answer_at: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Measure what a policy did. ``answer_at``: its threshold, to tell which wrong answers passed it.

    ``resamples`` are those of the intervals of metrics that have no exact one.

    Raises `ConfigError` where there is nothing to measure, or a column holds what cannot be.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"need 0 < confidence < 1, got {confidence}")
    check(judgements)
    rows = judgements
    known = rows.where(rows.labelled)
    let_through = known.where(known.answered)
    right_answer = known.answered & (known.correct == 1)
    right = known.where(known.correct == 1)
    first = rows.where(~np.isnan(rows.first_correct))
    return Evaluation(
        n=len(rows),
        labelled=len(known),
        answered=int(rows.answered.sum()),
        answered_labelled=len(let_through),
        wrong=int((let_through.correct == 0).sum()),
        confidence=confidence,
        weighted=is_weighted(rows),
        coverage=share(rows.answered, np.ones(len(rows)), confidence),
        risk=share(let_through.correct == 0, let_through.weights, confidence),
        bound=bound(let_through.correct == 0, let_through.weights, confidence),
        without_gate=share(first.first_correct == 1, first.weights, confidence),
        right_of_all=UNKNOWN if _only_answers_known(rows) else share(right_answer, known.weights, confidence),
        right_kept=share(right.answered, right.weights, confidence),
        right_lost=int((~right.answered).sum()),
        actions=tuple(_actions(rows)),
        **_of_confidence(known, confidence, resamples, seed),
        costs=tuple(_costs(rows, known, right_answer)),
        segments=tuple(_segments(rows, confidence)),
        confident_wrong=tuple(_confident_wrong(known, above) for above in _edges(answer_at)),
        signals=tuple(_signals(known)),
        notes=tuple(_notes(rows)),
    )


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as plain JSON: what is not known is null, nothing is nan."""
    return dataclasses.asdict(evaluation)


def check(judgements: Judgements) -> None:
    """Raise `ConfigError` for rows that cannot be measured."""
    rows = judgements
    if not len(rows):
        raise ConfigError("there are no questions to measure the policy on: give it some that are labelled")
    repeated = len(rows) - len(set(rows.ids))
    if repeated:
        raise ConfigError(f"{repeated} questions stand twice: every question needs an id of its own")
    faults = (
        ("a label is neither 0 nor 1", ~np.isin(rows.correct, (0.0, 1.0)) & ~np.isnan(rows.correct)),
        ("a first label is neither 0 nor 1", ~np.isin(rows.first_correct, (0.0, 1.0)) & ~np.isnan(rows.first_correct)),
        ("a confidence is not between 0 and 1", ~np.isnan(rows.p) & ~((rows.p >= 0) & (rows.p <= 1))),
        ("a weight is not a number of at least 0", ~np.isfinite(rows.weights) | (rows.weights < 0)),
    )
    costs = np.stack([getattr(rows, kind) for kind in COSTS])
    for message, where in (*faults, ("a cost is not a number of at least 0", ((costs < 0) | np.isinf(costs)).any(0))):
        if where.any():
            raise ConfigError(f"{message}, in {int(where.sum())} of {len(rows)} rows; first: {rows.ids[where][0]!r}")
    if not rows.weights.sum() > 0:
        raise ConfigError("all weights are 0: the questions stand for nothing")


def is_weighted(judgements: Judgements) -> bool:
    """Whether some labels stand for more than others."""
    return len(np.unique(judgements.weights[judgements.labelled])) > 1


def _only_answers_known(rows: Judgements) -> bool:
    return not rows.answered.all() and not (rows.labelled & ~rows.answered).any()


def _actions(rows: Judgements) -> Iterator[ActionShare]:
    for action in sorted(set(rows.actions), key=lambda name: (name != "answer", name)):
        held = rows.actions == action
        yield ActionShare(str(action), int(held.sum()), float(held.mean()))


def _of_confidence(known: Judgements, confidence: float, resamples: int, seed: int) -> dict[str, Any]:
    """The fields of `Evaluation` about p as a number and as an order."""
    sure = known.where(~np.isnan(known.p))
    p, right = sure.p, sure.correct == 1
    metrics: dict[str, Metric] = {
        "auroc": auroc,
        "aurc": aurc,
        "excess_aurc": excess_aurc,
        "ece": expected_calibration_error,
        "brier": brier,
    }
    measured = {}
    for name, metric in metrics.items():
        held = bootstrap_metric(metric, p, right, resamples=resamples, level=confidence, seed=seed)
        value = metric(p, right)
        # resampled answers calibrate worse than the sample they are drawn from: the value may lie below them all
        low, high = (min(held.low, value), max(held.high, value)) if held and value is not None else (None, None)
        measured[name] = Estimate(value, low, high, len(p))
    return measured | {
        "reliability": tuple(_reliability(p, right, confidence)),
        "curve": tuple(_curve(p, right)),
    }


def _reliability(p: Array, right: Mask, confidence: float) -> Iterator[Bin]:
    held = {max(0, math.ceil(b.confidence * _BINS - 1e-9) - 1): b for b in reliability_bins(p, right, _BINS)}
    for place in range(_BINS):
        b = held.get(place)
        rights = np.arange(b.count) < round(b.accuracy * b.count) if b else np.zeros(0, dtype=np.bool_)
        yield Bin(
            low=place / _BINS,
            high=(place + 1) / _BINS,
            n=len(rights),
            confidence=b.confidence if b else None,
            accuracy=share(rights, np.ones(len(rights)), confidence),
        )


def _curve(p: Array, right: Mask) -> Iterator[CurvePoint]:
    n = len(p)
    risks, best = risk_coverage(p, right), risk_coverage(right.astype(np.float64), right)
    for k in np.unique(np.linspace(0, n - 1, min(n, _CURVE_POINTS)).round().astype(np.intp)) if n else ():
        yield CurvePoint((int(k) + 1) / n, float(risks[k]), float(best[k]))


def _costs(rows: Judgements, known: Judgements, right_answer: Mask) -> Iterator[CostRow]:
    rights = mean(right_answer.astype(np.float64), known.weights)
    for kind in COSTS:
        spent, alike = getattr(rows, kind), np.ones(len(rows))
        each = mean(getattr(known, kind), known.weights)
        yield CostRow(
            kind,
            mean(spent, alike),
            quantile(spent, alike, 0.5),
            quantile(spent, alike, 0.95),
            each / rights if each is not None and rights else None,
        )


def _segments(rows: Judgements, confidence: float) -> Iterator[SegmentRow]:
    for segment in sorted(set(rows.segments)):
        part = rows.where(rows.segments == segment)
        known = part.where(part.labelled)
        let_through = known.where(known.answered)
        wrong = let_through.correct == 0
        yield SegmentRow(
            segment=str(segment),
            n=len(part),
            labelled=len(known),
            answered=int(part.answered.sum()),
            coverage=share(part.answered, np.ones(len(part)), confidence),
            risk=share(wrong, let_through.weights, confidence),
            bound=bound(wrong, let_through.weights, confidence),
            too_few=len(known) < FEWEST,
        )


def _edges(answer_at: float | None) -> tuple[float, ...]:
    return (SURE,) if answer_at is None else tuple(sorted({answer_at, SURE}))


def _confident_wrong(known: Judgements, above: float) -> ConfidentWrong:
    sure = known.where(known.p >= above)
    wrong = sure.correct == 0
    wrongs = int((known.correct == 0).sum())
    return ConfidentWrong(
        above=above,
        wrong=int(wrong.sum()),
        right=int((~wrong).sum()),
        of_wrong=int(wrong.sum()) / wrongs if wrongs else None,
        of_labelled=int(wrong.sum()) / len(known) if len(known) else None,
        catches=tuple(_catch(name, sure.values[:, i], wrong) for i, name in enumerate(sure.signals)),
    )


def _catch(signal: str, values: npt.NDArray[np.float32], wrong: Mask) -> Catch:
    there = ~np.isnan(values)
    spared = fpr_at_recall(values[there], ~wrong[there], 1 - FALSE_ALARMS)
    return Catch(signal, None if spared is None else 1 - spared, int((there & wrong).sum()))


def _signals(known: Judgements) -> Iterator[SignalQuality]:
    for name, values in zip(known.signals, known.values.T, strict=True):
        there = ~np.isnan(values)
        quality = auroc(values[there], known.correct[there] == 1)
        yield SignalQuality(name, int(there.sum()), 1 - int(there.sum()) / len(known) if len(known) else None, quality)


def _notes(rows: Judgements) -> Iterator[str]:
    """What a reader of the numbers must know."""
    n, unlabelled = len(rows), len(rows) - int(rows.labelled.sum())
    if unlabelled:
        yield f"{unlabelled} of {n} questions have no label: they count for coverage and cost alone"
    without = int((rows.labelled & np.isnan(rows.p)).sum())
    if without:
        yield f"{without} labelled questions have no confidence: they count for the risk, not for calibration"
    if is_weighted(rows):
        yield (
            "labels are weighted: shares of wrong and right are ratios of weighted sums with approximate intervals; "
            "coverage, costs, ranking and calibration are of the rows as they are"
        )
