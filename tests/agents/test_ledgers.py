"""How the risk of a run is reckoned: worked sums and limits, and what both ledgers keep to over many simulated runs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gate.agents import AgentRun, ConformalSteps, RecordedStep, RunHistory, UnionBound
from gate.agents.ledgers import chance_of_error
from gate.errors import ConfigError, StaleCalibrator
from gate.types import Certificate
from tests.agents.made import approved, gate

GATE = gate()
G = GATE.fingerprint


def history(*firsts: float | None) -> RunHistory:
    """Runs by the summed risk at their first wrong step."""
    runs = [[] if at is None else [RecordedStep(at, True)] for at in firsts]
    return RunHistory.of(runs, G, date="2031-01-01")


def test_the_union_bound_spends_what_a_step_may_be_wrong_with() -> None:
    assert UnionBound().risk(approved(0.97), None) == pytest.approx(0.03)
    assert UnionBound().risk(approved(0.97, cost=0.5), None) == pytest.approx(0.015)
    certificate = Certificate(0.05, 0.05, 100, 90, 0, 0.033, "reversible", "", {})
    by_bound = UnionBound(by="bound")
    assert by_bound.risk(replace(approved(0.999), certificate=certificate), None) == 0.033
    assert by_bound.risk(approved(0.999), None) == 1.0, "nothing is shown of it"
    assert UnionBound().risk(replace(approved(), p=None), None) == 1.0


def test_with_a_confidence_the_lower_limit_of_p_is_spent() -> None:
    verdict = replace(approved(0.9), low=0.8)
    at_half, at_95, at_975 = (chance_of_error(verdict, confidence) for confidence in (0.5000001, 0.95, 0.975))
    assert at_half == pytest.approx(0.1, abs=1e-6)
    assert 0.1 < at_95 < at_975
    assert at_975 == pytest.approx(0.2, abs=1e-4), "the interval is of 95 % on both sides"
    assert chance_of_error(approved(1.0), 0.95) == 0.0


def test_worked_limits() -> None:
    nine = history(0.1, 0.2, 0.3, *[None] * 6)
    # losses of runs stopped short of .1, .2, .3 and never: 0, 1, 2, 3 of 9, so 1/10, 2/10 … after adjustment
    assert [nine.limit(alpha) for alpha in (0.09, 0.1, 0.2, 0.3, 0.4)] == [None, 0.1, 0.2, 0.3, math.inf]
    assert nine.losses() == [(0.1, 0.0), (0.2, 1.0), (0.3, 2.0), (math.inf, 3.0)]
    assert history().limit(0.5) is None


def test_worked_limits_with_a_confidence() -> None:
    runs = history(0.1, 0.2, *[None] * 57)
    assert runs.limit(0.05, 0.95) == 0.1, "59 runs without an error certify .05"
    assert history(0.1, *[None] * 57).limit(0.05, 0.95) is None
    assert history(*[None] * 59).limit(0.05, 0.95) == math.inf


def test_harm_counts_as_much_as_the_worst_of_it() -> None:
    run = [RecordedStep(0.1, True, 0.25), RecordedStep(0.1, True, 0.2), RecordedStep(0.1, True, 1.0)]
    held = RunHistory.of([run, [], []], G)
    assert held.runs[0] == ((0.1, 0.25), (pytest.approx(0.3), 1.0))
    assert held.losses() == [(0.1, 0.0), (pytest.approx(0.3), 0.25), (math.inf, 1.0)]
    assert held.limit(0.25 + 0.25 / 4) == pytest.approx(0.3)
    assert held.limit(0.25 + 0.24 / 4) == 0.1
    assert RunHistory.of([run] * 600, G).limit(0.3, 0.95) == pytest.approx(0.3), "losses between 0 and 1: by Hoeffding"


def test_a_history_is_written_and_read(tmp_path: Path) -> None:
    held, path = history(0.1, None, 0.3), tmp_path / "runs.json"
    held.save(path)
    assert RunHistory.load(path) == held
    path.write_text('{"gate": "x", "runs": [[[-1, 1]]]}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no recorded runs: runs\.0\.0\.0"):
        RunHistory.load(path)
    with pytest.raises(ConfigError, match="cannot read"):
        RunHistory.load(tmp_path / "none.json")
    with pytest.raises(ValueError, match="a cost in"):
        RunHistory.of([[RecordedStep(math.nan, True)]], G)


def test_what_cannot_be_promised_is_said_before_the_run() -> None:
    ledger = ConformalSteps(history(*[None] * 8))
    with pytest.raises(ConfigError, match=r"8 recorded runs cannot promise a risk of 0\.1: it takes 9 or more"):
        AgentRun(GATE, 0.1, ledger=ledger)
    with pytest.raises(ConfigError, match="it takes 29 or more"):
        AgentRun(GATE, 0.1, confidence=0.95, ledger=ledger)
    with pytest.raises(StaleCalibrator, match="another tool gate"):
        AgentRun(GATE, 0.5, ledger=ConformalSteps(ledger.history.model_copy(update={"gate": "other"})))


# --- over many runs ----------------------------------------------------------------------------------------------

Runs = list[list[tuple[float, bool]]]


def runs(n: int, rng: np.random.Generator, *, too_sure: float = 1.0, steps: int = 12) -> Runs:
    """(p, wrong) of each approved step; steps of one run are alike, and wrong ``too_sure`` times as often as p says."""
    made = []
    for _ in range(n):
        doubt = rng.beta(1, 20) * rng.uniform(0, 2, steps)
        p = 1 - np.minimum(doubt, 0.5)
        made.append([(float(a), bool(rng.random() < too_sure * (1 - a))) for a in p])
    return made


def harmed(made: Runs, max_risk: float, ledger: UnionBound | ConformalSteps) -> float:
    """The share of runs in which a wrong step was approved."""
    found = 0
    for steps in made:
        run = AgentRun(GATE, max_risk, ledger=ledger)
        approvals = [run.admit(approved(p)).verdict.approved for p, _ in steps]
        found += any(through and wrong for through, (_, wrong) in zip(approvals, steps, strict=True))
    return found / len(made)


def error(share: float, n: int) -> float:
    return 3 * math.sqrt(share * (1 - share) / n)


def test_the_union_bound_keeps_its_promise_where_p_is_right_and_not_where_it_is_not() -> None:
    rng, n, risk = np.random.default_rng(0), 700, 0.15
    made = runs(n, rng)
    without = np.mean([any(wrong for _, wrong in steps) for steps in made])
    kept = harmed(made, risk, UnionBound())
    assert without > risk + error(risk, n)
    assert kept <= risk + error(risk, n)
    assert harmed(runs(n, rng, too_sure=4.0), risk, UnionBound()) > risk + error(risk, n)


def test_conformal_steps_keep_their_promise_however_far_off_p_is() -> None:
    """On average over recordings: each world has recorded runs of its own."""
    rng, worlds, n, risk, shares = np.random.default_rng(1), 50, 60, 0.15, []
    for _ in range(worlds):
        recorded = runs(n, rng, too_sure=4.0)
        held = RunHistory.of([[RecordedStep(1 - p, wrong) for p, wrong in steps] for steps in recorded], G)
        shares.append(harmed(runs(30, rng, too_sure=4.0), risk, ConformalSteps(held)))
    assert np.mean(shares) <= risk + 3 * np.std(shares) / math.sqrt(worlds)
    assert np.mean(shares) > risk / 2, "and gives away no more than it must"


def test_with_a_confidence_few_recordings_give_a_limit_that_is_too_bold() -> None:
    rng, worlds, risk, confidence = np.random.default_rng(2), 100, 0.2, 0.9
    many = [[RecordedStep(1 - p, wrong) for p, wrong in steps] for steps in runs(4000, rng, too_sure=3.0)]
    truth = RunHistory.of(many, G)
    firsts = np.array([run[0][0] if run else math.inf for run in truth.runs])
    broken = 0
    for _ in range(worlds):
        drawn = RunHistory(gate=G, runs=tuple(truth.runs[n] for n in rng.integers(0, 4000, 100)))
        limit = drawn.limit(risk, confidence)
        broken += limit is not None and float((firsts < limit).mean()) > risk
    assert broken / worlds <= 1 - confidence + error(0.1, worlds)
