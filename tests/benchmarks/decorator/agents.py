"""Measure the tool gate in a simulated world of tools: what it stops, what it promises, and what whole runs risk.

    from tests.benchmarks.decorator import agents
    found = agents.measured(seed=0)
    print(agents.page(found))

`tool_world` says what is simulated. For each seed the gate is fitted on one part of the tasks, certified on a second
and judged on a third. Three tables:

- ``stopped``: the share of wrong calls that are held back when so large a share of right calls is held back with them,
  by what the calls are ranked by. Calls that do not fit their schema are held back by every way, so that none is
  credited with what a schema finds. Ties are broken evenly. Intervals are of a bootstrap over the tasks of all seeds,
  95 %.
- ``promises``: for each class of tools what is promised of approved calls, and what came of it.
- ``runs``: the share of runs with a wrong approved call among its steps, by how their risk is reckoned.
"""

from __future__ import annotations

import math
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from gate.agents import (
    AgentRun,
    ConformalSteps,
    LabelledCall,
    Ledger,
    RecordedStep,
    RunHistory,
    ToolGate,
    ToolVerdict,
    UnionBound,
    fit_tool_gate,
)
from gate.agents.ledgers import chance_of_error
from gate.signals.tool_call import mean_argument_agreement
from tests.benchmarks.decorator.tool_world import Attempt, attempt, policy, tasks

FIT, CERTIFY, TEST = 1500, 4000, 1500
RUNS_RECORDED, RUNS_TESTED, STEPS = 250, 300, 10
SEEDS = 6
DELAYED = (0.05, 0.10, 0.20)
MAX_RISK = 0.10
BY_CHANCE = 0.05
RESAMPLES = 300
JOINT, MEAN = "log-probability of the call, whole", "log-probability of the call, mean token"
LEAST, AGREED = "agreement, least argument", "agreement, mean of arguments"
GATE = "tool gate"
CONFORMAL = "conformal over steps"
WAYS = (MEAN, JOINT, AGREED, LEAST, GATE)
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sizes:
    """How many tasks and runs; smaller ones try it out."""

    fit: int = FIT
    certify: int = CERTIFY
    test: int = TEST
    recorded: int = RUNS_RECORDED
    tested: int = RUNS_TESTED
    steps: int = STEPS
    seeds: int = SEEDS
    resamples: int = RESAMPLES


@dataclass(frozen=True)
class Tested:
    """The test part of one seed."""

    attempts: tuple[Attempt, ...]
    verdicts: tuple[ToolVerdict, ...]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        return np.array([each.right for each in self.attempts])

    def scores(self, way: str) -> Array:
        """Higher = held back later."""
        score = _SCORES[way]
        pairs = zip(self.attempts, self.verdicts, strict=True)
        return np.array([-math.inf if verdict.problems else score(each, verdict) for each, verdict in pairs])


def _least(each: Attempt, verdict: ToolVerdict) -> float:
    said = [argument.agreement for argument in verdict.arguments if argument.critical]
    return min((share for share in said if share is not None), default=1.0)


def _tokens(each: Attempt) -> list[float]:
    return [token.logprob for token in each.draft.tokens or ()]


_SCORES: dict[str, Callable[[Attempt, ToolVerdict], float]] = {
    MEAN: lambda each, verdict: math.fsum(_tokens(each)) / len(_tokens(each)),
    JOINT: lambda each, verdict: math.fsum(_tokens(each)),
    AGREED: lambda each, verdict: mean_argument_agreement(each.draft, each.samples),
    LEAST: _least,
    GATE: lambda each, verdict: -1.0 if verdict.p is None else verdict.p,
}


def measured(seed: int = 0, sizes: Sizes | None = None) -> dict[str, Any]:
    """All three tables as rows of plain numbers, ready for JSON; and the settings they were made with."""
    size, tested, promises, runs = sizes or Sizes(), [], [], []
    for number in range(seed, seed + size.seeds):
        gate = fitted(number, size)
        attempts = tuple(map(attempt, tasks(size.test, 1000 * number + 3)))
        tested.append(Tested(attempts, tuple(judged(gate, each) for each in attempts)))
        promises.append((gate, tested[-1]))
        runs.append(_runs(gate, number, size))
    calls = sum(len(each.attempts) for each in tested)
    return {
        "simulated": True,
        "seeds": size.seeds,
        "calls": calls,
        "wrong": sum(int((~each.right).sum()) for each in tested) / calls,
        "max_risk": MAX_RISK,
        "steps_a_run": size.steps,
        "stopped": stopped(tested, size.resamples),
        "promises": kept(promises),
        "runs": _together(runs, size.seeds * size.recorded),
    }


def fitted(seed: int, size: Sizes) -> ToolGate:
    attempts = [*map(attempt, tasks(size.fit + size.certify, 1000 * seed + 1))]
    calls = [LabelledCall(each.draft, each.right, each.samples, question=each.task.name) for each in attempts]
    settings = policy()
    return ToolGate(settings, fit_tool_gate(calls[: size.fit], settings, certify=calls[size.fit :], date="2031-01-01"))


def judged(gate: ToolGate, each: Attempt) -> ToolVerdict:
    return gate.check(each.draft, samples=each.samples)[0]


# --- what is stopped ---------------------------------------------------------------------------------------------


def stopped(tested: Sequence[Tested], resamples: int) -> list[dict[str, Any]]:
    """One row a way and share: the mean over seeds, each seed with a threshold of its own."""
    draw, rows = np.random.default_rng(0), []
    picks = [
        [np.arange(len(one.right)), *(draw.integers(0, len(one.right), len(one.right)) for _ in range(resamples))]
        for one in tested
    ]
    held = {way: np.zeros((1 + resamples, len(DELAYED))) for way in WAYS}
    for one, drawn in zip(tested, picks, strict=True):
        right = one.right
        for way in WAYS:
            scores = one.scores(way)
            for place, rows_of in enumerate(drawn):
                held[way][place] += stopped_at(scores[rows_of], right[rows_of], DELAYED)
    for way in WAYS:
        for place, share in enumerate(DELAYED):
            shares, lead = held[way][:, place] / len(tested), (held[GATE] - held[way])[:, place] / len(tested)
            rows.append(
                {
                    "way": way,
                    "right_delayed": share,
                    "wrong_stopped": _interval(shares),
                    "gate_lead": None if way == GATE else _interval(lead),
                }
            )
    return rows


def stopped_at(scores: Array, right: npt.NDArray[np.bool_], delayed: Sequence[float]) -> Array:
    """Share of the wrong calls below the threshold at which such shares of the right ones are; ties in part."""
    values, place = np.unique(scores, return_inverse=True)
    held_right = np.r_[0.0, np.cumsum(np.bincount(place[right], minlength=len(values)))] / max(1, right.sum())
    held_wrong = np.r_[0.0, np.cumsum(np.bincount(place[~right], minlength=len(values)))] / max(1, (~right).sum())
    # where no right call is held back by one more value, the wrong ones of that value come for nothing
    last = np.r_[np.flatnonzero(np.diff(held_right)), len(held_right) - 1]
    return np.asarray(np.interp(delayed, held_right[last], held_wrong[last]))


def _interval(drawn: Array) -> dict[str, float]:
    low, high = np.quantile(drawn[1:], [0.025, 0.975]) if len(drawn) > 1 else (drawn[0], drawn[0])
    return {"value": float(drawn[0]), "low": float(low), "high": float(high)}


# --- what is promised --------------------------------------------------------------------------------------------


def kept(judged_by: Sequence[tuple[ToolGate, Tested]]) -> list[dict[str, Any]]:
    """One row a seed and promise. A true share above the promise in one of twenty rows is what ``confidence``
    allows. ``by_chance``: the probability of as many wrong ones or more, were the true share just what is promised."""
    rows = []
    for number, (gate, tested) in enumerate(judged_by):
        for promise in gate.learned.promises if gate.learned else ():
            its = [
                (each.right, verdict.approved)
                for each, verdict in zip(tested.attempts, tested.verdicts, strict=True)
                if verdict.call.name in promise.tools
            ]
            approved = [right for right, through in its if through]
            wrong = sum(not right for right in approved)
            rows.append(
                {
                    "seed": number,
                    "segment": promise.segment,
                    "max_error": promise.alpha,
                    "bound": promise.certificate.bound if promise.certificate else promise.best_bound,
                    "certified": promise.certificate is not None,
                    "calls": len(its),
                    "approved": len(approved) / max(1, len(its)),
                    "right_approved": sum(approved) / max(1, sum(right for right, _ in its)),
                    "wrong_without": sum(not right for right, _ in its) / max(1, len(its)),
                    "wrong_approved": wrong / len(approved) if approved else None,
                    "by_chance": float(binom.sf(wrong - 1, len(approved), promise.alpha)) if approved else None,
                }
            )
    return rows


# --- what runs risk ----------------------------------------------------------------------------------------------

Run = list[tuple[ToolVerdict, bool]]


def _runs(gate: ToolGate, seed: int, size: Sizes) -> dict[str, dict[str, Array]]:
    """For each way to reckon: of each run whether a wrong call was approved, and the share of its right calls that
    were."""
    recorded = [_run(gate, 1000 * seed + 4, number, size.steps) for number in range(size.recorded)]
    history = RunHistory.of(
        [[RecordedStep(chance_of_error(v), not right, v.cost) for v, right in run if v.approved] for run in recorded],
        gate.fingerprint,
    )
    fresh = [_run(gate, 1000 * seed + 5, number, size.steps) for number in range(size.tested)]
    ledgers: dict[str, Ledger | None] = {
        "every call made": None,
        "tool gate, no budget": _NoBudget(),
        "tool gate, union bound": UnionBound(),
        f"tool gate, {CONFORMAL}": ConformalSteps(history),
    }
    return {
        name: dict(zip(("harmed", "done"), np.array([_ran(gate, ledger, run) for run in fresh]).T, strict=True))
        for name, ledger in ledgers.items()
    }


@dataclass(frozen=True)
class _NoBudget(UnionBound):
    """Every step costs nothing."""

    name = "none"

    def risk(self, verdict: ToolVerdict, confidence: float | None) -> float:
        return 0.0


def _run(gate: ToolGate, seed: int, number: int, steps: int) -> Run:
    return [(judged(gate, each), each.right) for each in map(attempt, tasks(steps, seed, run=number))]


def _ran(gate: ToolGate, ledger: Ledger | None, run: Run) -> tuple[float, float]:
    right = sum(each for _, each in run)
    if ledger is None:
        return float(right < len(run)), 1.0
    one = AgentRun(gate, MAX_RISK, ledger=ledger)
    approved = [each for verdict, each in run if one.admit(verdict).verdict.approved]
    return float(not all(approved)), sum(approved) / max(1, right)


def _together(runs: Sequence[dict[str, dict[str, Array]]], recorded: int) -> list[dict[str, Any]]:
    """``error`` is 1.96 standard errors of the share; where recorded runs chose the limit, theirs are in it."""
    rows = []
    for name in runs[0]:
        harmed = np.concatenate([each[name]["harmed"] for each in runs])
        share, n = float(harmed.mean()), len(harmed)
        rows.append(
            {
                "way": name,
                "runs": n,
                "wrong_approved": share,
                "error": 1.96 * math.sqrt(share * (1 - share) * (1 / n + (1 / recorded if CONFORMAL in name else 0))),
                "right_approved": float(np.concatenate([each[name]["done"] for each in runs]).mean()),
            }
        )
    return rows


# --- in words ----------------------------------------------------------------------------------------------------


def page(found: dict[str, Any]) -> str:
    """The three tables in Markdown."""
    about = (
        f"Simulated: {found['calls']} calls of {found['seeds']} seeds, {found['wrong']:.1%} of them wrong; runs of "
        f"{found['steps_a_run']} steps. No real model is in it.\n"
    )
    return "\n".join([about, *_stopped_page(found["stopped"]), *_kept_page(found["promises"]), *_runs_page(found)])


def _stopped_page(rows: list[dict[str, Any]]) -> list[str]:
    heads = [f"wrong stopped at {share:.0%} of right delayed" for share in DELAYED]
    lines = [f"| ranked by | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for way in WAYS:
        shares = [row["wrong_stopped"] for row in rows if row["way"] == way]
        lines.append(f"| {way} | {' | '.join(map(_told, shares))} |")
    leads = [row["gate_lead"] for row in rows if row["way"] in (MEAN, JOINT)]
    least = [row["gate_lead"] for row in rows if row["way"] == LEAST]
    met = "met" if all(lead["low"] > 0 for lead in leads) else "MISSED"
    aim = f"Aim: above the log-probability of one pass, at every share: {met}. "
    return [*lines, "", f"{aim}Lead over the least agreed argument: {', '.join(map(_told, least))}.", ""]


def _told(share: dict[str, float]) -> str:
    return f"{share['value']:.3f} ({share['low']:.3f} to {share['high']:.3f})"


def _kept_page(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| seed | calls | promised | bound | wrong if all are made | wrong of approved | right approved |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        wrong = "none approved" if row["wrong_approved"] is None else f"{row['wrong_approved']:.1%}"
        bound = "none tested" if row["bound"] is None else f"{row['bound']:.2%}"
        lines.append(
            f"| {row['seed']} | {row['segment']} | {row['max_error']:.0%} | {bound}"
            f"{'' if row['certified'] else ': not certified'} | {row['wrong_without']:.1%} | {wrong} "
            f"| {row['right_approved']:.0%} |"
        )
    return [*lines, "", _kept_aim(rows), ""]


def _kept_aim(rows: list[dict[str, Any]]) -> str:
    """Met where each class is at or under its promise on average over seeds, and no row above by more than chance."""
    certified = [row for row in rows if row["certified"] and row["wrong_approved"] is not None]
    segments = {(row["segment"], row["max_error"]): list[float]() for row in certified}
    for row in certified:
        segments[row["segment"], row["max_error"]].append(row["wrong_approved"])
    means = {segment: sum(shares) / len(shares) for segment, shares in segments.items()}
    above = [row for row in certified if row["wrong_approved"] > row["max_error"]]
    beyond = [row for row in above if row["by_chance"] < BY_CHANCE / len(certified)]
    met = bool(means) and not beyond and all(mean <= promised for (_, promised), mean in means.items())
    told = ", ".join(f"{name} {mean:.1%} of {promised:.0%}" for (name, promised), mean in means.items())
    return (
        f"Aim: what is certified holds: {'met' if met else 'MISSED'}. Wrong of approved on average: {told or 'none'}. "
        f"{len(above)} of {len(certified)} certified rows lie above their promise, {len(beyond)} by more than chance "
        f"(exact binomial, {BY_CHANCE:.0%} over all rows)."
    )


def _runs_page(found: dict[str, Any]) -> list[str]:
    lines = ["| | runs with a wrong approved call | right calls approved |", "|---|---|---|"]
    lines += [
        f"| {row['way']} | {row['wrong_approved']:.1%} ± {row['error']:.1%} | {row['right_approved']:.0%} |"
        for row in found["runs"]
    ]
    kept = all(row["wrong_approved"] <= MAX_RISK for row in found["runs"][2:])
    return [*lines, "", f"Aim: at most {MAX_RISK:.0%} with a budget: {'met' if kept else 'MISSED'}.", ""]
