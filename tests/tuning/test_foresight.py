"""What is foretold of the ways on: calibrated, learned of every way, and honest about what it never saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gate.calibration.probabilities import probabilities
from gate.tuning.fitting import Fitted, fit_table
from gate.tuning.foresight import Foresight, foresee, ways_on
from gate.tuning.table import Table
from gate.types import Stage
from tests.tuning.small_worlds import LADDER
from tests.tuning.terrains import table_of, terrain

BOUNDS = {"told": (0.0, 1.0)}


def made(n: int) -> Table:
    return table_of(terrain(np.random.default_rng(3), n, LADDER[:2], passages=True, tiers=1))


@pytest.fixture(scope="module")
def fitted() -> tuple[Table, Fitted]:
    table = made(1600)
    return table, fit_table(table, BOUNDS)


@pytest.fixture(scope="module")
def learned(fitted: tuple[Table, Fitted]) -> Foresight:
    return foresee(*fitted, BOUNDS)


def test_the_ways_on_from_each_stage() -> None:
    table = table_of(terrain(np.random.default_rng(0), 30, LADDER, passages=True, tiers=2))
    ways = {key: list(ways_on(table, column)) for key, column in table.stages.items()}
    names = {key: [name for name, _ in some] for key, some in ways.items()}
    assert names["small/closed_book/tier1"] == ["retrieve", "escalate:middle", "escalate:large"]
    assert names["middle/with_passages/tier0"] == ["escalate:large"]
    assert names["large/with_passages/tier1"] == []
    firsts = [first.stage for _, first in ways["small/closed_book/tier0"]]
    assert firsts == [Stage("small", passages=True), Stage("middle"), Stage("large")]


def test_an_answer_from_memory_that_is_arbitrated_is_no_stage_to_go_on_from() -> None:
    table = made(30)
    column = table.stages["small/with_passages/tier0"]
    memory = replace(column, stage=replace(column.stage, memory=True))
    assert list(ways_on(table, memory)) == []
    with_memory = replace(table, stages={**table.stages, memory.stage.key: memory})
    names = [name for name, _ in ways_on(with_memory, table.stages["small/closed_book/tier0"])]
    assert names == ["retrieve", "escalate:middle"]


def test_success_is_foretold_as_often_as_it_comes(fitted: tuple[Table, Fitted], learned: Foresight) -> None:
    """In thirds of those that come to a stage, by models that had not seen them: within three standard errors."""
    table, known = fitted
    for key, ways in learned.unseen.items():
        for name, first in ways_on(table, table.stages[key]):
            come = np.flatnonzero(known.coming[key])
            p, came = ways[name][come], (first.there & first.answerable & (first.correct == 1.0))[come]
            for rows in np.array_split(np.argsort(p), 3):
                error = np.sqrt(p[rows].mean() * (1 - p[rows].mean()) / len(rows))
                assert abs(p[rows].mean() - came[rows].mean()) < 3 * error


def test_what_is_foretold_of_a_question_was_not_learned_from_it(
    fitted: tuple[Table, Fitted], learned: Foresight
) -> None:
    key, name = "small/closed_book/tier0", "escalate:middle"
    come = fitted[1].coming[key]
    seen = probabilities(learned.models[key][name], fitted[0].stages[key].values)[0][come]
    assert not np.allclose(seen, learned.unseen[key][name][come])
    assert np.corrcoef(seen, learned.unseen[key][name][come])[0, 1] > 0.99


@pytest.mark.parametrize(("complete", "factor"), [(True, 0.5), (False, 1.0)])
def test_a_way_that_led_nowhere_brought_nothing_but_in_a_log_it_may_not_have_been_gone(
    fitted: tuple[Table, Fitted], learned: Foresight, complete: bool, factor: float
) -> None:
    table, known = fitted
    key, stage, name = "middle/closed_book/tier0", "small/closed_book/tier0", "escalate:middle"
    column = table.stages[key]
    rarely = replace(column, there=column.there & (np.arange(len(table)) % 2 == 0))
    some = replace(table, complete=complete, stages={**table.stages, key: rarely})
    come = known.coming[stage]
    found = foresee(some, known, BOUNDS).unseen[stage][name][come].mean()
    assert found == pytest.approx(factor * learned.unseen[stage][name][come].mean(), abs=0.08)


def test_too_few_questions_teach_nothing(fitted: tuple[Table, Fitted]) -> None:
    table, known = fitted
    few = {
        key: replace(column, there=column.there & (np.arange(len(table)) < 15))
        for key, column in table.stages.items()
        if column.stage.upstream == "middle"
    }
    lonely = replace(table, complete=False, stages={**table.stages, **few})
    found = foresee(lonely, known, BOUNDS)
    assert {name for ways in found.models.values() for name in ways} == {"retrieve"}
    nothing = {key: replace(column, correct=column.correct * 0) for key, column in table.stages.items()}
    assert foresee(replace(table, stages=nothing), known, BOUNDS) == Foresight()


def test_some_of_the_questions(learned: Foresight) -> None:
    rows, key = np.array([5, 1]), "small/closed_book/tier0"
    some = learned.where(rows)
    assert some.unseen[key]["retrieve"].tolist() == learned.unseen[key]["retrieve"][rows].tolist()
    assert some.models == learned.models
