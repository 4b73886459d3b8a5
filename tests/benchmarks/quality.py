"""Measure every signal, and the calibrated combination of all, on recorded answers of real models.

    make bench-quality DATA=folder            a folder of *.jsonl or *.jsonl.gz in the schema of its README
    python -m tests.benchmarks.quality DATA [--no-peers] [--files NAME …]

A *set* is the answers of one upstream in one file whose labels were made in one way. For each: AUROC, AUPRC of finding
the errors, AURC, PRR and ECE of every signal alone and of the logistic combination of all; the scorers of uqlm and
lm-polygraph that run without downloads, on the same answers; answer length; and the oracle.

The combination is nested: questions are split into five folds, and all that is applied to a fold (what neighbours and
texts teach, the penalty, the weights) was learned on the questions of the other four. AUROC compares answers within a
fold, for each fold has a calibrator of its own. Differences have a 95 % interval from a paired bootstrap over
questions. Prints tables, writes build/bench-quality.json and build/bench-quality.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process a core; threads of their own would only get in the way

import argparse
import json
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gate.calibration.logistic import StageWeights
from gate.calibration.metrics import (
    auprc_error,
    aurc,
    auroc,
    expected_calibration_error,
    prediction_rejection_ratio,
)
from gate.calibration.probabilities import probabilities
from gate.evidence import (
    AnswerVectors,
    Cautious,
    Meanings,
    Passages,
    PTrue,
    Samples,
    SecondOpinion,
    Similarities,
    StatedLinguistic,
    StatedTwoStage,
)
from gate.signals import SIGNALS
from gate.tuning.fit import Readings, fit
from tests.benchmarks.decision_cost import decision_cost
from tests.benchmarks.learned_from_text import LEARNED, learn
from tests.benchmarks.peers_on_recorded import Peers
from tests.benchmarks.recorded import Answered, Group, Set, groups_of

ROOT = Path(__file__).parents[2]
FOLDS = 5
RESAMPLES = 1000
PRESENT = 0.2
"""A signal that fewer of a set's answers have is left out of its combination."""
BOUNDS = {signal.name: signal.bounds for signal in SIGNALS}
Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Folds = npt.NDArray[np.intp]


# --- metrics -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scored:
    """How well one number ranks (and, where it is a probability, calibrates) the answers that have it."""

    n: int
    auroc: float | None
    auprc_error: float | None
    aurc: float | None
    prr: float | None
    ece: float | None


def within(values: Array, right: Bools, fold: Folds) -> float | None:
    """AUROC over the pairs whose two answers are of one fold and one data set.

    Each fold has a calibrator of its own: across folds the same readings can get another confidence, which no gateway
    would see. And telling an easy data set from a hard one is no merit of a signal.
    """
    won, pairs = 0.0, 0
    for one in np.unique(fold):
        mine = fold == one
        share = auroc(values[mine], right[mine])
        if share is not None:
            count = int(right[mine].sum()) * int((~right[mine]).sum())
            won, pairs = won + share * count, pairs + count
    return won / pairs if pairs else None


def scored(values: Array, right: Bools, fold: Folds, *, probability: bool) -> Scored:
    there = ~np.isnan(values)
    value, label = values[there], right[there]
    if not len(value):
        return Scored(0, None, None, None, None, None)
    return Scored(
        n=len(value),
        auroc=within(value, label, fold[there]),
        auprc_error=auprc_error(value, label),
        aurc=aurc(value, label),
        prr=prediction_rejection_ratio(value, label),
        ece=expected_calibration_error(value, label) if probability else None,
    )


@dataclass(frozen=True)
class Difference:
    """AUROC of the combination less that of another, over the answers that have both."""

    other: str
    gain: float
    low: float
    high: float


def difference(
    name: str, ours: Array, theirs: Array, right: Bools, fold: Folds, questions: Sequence[str]
) -> Difference | None:
    """With a 95 % interval from resampling questions, all their answers with them."""
    there = ~np.isnan(theirs) & ~np.isnan(ours)
    ours, theirs, right, fold = ours[there], theirs[there], right[there], fold[there]
    _, owner = np.unique(np.array(questions, dtype=object)[there].astype(str), return_inverse=True)
    one, other = within(ours, right, fold), within(theirs, right, fold)
    if one is None or other is None:
        return None
    rows_of = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([rows_of[i] for i in rng.integers(0, len(rows_of), len(rows_of))])
        a, b = (within(column[rows], right[rows], fold[rows]) for column in (ours, theirs))
        if a is not None and b is not None:
            gains.append(a - b)
    low, high = np.quantile(gains or [0.0], [0.025, 0.975])
    return Difference(name, one - other, float(low), float(high))


# --- the combination ---------------------------------------------------------------------------------------------


def matrix(answers: Sequence[Answered], names: Sequence[str]) -> Array:
    """Values, [answers, signals]; NaN where missing."""
    readings = [{reading.signal: reading.value for reading in answer.vector.readings} for answer in answers]
    return np.array([[row.get(name) for name in names] for row in readings], dtype=np.float64)


def usable(values: Array) -> Bools:
    there = ~np.isnan(values)
    low, high = np.where(there, values, np.inf).min(0), np.where(there, values, -np.inf).max(0)
    return (there.mean(0) >= PRESENT) & (high - low > 1e-12)


def strata(answers: Sequence[Answered]) -> Folds:
    """A number for each answer, the same for those of one fold and one data set."""
    kinds = sorted({answer.dataset for answer in answers})
    return folds(answers) + FOLDS * np.array([kinds.index(answer.dataset) for answer in answers])


def folds(answers: Sequence[Answered]) -> Folds:
    """A fold for each answer; all answers to one question share theirs."""
    questions = sorted({answer.question_id for answer in answers})
    order = np.random.default_rng(0).permutation(len(questions))
    fold = {question: int(place) % FOLDS for question, place in zip(questions, order, strict=True)}
    return np.array([fold[answer.question_id] for answer in answers])


@dataclass(frozen=True)
class Combined:
    p: Array
    """For each answer, by a calibrator that saw none of its question."""
    learned: Array
    """What was learned from text, likewise: [answers, LEARNED]."""
    weights: Mapping[str, float]
    """Mean over the folds of what one standard deviation of a signal adds to the log-odds."""


def combine(answers: Sequence[Answered], names: Sequence[str], right: Bools) -> Combined:
    values, fold = matrix(answers, names), folds(answers)
    p, learned = np.full(len(answers), np.nan), np.full((len(answers), len(LEARNED)), np.nan)
    weights: dict[str, float] = {}
    for held in range(FOLDS):
        train, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        on_train, on_test = learn([answers[i] for i in train], [answers[i] for i in test])
        learned[test] = on_test
        seen, unseen = np.hstack([values[train], on_train]), np.hstack([values[test], on_test])
        kept = usable(seen)
        kept_names = [name for name, keep in zip([*names, *LEARNED], kept, strict=True) if keep]
        if not kept_names:  # nothing varies: all that is known is how often this upstream is right
            p[test] = right[train].mean()
            continue
        p[test], fitted = _fit_and_apply(answers, kept_names, seen[:, kept], unseen[:, kept], right, train)
        for name in kept_names:
            weights[name] = weights.get(name, 0.0) + fitted.signals[name].weight / FOLDS
    return Combined(p, learned, weights)


def cross_fitted(answers: Sequence[Answered], names: Sequence[str], values: Array, right: Bools) -> Array:
    """p for each answer, by a calibrator that saw none of its question."""
    fold, p = folds(answers), np.full(len(answers), right.mean())
    for held in range(FOLDS if names else 0):
        train, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        p[test] = _fit_and_apply(answers, names, values[train], values[test], right, train)[0]
    return p


def _fit_and_apply(
    answers: Sequence[Answered], names: Sequence[str], seen: Array, unseen: Array, right: Bools, train: Folds
) -> tuple[Array, StageWeights]:
    _, question = np.unique([answer.question_id for answer in answers], return_inverse=True)
    bounds = {name: BOUNDS.get(name, (-np.inf, np.inf)) for name in names}
    fitted = fit(Readings(seen, right[train], question[train]), names, bounds)
    return probabilities(fitted, unseen)[0], fitted


# --- one set -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """A set, with what gate makes of it."""

    found: Set
    combined: Combined
    control: Array | None


def measured(group: Group) -> Measured:
    found = group.read()
    right = np.array([answer.correct for answer in found.answers])
    names = [signal.name for signal in SIGNALS if signal.name not in LEARNED]
    return Measured(found, combine(found.answers, names, right), control(found.answers, right))


def control(answers: Sequence[Answered], right: Bools) -> Array | None:
    """Out-of-fold p from the recorded numbers gate has no signal for, each both ways round; None without any."""
    names = sorted({name for answer in answers for name in answer.scalars})
    if not names:
        return None
    one = np.array([[answer.scalars.get(name, np.nan) for name in names] for answer in answers])
    both, labels = np.hstack([one, -one]), [*names, *(f"-{name}" for name in names)]
    kept = usable(both)
    return cross_fitted(answers, [n for n, k in zip(labels, kept, strict=True) if k], both[:, kept], right)


@dataclass(frozen=True)
class Report:
    """All that is measured on one set."""

    name: str
    file: str
    n: int
    questions: int
    accuracy: float
    oracle_aurc: float
    evidence: tuple[str, ...]
    """Kinds of evidence that vary: a set with one of them has nothing to combine."""
    combined: Scored
    chance_ece: float
    """The ECE that these confidences would show on as many answers if each were exactly right."""
    signals: Mapping[str, Scored]
    peers: Mapping[str, Scored]
    length: Scored
    control: Scored | None
    """Recorded numbers with next to no signal, alone: their weights should go to 0 and p to the base rate."""
    control_spread: float | None
    over_best_signal: Difference | None
    over_best_peer: Difference | None
    weights: Mapping[str, float]


def report(made: Measured, peers: Peers | None) -> Report:
    answers, p = made.found.answers, made.combined.p
    right = np.array([answer.correct for answer in answers])
    names = [signal.name for signal in SIGNALS if signal.name not in LEARNED]
    ours = dict(zip([*names, *LEARNED], [*matrix(answers, names).T, *made.combined.learned.T], strict=True))
    ours = {name: column for name, column in ours.items() if usable(column[:, None])[0]}
    theirs = peers.columns(answers) if peers else {}
    theirs = {name: column for name, column in theirs.items() if usable(column[:, None])[0]}
    questions, fold = [answer.question_id for answer in answers], strata(answers)
    return Report(
        name=made.found.name,
        file=made.found.file,
        n=len(answers),
        questions=len(set(questions)),
        accuracy=float(right.mean()),
        oracle_aurc=float(aurc(right.astype(np.float64), right) or 0.0),
        evidence=_kinds(ours),
        combined=scored(p, right, fold, probability=True),
        chance_ece=_chance_ece(p),
        signals={name: scored(c, right, fold, probability=BOUNDS[name] == (0.0, 1.0)) for name, c in ours.items()},
        peers={name: scored(c, right, fold, probability=False) for name, c in theirs.items()},
        control=None if made.control is None else scored(made.control, right, fold, probability=True),
        control_spread=None if made.control is None else float(np.abs(made.control - right.mean()).mean()),
        length=scored(-np.array([float(len(a.answer)) for a in answers]), right, fold, probability=False),
        over_best_signal=_over_best(ours, p, right, fold, questions),
        over_best_peer=_over_best(theirs, p, right, fold, questions),
        weights=made.combined.weights,
    )


def _over_best(
    columns: Mapping[str, Array], p: Array, right: Bools, fold: Folds, questions: Sequence[str]
) -> Difference | None:
    """Over the one that turns out best on this very set, with the middle value where it has none."""
    full = {name: np.where(np.isnan(column), np.nanmedian(column), column) for name, column in columns.items()}
    ranked = {name: within(column, right, fold) or 0.0 for name, column in full.items()}
    best = max(ranked, key=ranked.__getitem__, default=None)
    return None if best is None else difference(best, p, full[best], right, fold, questions)


KINDS = {
    "samples": (Samples, Meanings, Similarities, AnswerVectors),
    "statements": (StatedTwoStage, StatedLinguistic, PTrue),
    "other answers": (SecondOpinion, Cautious),
    "passages": (Passages,),
}


def _kinds(names: Iterable[str]) -> tuple[str, ...]:
    """Kinds of evidence that somebody had to pay for. The question's and the answer's wording are always there."""
    needs = {signal.name: signal.needs for signal in SIGNALS}
    found = {kind for name in names for kind, facts in KINDS.items() if set(needs[name]) & set(facts)}
    return tuple(sorted(found | ({"log-probabilities"} if any(n.startswith("token_") for n in names) else set())))


def _chance_ece(p: Array, draws: int = 100) -> float:
    rng = np.random.default_rng(0)
    return float(np.mean([expected_calibration_error(p, rng.random(len(p)) < p) for _ in range(draws)]))


# --- printing ----------------------------------------------------------------------------------------------------

HEAD = (
    "set", "answers", "right", "AUROC: all signals", "best signal", "best peer", "answer length",
    "gain over the best peer (95 %)", "AUPRC of errors", "AURC (oracle, random)", "PRR", "ECE (by chance)",
)  # fmt: skip


def row(r: Report) -> tuple[str, ...]:
    c, peer = r.combined, r.over_best_peer
    return (
        r.name,
        str(r.n),
        f"{r.accuracy:.0%}",
        f"{c.auroc:.3f}" if c.auroc is not None else "-",
        _one(r.over_best_signal, c),
        _one(peer, c),
        f"{r.length.auroc:.3f}" if r.length.auroc is not None else "-",
        "-" if peer is None else f"{peer.gain:+.3f} ({peer.low:+.3f} to {peer.high:+.3f})",
        f"{c.auprc_error:.3f}",
        f"{c.aurc:.3f} ({r.oracle_aurc:.3f}, {1 - r.accuracy:.3f})",
        f"{c.prr:.3f}",
        f"{c.ece:.3f} ({r.chance_ece:.3f})",
    )


def _one(d: Difference | None, combined: Scored) -> str:
    return "-" if d is None or combined.auroc is None else f"{combined.auroc - d.gain:.3f} `{d.other}`"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def summary(reports: Sequence[Report]) -> dict[str, float | int | None]:
    """The aims, over the sets that have something to combine. None where no set tells."""
    several = [r for r in reports if len(r.evidence) > 1]
    control = [r for r in reports if r.control]
    return {
        "sets": len(reports),
        "sets with several kinds of evidence": len(several),
        "of them with a peer": sum(r.over_best_peer is not None for r in several),
        "mean gain in AUROC over the best peer": _mean(r.over_best_peer.gain for r in several if r.over_best_peer),
        "mean gain in AUROC over the best single signal": _mean(
            r.over_best_signal.gain for r in several if r.over_best_signal
        ),
        "all sets with a peer: mean gain in AUROC": _mean(r.over_best_peer.gain for r in reports if r.over_best_peer),
        "control, numbers that tell nothing: mean AUROC": _mean(r.control.auroc or 0.5 for r in control if r.control),
        "control: mean distance of p from the base rate": _mean(r.control_spread or 0.0 for r in control),
        "sets worse than the best peer by more than the interval": sum(
            1 for r in reports if r.over_best_peer and r.over_best_peer.high < 0
        ),
        "sets worse than the best single signal by more than the interval": sum(
            1 for r in reports if r.over_best_signal and r.over_best_signal.high < 0
        ),
        "mean ECE": _mean(r.combined.ece for r in reports if r.combined.ece is not None),
        "mean ECE by chance": _mean(r.chance_ece for r in reports),
        "sets with ECE above 0.04": sum(1 for r in reports if (r.combined.ece or 0.0) > 0.04),
    }


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return float(np.mean(listed)) if listed else None


def listed(values: Mapping[str, float | int | None]) -> str:
    return "".join(f"- {name}: {'-' if value is None else f'{value:.4g}'}\n" for name, value in values.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder of recorded answers")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    parser.add_argument("--files", nargs="*", default=(), help="only these files of the folder, without their endings")
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"{options.data} is no folder: give one with recorded answers, DATA=…")
    began = time.monotonic()
    found = list(groups_of(options.data, options.files))
    skipped = [one for one in found if isinstance(one, str)]
    groups = [one for one in found if isinstance(one, Group)]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        made = []
        for one in pool.map(measured, groups):
            made.append(one)
            print(f"{time.monotonic() - began:5.0f} s  {one.found.name}", flush=True)
    peers = None if options.no_peers else Peers.of(a for one in made for a in one.found.answers)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        reports = list(pool.map(report, made, [peers] * len(made)))
    cost = decision_cost(peers=not options.no_peers)
    result = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "minutes": (time.monotonic() - began) / 60,
        "summary": summary(reports),
        "cost": cost,
        "sets": [asdict(r) for r in reports],
        "skipped": skipped,
    }
    table = markdown(HEAD, map(row, reports))
    left_out = "".join(f"- skipped {reason}\n" for reason in skipped)
    page = f"{result['machine']}, {result['date']}\n\n{table}\n{listed(summary(reports))}\n{listed(cost)}\n{left_out}"
    target = ROOT / "build" / "bench-quality.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
