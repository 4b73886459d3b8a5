"""Tune: fit, search, certify. From labelled answers to a policy whose promise holds, or the word that none does.

The fit split teaches the calibrators and, through p's of calibrators that had not seen the question, chooses a sequence
of policies from the safest to the boldest. The certify split, which taught nothing, is run through each whole policy by
the pipeline itself until one fails. Of those that passed, the one of least cost is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np

from gate.assemble import assemble, fingerprints
from gate.calibration.logistic import LogisticCalibrator
from gate.calibration.unfitted import Unfitted
from gate.errors import ConfigError
from gate.evidence.probes import Probes
from gate.gateway import Gateway
from gate.pipeline import Plan
from gate.policy import CertificateSettings, Policy, PolicyFile
from gate.ports import Calibrator, Price
from gate.rules import ExpectedCostRule
from gate.tuning import expected_cost
from gate.tuning.certification import Bound, Counted, Foreseen, Tested, start, tested
from gate.tuning.fitting import Confidences, confidences, fit_table
from gate.tuning.foresight import Foresight, foresee
from gate.tuning.internal_states import probe_examples, probed, reads_states
from gate.tuning.probes import fit_probes
from gate.tuning.search import RATIOS, Option, Prices, Structure, best, between, option
from gate.tuning.sources import Source
from gate.tuning.table import Table
from gate.tuning.variants import Variant
from gate.tuning.walk import Terrain
from gate.types import Action

SCREENED = (RATIOS[3], RATIOS[10], RATIOS[18])
"""Prices at which every structure is tried; only the best of these are gone through at all prices."""
KEPT = 6
SEARCHED = 10_000
"""Questions the search looks at, at most."""
_Build = Callable[[PolicyFile, Calibrator], Gateway]


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

    policy: Policy | None
    """The tuned policy with its certificate; None where no policy keeps the promise."""
    calibrator: LogisticCalibrator | None
    tests: tuple[Tested[Candidate], ...]
    """In the order they were made, the first that failed among them."""
    considered: tuple[Option, ...]
    """The whole sequence, with what each was expected to do."""
    chosen: Tested[Candidate] | None
    fitted_on: int
    left_out: str
    """What of the source could not be used."""
    beside: tuple[float, ...] = ()
    """Where nothing passed: the limits of the policies that were not tested, each by itself."""
    probes: Probes | None = None
    """What was fitted on the internal states; None where none are read, or too few."""

    @property
    def best_bound(self) -> float:
        """The least limit on the share of wrong answers that any policy of the sequence shows by itself."""
        return min((*(test.bound for test in self.tests), *self.beside), default=1.0)


@dataclass(frozen=True, slots=True)
class _Ground:
    """One variant, fitted."""

    variant: Variant
    learned: int
    """Questions it was fitted on."""
    table: Table
    """Those of them the search looks at."""
    unseen: Confidences
    calibrator: LogisticCalibrator
    foresight: Foresight = field(default_factory=Foresight)
    """Of the ways on, where the rule asks for that."""


def tune(
    file: PolicyFile,
    source: Source,
    *,
    bound: Bound,
    labels: str = "",
    segment: str = "",
    calibrator: str = "",
    probes: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """Tune a policy on a source of labelled questions.

    ``bound`` limits the error among answers (see `gate.tuning.bounds`); ``labels`` and ``segment`` are written into the
    certificate, and ``calibrator`` and ``probes`` into the policy, as the names of the files they will have: the
    latter relative to the policy that is tuned, and only where it reads hidden states. Raises `ConfigError` where there
    are too few labels to learn from.
    """
    promise = file.policy.promise
    bare = replace(file, policy=file.policy.model_copy(update={"certificate": None}))
    bare, learned = _with_probes(bare, source, probes, progress)
    build = partial(assemble, probes=learned)
    gateway = build(bare, Unfitted())
    grounds = _grounds(bare, gateway, source, build, progress)
    progress("searching")
    shapes = source.structures(file.policy)
    as_it_ran = source.as_it_ran(file, gateway.plan)
    if as_it_ran:
        grounds.append(_ground_of(as_it_ran, grounds[0].variant, source.table(gateway.plan)))
    options = _sequence(file.policy, grounds, shapes)
    n, shares = len(grounds[0].table), source.shares
    times = grounds[0].learned / max(1, n) * shares.certify / shares.fit
    at = start([_foreseen(option, n) for _, option in options], times, promise, bound)
    if as_it_ran:  # fixed before any of these questions came, so it may be tested before all others
        terrain = _terrain(grounds[-1], shapes[0]).looking_ahead(grounds[-1].table, as_it_ran.ways)
        ran = option(terrain, shapes[0], file.policy.rule, _prices(file.policy, 1.0))
        options.insert(at, (grounds[-1], replace(ran, ways=as_it_ran.ways)))
    named, charged = calibrator or file.policy.calibrator, gateway.plan.prices
    candidates = [_candidate(bare, ground, each, named, charged) for ground, each in options]
    tests = tuple(tested(_counted(bare, candidates[at:], source, build, progress), promise, bound))
    chosen = _cheapest(tests, file.policy)
    if chosen is None:  # for the record alone: what else there was shows how far from the promise it all is
        progress("looking at the others")
        others = _counted(bare, [*candidates[:at], *candidates[at + len(tests) :]], source, build, progress)
        beside = tuple(bound(counted, 1 - promise.confidence) for _, counted in others if counted.answered)
    else:
        beside = ()
    return Tuned(
        _certified(bare, chosen, build, source, labels=labels, segment=segment) if chosen else None,
        chosen.candidate.calibrator if chosen else None,
        tests,
        tuple(each for _, each in options),
        chosen,
        grounds[0].learned,
        source.left_out(),
        beside,
        learned,
    )


def _with_probes(
    file: PolicyFile, source: Source, path: str, progress: Callable[[str], None]
) -> tuple[PolicyFile, Probes | None]:
    """Probes fitted on the fit split, and the policy with them; as it was where the source holds no states.

    They are cross-fitted: what the calibrator is fitted on is read by probes that never saw the question.
    """
    if not path or not reads_states(file.policy):
        return file, None
    progress("fitting probes")
    without = replace(file, policy=probed(file.policy, None))
    fitted = fit_probes(list(probe_examples(source.examined("fit"), assemble(without, Unfitted()).plan)))
    return (file, None) if fitted is None else (replace(file, policy=probed(file.policy, path)), fitted)


def _grounds(
    file: PolicyFile, gateway: Gateway, source: Source, build: _Build, progress: Callable[[str], None]
) -> list[_Ground]:
    running = {k: v for k, v in gateway.running.items() if k not in {"policy", "calibrator"}}
    made = []
    for variant in source.variants(file.policy, gateway.plan):
        progress(f"fitting: {variant.label}")
        plan = build(replace(file, policy=variant.policy), Unfitted()).plan
        made.append(_ground(variant, plan, source, running))
    return made


def _ground(variant: Variant, plan: Plan, source: Source, running: Mapping[str, str]) -> _Ground:
    learning, bounds = source.table(plan), {signal.name: signal.bounds for signal in plan.signals}
    foresight = Foresight()
    try:
        fitted = fit_table(learning, bounds)
        if isinstance(plan.rule, ExpectedCostRule):
            foresight = foresee(learning, fitted, bounds)
    except ValueError as error:
        said = f"{len(learning)} questions of the fit split have labels, and {error}"
        raise ConfigError(f"too little to learn from: {said}", where=source.where) from error
    rows = np.random.default_rng(0).permutation(len(learning))[:SEARCHED]
    unseen = {key: (p[rows], strange[rows]) for key, (p, strange) in fitted.unseen.items()}
    calibrator = fitted.calibrator(learning.signals, running)
    return _Ground(variant, len(learning), learning.where(rows), unseen, calibrator, foresight.where(rows))


def _ground_of(calibrator: LogisticCalibrator, variant: Variant, learning: Table) -> _Ground:
    """With a calibrator that was there before, and saw none of these questions."""
    rows = np.random.default_rng(0).permutation(len(learning))[:SEARCHED]
    table = learning.where(rows)
    return _Ground(variant, len(learning), table, confidences(calibrator.stages, table), calibrator)


# --- search ------------------------------------------------------------------------------------------------------


def _sequence(policy: Policy, grounds: Sequence[_Ground], shapes: Sequence[Structure]) -> list[tuple[_Ground, Option]]:
    """Policies from the safest to the boldest: for each price of a wrong answer the best of all."""
    every = [(ground, shape, _terrain(ground, shape)) for ground in grounds for shape in shapes]
    costs = [[_best(*each, policy, r).expected_cost for r in SCREENED] for each in every]
    good = {
        i for place in range(len(SCREENED)) for i in sorted(range(len(every)), key=lambda i: costs[i][place])[:KEPT]
    }
    sequence: list[tuple[_Ground, Option]] = []
    for ratio in RATIOS:
        at = [(every[i][0], _best(*every[i], policy, ratio), every[i][2]) for i in sorted(good)]
        ground, option, terrain = min(at, key=lambda found: found[1].expected_cost)
        if sequence:
            before = sequence[-1][1]
            if _the_same(before, option):
                continue
            sequence += [(ground, mixed) for mixed in _between(ground, before, option, terrain, policy, ratio)]
        sequence.append((ground, option))
    return sequence


def _best(ground: _Ground, shape: Structure, terrain: Terrain, policy: Policy, ratio: float) -> Option:
    prices = _prices(policy, ratio)
    if isinstance(policy.rule, ExpectedCostRule):
        return expected_cost.best(terrain, shape, prices, policy.rule, ground.foresight)
    return best(terrain, shape, prices)


def _between(
    ground: _Ground, before: Option, after: Option, terrain: Terrain, policy: Policy, ratio: float
) -> Iterator[Option]:
    prices = _prices(policy, ratio)
    if isinstance(policy.rule, ExpectedCostRule):
        return expected_cost.between(terrain, before, after, prices, policy.rule, ground.foresight)
    return between(terrain, before, after, prices)


def _the_same(one: Option, other: Option) -> bool:
    """Whether two policies that follow each other do the same, as far as can be seen."""
    if one.structure != other.structure:
        return False
    did = [(each.coverage, each.risk, each.money) for each in (one, other)]
    return one.rule == other.rule or (isinstance(one.rule, ExpectedCostRule) and did[0] == did[1])


def _prices(policy: Policy, ratio: float) -> Prices:
    return Prices(ratio * policy.costs.abstain, policy.costs.abstain)


def _terrain(ground: _Ground, shape: Structure) -> Terrain:
    tiers = len(ground.variant.policy.tiers)
    terrain = Terrain.of(ground.table, ground.unseen, shape.ladder, tiers)
    retrieve = ground.variant.policy.routes.retrieve
    first = retrieve is not None and retrieve.first == "always" and Action.RETRIEVE in shape.otherwise
    return replace(terrain, passages_first=first)


def _foreseen(option: Option, n: int) -> Foreseen:
    answered = round(option.coverage * n)
    return Foreseen(answered, min(answered, round(option.risk * answered)), option.stated)


# --- candidates --------------------------------------------------------------------------------------------------


def _candidate(
    file: PolicyFile, ground: _Ground, option: Option, calibrator: str, prices: Mapping[str, Price]
) -> Candidate:
    shape, routes = option.structure, file.policy.routes
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
    charged = {name: (prices[name].prompt, prices[name].completion) for name in shape.ladder}
    ways = option.ways and option.ways.model_copy(update={"prices": charged})
    fitted = ground.calibrator.model_copy(update={"ways": ways})
    return Candidate(option, ground.variant.label, ground.variant.policy.model_copy(update=update), fitted)


def _counted(
    file: PolicyFile, candidates: Iterable[Candidate], source: Source, build: _Build, progress: Callable[[str], None]
) -> Iterator[tuple[Candidate, Counted]]:
    """What each whole policy does with the certify split; worked out only when it is asked for."""
    for number, candidate in enumerate(candidates, 1):
        progress(f"certifying: policy {number}")
        plan = build(replace(file, policy=candidate.policy), candidate.calibrator).plan
        yield candidate, source.counted(candidate.policy, plan, candidate.calibrator)


def _cheapest(tests: Sequence[Tested[Candidate]], policy: Policy) -> Tested[Candidate] | None:
    """Of those that passed: choosing among them by the same questions is free, for all hold together."""

    def cost(test: Tested[Candidate]) -> float:
        done, n = test.counted, max(1, test.counted.asked)
        return done.money + (policy.costs.abstain * (n - done.answered) + policy.costs.wrong * done.wrong) / n

    return min((test for test in tests if test.passed), key=cost, default=None)


def _certified(
    file: PolicyFile, test: Tested[Candidate], build: _Build, source: Source, *, labels: str, segment: str
) -> Policy:
    candidate, promise = test.candidate, file.policy.promise
    gateway = build(replace(file, policy=candidate.policy), candidate.calibrator)
    certificate = CertificateSettings(
        alpha=promise.max_error,
        delta=round(1 - promise.confidence, 12),
        n=test.counted.asked,
        answered=test.counted.answered,
        errors=test.counted.wrong,
        bound=min(promise.max_error, math.ceil(test.bound * 1e6) / 1e6),  # never below what was shown
        segment=segment,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        labels=labels,
        fingerprints=fingerprints(candidate.policy, gateway.plan, gateway.world),
        models={name: said for name, said in _reported(source).items() if name in candidate.policy.upstreams},
    )
    return candidate.policy.model_copy(update={"certificate": certificate})


def _reported(source: Source) -> dict[str, str]:
    """The name of each upstream's model in the replies, where it was the same in all of them."""
    said: dict[str, set[str]] = {}
    for split in ("fit", "certify"):
        for row in source.examined(split):
            for entry in row.tape:
                if entry.generations is not None and entry.generations.model:
                    said.setdefault(entry.to, set()).add(entry.generations.model)
    return {upstream: next(iter(names)) for upstream, names in sorted(said.items()) if len(names) == 1}
