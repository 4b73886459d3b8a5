"""Calibrators for a table: who teaches which stage, and what those say who did not see the question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gate.calibration.metrics import expected_calibration_error
from gate.calibration.probabilities import probabilities
from gate.tuning import fitting
from gate.tuning.fit import Integers
from gate.tuning.fitting import ENOUGH, confidences, fit_table
from gate.tuning.table import Array, Column, Table
from gate.types import Stage
from tests.tuning.terrains import confident, table_of, terrain

BOUNDS = {"told": (0.0, 1.0)}
FIRST, THEN = Stage("small").key, Stage("middle").key


def of(n: int, seed: int = 0) -> Table:
    return table_of(terrain(np.random.default_rng(seed), n, ("small", "middle"), passages=False, tiers=1))


def fits(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Integers]]:
    """What every fit from now on is given: for each stage the numbers of its questions."""
    seen: list[Mapping[str, Integers]] = []
    cross_fit_stages = fitting.cross_fit_stages

    def noted(stages: Mapping[str, fitting.Readings], *args: Any, **more: Any) -> dict[str, Any]:
        seen.append({key: readings.questions for key, readings in stages.items()})
        return cross_fit_stages(stages, *args, **more)

    monkeypatch.setattr(fitting, "cross_fit_stages", noted)
    return seen


def test_every_stage_is_fitted_and_calibrated_on_those_it_did_not_see() -> None:
    table = of(800)
    fitted = fit_table(table, BOUNDS)
    assert set(fitted.stages) == set(fitted.unseen) == {FIRST, THEN}
    for key, (p, strange) in fitted.unseen.items():
        column = table.stages[key]
        known = column.there & column.answerable
        assert expected_calibration_error(p[known], column.correct[known] == 1.0, 10) < 0.1
        assert strange.mean() < 0.1
    assert fitted.calibrator(("told",), {"upstream:small": "x"}).fitted_on == {"upstream:small": "x"}


def test_later_stages_learn_from_those_that_no_stage_before_was_sure_of(monkeypatch: pytest.MonkeyPatch) -> None:
    table, seen = of(800), fits(monkeypatch)
    fit_table(table, BOUNDS)
    first, then = seen
    assert len(first[THEN]) == table.stages[THEN].there.sum()  # the first time all, to see who comes where
    assert len(then[FIRST]) == len(first[FIRST])
    stages = fit_table(table, BOUNDS, everyone=True).stages
    p, strange = probabilities(stages[FIRST], table.stages[FIRST].values)
    sure = table.stages[FIRST].answerable & ~strange & (p >= fitting.NOMINAL)
    assert set(then[THEN]) == set(np.flatnonzero(table.stages[THEN].there & ~sure))
    assert 0 < sure.sum() < 800


def test_where_few_come_those_join_that_were_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    surest = np.linspace(0, 1, 1000)
    there = np.arange(1000) % 2 == 0
    chosen = fitting._nearest(there, np.where(surest < 0.05, surest, np.maximum(surest, 0.95)))
    assert chosen.sum() == ENOUGH
    assert not (chosen & ~there).any()
    assert np.flatnonzero(chosen).max() == 2 * ENOUGH - 2
    assert fitting._nearest(there, surest).sum() == (there & (surest < fitting.NOMINAL)).sum()
    assert fitting._nearest(np.zeros(5, np.bool_), np.zeros(5)).sum() == 0


def test_everyone_teaches_every_stage_where_labels_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    table, seen = of(600), fits(monkeypatch)
    fit_table(table, BOUNDS, everyone=True)
    assert len(seen[0][THEN]) == table.stages[THEN].there.sum()
    assert len(seen) == 1


def test_what_was_learned_by_heart_shows_only_to_who_saw_it() -> None:
    """Twenty signals of noise on 150 labels: on what it saw a fit looks better than on what it did not."""
    rng, n, k = np.random.default_rng(1), 150, 20
    column = confident(Stage("small"), rng.random(n), (rng.random(n) < 0.5).astype(np.float64), np.zeros(n)).column
    noise = replace(column, values=rng.normal(size=(n, k)).astype(np.float32))
    names = tuple(f"s{i}" for i in range(k))
    table = replace(of(n), signals=names, stages={FIRST: noise})
    fitted = fit_table(table, dict.fromkeys(names, (-np.inf, np.inf)))

    def log_loss(p: Array) -> float:
        return float(-np.log(np.where(noise.correct == 1.0, p, 1 - p)).mean())

    seen, unseen = confidences(fitted.stages, table)[FIRST][0], fitted.unseen[FIRST][0]
    assert log_loss(seen) < np.log(2) - 0.002 < log_loss(unseen)


def test_a_label_says_nothing_of_its_own_question() -> None:
    """Turned round, it moves p of others; of its own less than if the fit had seen it."""
    table, place = of(200), 17
    before = fit_table(table, BOUNDS, everyone=True)
    turned = {}
    for key, column in table.stages.items():
        correct = column.correct.copy()
        correct[place] = 1 - correct[place]
        turned[key] = replace(column, correct=correct)
    after = fit_table(replace(table, stages=turned), BOUNDS, everyone=True)
    for key in table.stages:
        own = abs(after.unseen[key][0] - before.unseen[key][0])
        seen = abs(confidences(after.stages, table)[key][0] - confidences(before.stages, table)[key][0])
        assert own[place] < 0.5 * seen[place]
        assert own.max() > 1e-4


def test_a_question_stands_for_as_many_as_its_weight_says() -> None:
    """Wrong answers were ten times as likely to be audited: by their weights p is what it is in the traffic."""
    rng, n = np.random.default_rng(2), 3000
    right = (rng.random(n) < 0.8).astype(np.float64)
    chance = np.where(right == 1.0, 0.1, 1.0)
    kept = rng.random(n) < chance
    column = confident(Stage("small"), rng.random(n), right, np.zeros(n)).column.where(kept)
    table = replace(of(int(kept.sum())), stages={FIRST: column})
    plain = fit_table(table, BOUNDS).unseen[FIRST][0].mean()
    weighed = fit_table(replace(table, weights=1 / chance[kept]), BOUNDS).unseen[FIRST][0].mean()
    assert plain < 0.4
    assert weighed == pytest.approx(0.8, abs=0.05)


def test_weights_that_are_all_alike_change_nothing() -> None:
    table = of(400)
    ten = replace(table, weights=np.full(400, 10.0))
    assert np.allclose(fit_table(table, BOUNDS).unseen[FIRST][0], fit_table(ten, BOUNDS).unseen[FIRST][0], atol=1e-6)


def without_labels(column: Column) -> Column:
    return replace(column, correct=np.full_like(column.correct, np.nan))


def test_a_stage_that_nobody_labelled_or_saw_learns_from_the_others() -> None:
    table = of(600)
    for alone in (
        without_labels(table.stages[THEN]),
        replace(table.stages[THEN], there=np.zeros(600, np.bool_), values=np.full((600, 1), np.nan, np.float32)),
    ):
        fitted = fit_table(replace(table, stages={FIRST: table.stages[FIRST], THEN: alone}), BOUNDS)
        assert fitted.stages[THEN].n == 0
        assert np.isfinite(fitted.unseen[THEN][0]).all()


@pytest.mark.parametrize("kind", [0.0, 1.0])
def test_labels_of_one_kind_teach_nothing(kind: float) -> None:
    table = of(300)
    stages = {key: replace(column, correct=np.full(300, kind)) for key, column in table.stages.items()}
    with pytest.raises(ValueError, match="both right and wrong"):
        fit_table(replace(table, stages=stages), BOUNDS)


@pytest.mark.parametrize("n", [0, 9])
def test_few_rows_and_none_teach_nothing(n: int) -> None:
    with pytest.raises(ValueError, match="at least 20 questions"):
        fit_table(of(300).where(np.arange(n)), BOUNDS)


def test_one_rare_kind_of_label_is_no_end_of_it() -> None:
    """With one wrong answer a fold is left with none: its questions are judged by the fit of all."""
    column = confident(Stage("small"), np.linspace(0.1, 0.9, 60), np.ones(60), np.zeros(60)).column
    column.correct[7] = 0.0
    fitted = fit_table(replace(of(60), stages={FIRST: column}), BOUNDS)
    assert np.isfinite(fitted.unseen[FIRST][0]).all()
