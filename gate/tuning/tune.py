"""Tune: fit, search, certify. From labelled answers to a policy whose promise holds, or the word that none does.

The fit split teaches the calibrators and, through p's of calibrators that had not seen the question, chooses a sequence
of policies from the safest to the boldest. The certify split, which taught nothing, is run through each whole policy by
the pipeline itself until one fails. Of those that passed, the one of least cost is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gate.assemble import assemble, fingerprints
from gate.calibration.logistic import LogisticCalibrator
from gate.calibration.unfitted import Unfitted
from gate.errors import ConfigError
from gate.guarantees.selective_risk import upper_bound
from gate.policy import CertificateSettings, Policy, PolicyFile
from gate.tuning.certification import Bound, Counted, Tested, start, tested
from gate.tuning.collection import Collected, Collection, question_key
from gate.tuning.fitting import Bounds, Fitted, fit_table
from gate.tuning.judging import judge
from gate.tuning.observing import observed
from gate.tuning.search import RATIOS, Option, Prices, Structure, best, between, structures
from gate.tuning.splits import Shares
from gate.tuning.table import Table
from gate.tuning.variants import Variant, variants
from gate.tuning.walk import Terrain
from gate.types import Action

SCREENED = (RATIOS[3], RATIOS[10], RATIOS[18])
"""Prices at which every structure is tried; only the best of these are gone through at all prices."""
KEPT = 6
SEARCHED = 10_000
"""Questions the search looks at, at most."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy of the sequence."""

    option: Option
    variant: str
    policy: Policy
    calibrator: LogisticCalibrator


@dataclass(frozen=True, slots=True)
class Tuned:
    """How tuning came out."""

    source: PolicyFile
    policy: Policy | None
    """The tuned policy with its certificate; None where no policy keeps the promise."""
    calibrator: LogisticCalibrator | None
    tests: tuple[Tested[Candidate], ...]
    """In the order they were made, the first that failed among them."""
    considered: tuple[Option, ...]
    """The whole sequence, with what each was expected to do."""
    fitted_on: int
    unlabelled: int
    """Questions without any label, left out."""

    @property
    def best_bound(self) -> float:
        """The least limit on the share of wrong answers that any test showed."""
        return min((test.bound for test in self.tests), default=1.0)


@dataclass(frozen=True, slots=True)
class _Ground:
    """One variant, fitted."""

    variant: Variant
    table: Table
    fitted: Fitted
    calibrator: LogisticCalibrator


def tune(
    source: PolicyFile,
    collection: Collection,
    *,
    shares: Shares | None = None,
    bound: Bound = upper_bound,
    labels: str = "",
    segment: str = "",
    calibrator_name: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """Tune a policy on a collection.

    ``bound`` limits the error among answers (see `gate.guarantees`); ``labels`` and ``segment`` are written into the
    certificate. Raises `ConfigError` where there are too few labels to learn from.
    """
    shares = shares or Shares()
    bare = replace(source, policy=source.policy.model_copy(update={"certificate": None}))
    gateway = assemble(bare, Unfitted())
    running = {k: v for k, v in gateway.running.items() if k not in {"policy", "calibrator"}}
    bounds = {signal.name: signal.bounds for signal in gateway.plan.signals}
    grounds: list[_Ground] = []
    for variant in variants(bare.policy, gateway.plan):
        progress(f"fitting: {variant.label}")
        plan = assemble(replace(bare, policy=variant.policy), Unfitted()).plan
        table = observed(collection, plan, shares)
        grounds.append(_ground(variant, table, bounds, running, str(collection.path)))
    progress("searching")
    options = _sequence(source.policy, grounds)
    name = calibrator_name or source.policy.calibrator
    candidates = [_candidate(bare, ground, option, name) for ground, option in options]
    learned, promise = len(grounds[0].table), source.policy.promise
    at = start([_expected(option, learned) for _, option in options], promise, bound)
    counted = _counted(bare, candidates[at:], lambda: _split(collection, "certify", shares), progress)
    tests = tuple(tested(counted, promise, bound))
    chosen = _cheapest(tests, source.policy)
    labelled = sum(1 for _ in _split(collection, "", shares))
    return Tuned(
        source,
        _certified(bare, chosen, labels=labels, segment=segment) if chosen else None,
        chosen.candidate.calibrator if chosen else None,
        tests,
        tuple(option for _, option in options),
        learned,
        collection.count()[1] - labelled,
    )


def _ground(variant: Variant, table: Table, bounds: Bounds, running: Mapping[str, str], where: str) -> _Ground:
    learning = table.of_split("fit")
    try:
        fitted = fit_table(learning, bounds)
    except ValueError as error:
        said = f"{len(learning)} questions of the fit split have labels: {error}"
        raise ConfigError(f"too little to learn from: {said}", where=where) from error
    return _Ground(variant, learning, fitted, fitted.calibrator(table.signals, running))


# --- search ------------------------------------------------------------------------------------------------------


def _sequence(policy: Policy, grounds: Sequence[_Ground]) -> list[tuple[_Ground, Option]]:
    """Policies from the safest to the boldest: for each price of a wrong answer the best of all."""
    routes = policy.routes
    shapes = list(structures(policy.ladder, retrieve=routes.retrieve is not None, escalate=routes.escalate))
    every = [(ground, shape, _terrain(ground, shape)) for ground in grounds for shape in shapes]
    costs = [[best(terrain, shape, _prices(policy, r)).expected_cost for r in SCREENED] for _, shape, terrain in every]
    good = {
        i for place in range(len(SCREENED)) for i in sorted(range(len(every)), key=lambda i: costs[i][place])[:KEPT]
    }
    sequence: list[tuple[_Ground, Option]] = []
    for ratio in RATIOS:
        prices = _prices(policy, ratio)
        at = [(every[i][0], best(every[i][2], every[i][1], prices), every[i][2]) for i in sorted(good)]
        ground, option, terrain = min(at, key=lambda found: found[1].expected_cost)
        if sequence:
            before = sequence[-1][1]
            if (before.structure, before.rule) == (option.structure, option.rule):
                continue
            sequence += [(ground, mixed) for mixed in between(terrain, before, option, prices)]
        sequence.append((ground, option))
    return sequence


def _prices(policy: Policy, ratio: float) -> Prices:
    return Prices(ratio * policy.costs.abstain, policy.costs.abstain)


def _terrain(ground: _Ground, shape: Structure) -> Terrain:
    tiers = len(ground.variant.policy.tiers)
    return Terrain.of(ground.table, ground.fitted.unseen, shape.ladder, tiers)


def _expected(option: Option, n: int) -> Counted:
    answered = round(option.coverage * n)
    return Counted(n, answered, min(answered, round(option.risk * answered)), option.money)


# --- candidates --------------------------------------------------------------------------------------------------


def _candidate(source: PolicyFile, ground: _Ground, option: Option, calibrator: str) -> Candidate:
    shape, routes = option.structure, source.policy.routes
    update = {
        "ladder": shape.ladder,
        "rule": option.rule,
        "calibrator": calibrator,
        "routes": routes.model_copy(
            update={
                "retrieve": routes.retrieve if Action.RETRIEVE in shape.otherwise else None,
                "escalate": Action.ESCALATE in shape.otherwise,
            }
        ),
    }
    return Candidate(option, ground.variant.label, ground.variant.policy.model_copy(update=update), ground.calibrator)


def _counted(
    source: PolicyFile,
    candidates: Iterable[Candidate],
    held_out: Callable[[], Iterable[Collected]],
    progress: Callable[[str], None],
) -> Iterable[tuple[Candidate, Counted]]:
    """What each whole policy does with the certify split; worked out only when it is asked for."""
    for number, candidate in enumerate(candidates, 1):
        progress(f"certifying: policy {number}")
        plan = assemble(replace(source, policy=candidate.policy), candidate.calibrator).plan
        asked = answered = wrong = 0
        money = 0.0
        for one in judge(plan, held_out()):
            asked += 1
            answered += one.outcome is None or one.outcome.answered
            wrong += one.wrong
            money += one.outcome.cost.money if one.outcome else 0.0
        yield candidate, Counted(asked, answered, wrong, money / max(1, asked))


def _cheapest(tests: Sequence[Tested[Candidate]], policy: Policy) -> Tested[Candidate] | None:
    """Of those that passed: choosing among them by the same questions is free, for all hold together."""

    def cost(test: Tested[Candidate]) -> float:
        done, n = test.counted, max(1, test.counted.asked)
        return done.money + (policy.costs.abstain * (n - done.answered) + policy.costs.wrong * done.wrong) / n

    return min((test for test in tests if test.passed), key=cost, default=None)


def _certified(source: PolicyFile, test: Tested[Candidate], *, labels: str, segment: str) -> Policy:
    candidate, promise = test.candidate, source.policy.promise
    file = replace(source, policy=candidate.policy)
    gateway = assemble(file, candidate.calibrator)
    certificate = CertificateSettings(
        alpha=promise.max_error,
        delta=round(1 - promise.confidence, 12),
        n=test.counted.asked,
        answered=test.counted.answered,
        errors=test.counted.wrong,
        bound=round(test.bound, 6),
        segment=segment,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        labels=labels,
        fingerprints=fingerprints(candidate.policy, gateway.plan, gateway.world),
    )
    return candidate.policy.model_copy(update={"certificate": certificate})


def _split(collection: Collection, split: str, shares: Shares) -> Iterator[Collected]:
    """The questions of a split that have a label; of any split where it is empty."""
    for row in collection.collected():
        if any(label.correct is not None for label in row.labels.values()):
            own = row.example.split or shares.split(question_key(row.example))
            if split in ("", own):
                yield row
