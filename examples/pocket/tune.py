"""Fit the calibrator of the shipped policies on the pocket world and certify each policy.

    python examples/pocket/tune.py           (needs: pip install '.[tune]'; a few minutes)

The fit split fits one logistic per stage. The certify split, which fitted nothing, is run through each whole policy by
replay; thresholds are tested from the safest to the boldest until the promise fails. What passed is written into the
policy file, with its certificate. The test split is not touched here: tests/benchmarks measures on it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gate.assemble import assemble, fingerprints
from gate.calibration import LogisticCalibrator
from gate.calibration.logistic import StageWeights
from gate.drivers import Recording, ReplayDriver, ThreadedDriver, World
from gate.evidence.meanings import normalize
from gate.guarantees.selective_risk import Candidate, certify, upper_bound
from gate.pipeline import Plan, answer
from gate.pocket.world import Fact, Split, facts_of
from gate.policy import Policy, find, read
from gate.signals import SIGNALS
from gate.tuning.fit import Labelled, Readings, fit
from gate.tuning.full_evidence import Seen, full_evidence
from gate.types import Question, TapeEntry

POLICIES = ("balanced", "strict", "cost-saver")
FOLDER = find("balanced").parent
CALIBRATOR = "pocket.calibrator.json"
GRID = tuple(round(0.99 - 0.01 * step, 2) for step in range(50))
SAFE = 20
"""So many of them are looked at for the place to start from."""
NOMINAL = 0.9
"""Threshold that says which fit questions reach a later stage."""
ENOUGH = 250
"""Fewest questions a stage is fitted on: when fewer reach it, those join that came nearest to reaching it."""


@dataclass(frozen=True, slots=True)
class Collected:
    fact: Fact
    seen: tuple[Seen, ...]
    tape: tuple[TapeEntry, ...]

    def right(self, said: str) -> bool:
        return normalize(said) == normalize(self.fact.answer)


def collect(plan: Plan, world: World, split: Split) -> list[Collected]:
    """Full evidence for every fact of a split."""
    driver = ThreadedDriver(world)

    def one(fact: Fact) -> Collected:
        recording = Recording()
        seen = driver.run(full_evidence(plan, Question.from_text(fact.question)), recording)
        return Collected(fact, seen, tuple(recording.tape))

    made = []
    with ThreadPoolExecutor(2) as pool:
        for collected in pool.map(one, facts_of(split)):
            made.append(collected)
            if len(made) % 200 == 0:
                print(f"  {split}: {len(made)} collected", flush=True)
    driver.close()
    return made


def fitted(rows: list[Collected]) -> LogisticCalibrator:
    """One logistic per stage, each on the questions that the stages before it, in the order of service, leave open.

    A stage that few questions reach sees a population of its own, of hard ones: fitted on all, it would be too sure.
    """
    bounds = {signal.name: signal.bounds for signal in SIGNALS}
    stages: dict[str, StageWeights] = {}
    names = tuple(reading.signal for reading in rows[0].seen[0].vector.readings)
    surest = {id(row): 0.0 for row in rows}  # the highest p so far: at NOMINAL a question was answered
    for stage in [seen.stage for seen in max(rows, key=lambda row: len(row.seen)).seen]:
        there = [(row, seen) for row in rows for seen in row.seen if seen.stage == stage]
        there.sort(key=lambda pair: surest[id(pair[0])])
        reached = sum(surest[id(row)] < NOMINAL for row, _ in there)
        there = there[: max(reached, ENOUGH)]
        readings = Readings.of([Labelled(seen.vector, row.right(seen.draft)) for row, seen in there])
        stages[stage.key] = fit(readings, names, bounds)
        so_far = LogisticCalibrator(signals=names, stages=stages)
        for row, seen in there:
            surest[id(row)] = max(surest[id(row)], so_far.confidence(seen.vector, stage).p)
        left = sum(surest[id(row)] < NOMINAL for row in rows)
        print(f"  {stage.key}: {reached} reached it, fitted on {len(there)}, {left} still open")
    return LogisticCalibrator(signals=names, stages=stages)


def candidates(policy: Policy, plan: Plan, rows: list[Collected], grid: Iterable[float]) -> Iterator[Candidate]:
    """What the whole policy does at each threshold, by replay; each is only worked out when it is asked for."""
    for threshold in grid:
        at = replace(plan, rule=policy.rule.model_copy(update={"answer_at": threshold}))
        outcomes = [
            (row, ReplayDriver(row.tape).run(answer(at, Question.from_text(row.fact.question)), Recording()))
            for row in rows
        ]
        answered = [(row, outcome) for row, outcome in outcomes if outcome.answered]
        yield Candidate(threshold, len(answered), sum(not row.right(outcome.text) for row, outcome in answered))


def choose(policy: Policy, plan: Plan, fit_rows: list[Collected], certify_rows: list[Collected]) -> Candidate | None:
    """Fixed-sequence testing on the certify split, starting where the fit split is surest to keep the promise."""
    alpha, delta = policy.promise.max_error, 1 - policy.promise.confidence
    on_fit = list(candidates(policy, plan, fit_rows, GRID[:SAFE]))
    surest = min(
        range(SAFE),
        key=lambda i: upper_bound(on_fit[i].errors, on_fit[i].answered, delta) if on_fit[i].answered else 1.0,
    )
    return certify(candidates(policy, plan, certify_rows, GRID[surest:]), alpha, delta)


def write(path: Path, threshold: float, certificate: Iterable[str]) -> None:
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^(\s*answer_at:).*$", rf"\g<1> {threshold}", text)
    text = re.sub(r"(?ms)^certificate:.*\Z", "", text).rstrip("\n") + "\n"
    path.write_text(text + "".join(f"{line}\n" for line in certificate), encoding="utf-8")


def main() -> None:
    base = read(FOLDER / "balanced.yaml")
    any_rule = base.policy.rule.model_copy(update={"answer_at": 0.5})
    changes = {"calibrator": "vote_share", "certificate": None, "rule": any_rule}
    bare = replace(base, policy=base.policy.model_copy(update=changes))
    gateway = assemble(bare)
    fit_rows = collect(gateway.plan, gateway.world, "fit")
    certify_rows = collect(gateway.plan, gateway.world, "certify")
    calibrator = fitted(fit_rows)
    running = {k: v for k, v in gateway.running.items() if k not in {"policy", "calibrator"}}
    calibrator = calibrator.model_copy(update={"fitted_on": running})
    (FOLDER / CALIBRATOR).write_text(calibrator.dump(), encoding="utf-8")
    for name in POLICIES:
        file = read(FOLDER / f"{name}.yaml")
        held = assemble(replace(file, policy=file.policy.model_copy(update={"certificate": None})))
        passed = choose(file.policy, held.plan, fit_rows, certify_rows)
        if passed is None:
            print(f"{name}: no threshold keeps the promise", file=sys.stderr)
            sys.exit(1)
        delta = 1 - file.policy.promise.confidence
        write(file.path, passed.threshold, [])
        policy = read(file.path).policy
        running = fingerprints(policy, held.plan, held.world)
        lines = [
            "certificate:",
            f"  alpha: {policy.promise.max_error}",
            f"  delta: {delta:.4g}",
            f"  n: {len(certify_rows)}",
            f"  answered: {passed.answered}",
            f"  errors: {passed.errors}",
            f"  bound: {upper_bound(passed.errors, passed.answered, delta):.6f}",
            "  segment: questions about the pocket world, certify split",
            f"  date: '{datetime.now(UTC):%Y-%m-%d}'",
            "  fingerprints:",
            *(f"    {key}: {value}" for key, value in sorted(running.items())),
        ]
        write(file.path, passed.threshold, lines)
        print(f"{name}: answers at {passed.threshold}; {passed.errors} of {passed.answered} answers were wrong")


if __name__ == "__main__":
    main()
