"""The benchmark of agents at a small size: its rows are complete, and worked shares are as counted by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.decorator import agents
from tests.benchmarks.decorator.agents import DELAYED, GATE, WAYS, Sizes, measured, page, stopped_at


def test_worked_shares() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    right = np.array([False, True, False, True, True, True])
    assert stopped_at(scores, right, [0.0, 0.25, 0.5]) == pytest.approx([0.5, 1.0, 1.0])
    assert stopped_at(scores, right, [0.125]) == pytest.approx([0.75]), "half way between"
    tied = np.zeros(6)
    assert stopped_at(tied, right, [0.1, 0.2]) == pytest.approx([0.1, 0.2]), "what says nothing stops as much as chance"


def test_all_tables_come_out_as_plain_rows(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(5, Sizes(fit=400, certify=500, test=300, recorded=30, tested=30, steps=5, seeds=1, resamples=20))
    assert capsys.readouterr().out == ""
    assert json.loads(json.dumps(found)) == found
    said = page(found)
    assert said.startswith("Simulated: 300 calls of 1 seeds")
    assert all(f"| {way} |" in said for way in WAYS)
    assert said.count("Aim: ") == 3
    assert found["simulated"] is True
    assert [(row["way"], row["right_delayed"]) for row in found["stopped"]] == [(w, d) for w in WAYS for d in DELAYED]
    for row in found["stopped"]:
        share = row["wrong_stopped"]
        assert 0 <= share["low"] <= share["high"] <= 1
        assert (row["gate_lead"] is None) == (row["way"] == GATE)
    assert {row["segment"] for row in found["promises"]} == {"reversible", "irreversible"}
    assert all(row["bound"] <= row["max_error"] for row in found["promises"] if row["certified"])
    every, gate, *budgets = found["runs"]
    assert every["right_approved"] == 1.0
    assert every["wrong_approved"] >= gate["wrong_approved"] >= max(row["wrong_approved"] for row in budgets)
    assert all(row["runs"] == 30 for row in found["runs"])


def test_without_a_budget_no_run_is_stopped() -> None:
    ledger = agents._NoBudget()
    assert ledger.admits(0.0, ledger.limit(0.1, None, ""))


def _row(wrong: float, *, by_chance: float = 0.4, certified: bool = True) -> dict[str, Any]:
    row = {"seed": 0, "segment": "reversible", "max_error": 0.05, "bound": 0.04, "certified": certified, "calls": 100}
    return row | {"wrong_without": 0.1, "right_approved": 0.9, "wrong_approved": wrong, "by_chance": by_chance}


def test_the_aim_of_the_promises_is_reckoned_from_its_rows() -> None:
    assert "holds: met." in agents._kept_aim([_row(0.06), _row(0.03)])
    assert "1 of 2 certified rows lie above their promise, 0 by more than chance" in agents._kept_aim(
        [_row(0.06), _row(0.03)]
    )
    assert "holds: MISSED." in agents._kept_aim([_row(0.06), _row(0.05)]), "on average above"
    assert "holds: MISSED." in agents._kept_aim([_row(0.09, by_chance=1e-4), _row(0.0)]), "by more than chance"
    assert "holds: met." in agents._kept_aim([_row(0.05), _row(0.9, certified=False)]), "of it nothing is promised"
    assert "holds: MISSED." in agents._kept_aim([]), "nothing was certified"


def test_a_budget_is_met_at_or_under_the_limit_and_not_within_an_error_of_it() -> None:
    def said(share: float) -> str:
        row = {"way": "w", "error": 0.02, "right_approved": 0.5}
        return "".join(agents._runs_page({"runs": [row | {"wrong_approved": s} for s in (0.5, 0.2, 0.05, share)]}))

    assert "budget: met." in said(0.10)
    assert "budget: MISSED." in said(0.101)
