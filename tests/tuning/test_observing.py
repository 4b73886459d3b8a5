"""Tables from a collection: what a stage saw live is what it sees by replay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gate.calibration import VoteShareCalibrator
from gate.drivers import Recording
from gate.errors import ReplayGap
from gate.full_evidence import full_evidence
from gate.pipeline import answer
from gate.tuning.collection import Collection, Label
from gate.tuning.judging import judge
from gate.tuning.observing import labelled, observed, seen_of, stages_of
from gate.types import Action, Budget
from tests.tuning.collected import POLICY, collection_in, examples, gateway_of, label, policy_in, run_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("collected")
    collection_in(made, 40).close()
    return made


def test_a_table_holds_what_every_stage_saw(folder: Path) -> None:
    plan = gateway_of(policy_in(folder)).plan
    with Collection.open(folder / "collection.db") as collection:
        table = observed(collection.collected(), plan)
        live = [
            run_here(full_evidence(plan, e.asked), gateway_of(policy_in(folder)).world, Recording())
            for e in examples(40)
        ]
    assert table.ids.tolist() == [f"q{i}" for i in range(40)]
    assert set(table.segments) == {"odd", "even"}
    assert list(table.stages) == [stage.key for stage in stages_of(plan)]
    for stage in stages_of(plan):
        column = table.stages[stage.key]
        # towns of which no passage tells were not seen with passages
        assert column.there.tolist() == [not stage.passages or i % 10 != 0 for i in range(40)]
        for place in np.flatnonzero(column.there):
            (seen,) = [each for each in live[place] if each.stage == stage]
            read = [np.nan if r.value is None else r.value for r in seen.vector.readings]
            np.testing.assert_allclose(column.values[place], read, rtol=1e-6)
            assert column.correct[place] == (seen.draft in examples(40)[place].references)
            assert (column.costs["calls"][place], column.costs["tokens"][place]) == (seen.cost.calls, seen.cost.tokens)
            assert column.costs["money"][place] == pytest.approx(seen.cost.money)


def test_fewer_signals_tiers_and_upstreams_are_read_off_the_same_replies(folder: Path) -> None:
    for change in (
        (", semantic_concentration]", "]"),
        ("[[draft], [samples, meanings]]", "[[draft, samples, meanings]]"),
        ("ladder: [small, large]", "ladder: [large]"),
        ("routes: {retrieve: {retriever: towns, k: 1}}", "routes: {escalate: true}"),
        ("n: 4", "n: 3"),
    ):
        plan = gateway_of(policy_in(folder, POLICY.replace(*change))).plan
        with Collection.open(folder / "collection.db") as collection:
            assert len(observed(collection.collected(), plan)) == 40


def test_evidence_that_was_not_collected_is_a_gap(folder: Path) -> None:
    plan = gateway_of(policy_in(folder, POLICY.replace("n: 4", "n: 5"))).plan
    with Collection.open(folder / "collection.db") as collection, pytest.raises(ReplayGap, match="answers of 'small'"):
        observed(collection.collected(), plan)


def test_neither_budget_nor_a_void_certificate_hides_a_stage(folder: Path) -> None:
    plan = gateway_of(policy_in(folder)).plan
    tight = replace(plan, budget=Budget(calls=1, tokens=1), frozen="certificate_void")
    with Collection.open(folder / "collection.db") as collection:
        row = next(collection.collected())
        assert seen_of(tight, row) == seen_of(plan, row) != ()


@pytest.mark.parametrize("answer_at", [0.2, 0.7, 0.95])
def test_the_pipeline_on_replies_does_what_it_does_live(folder: Path, answer_at: float) -> None:
    gateway = gateway_of(policy_in(folder, POLICY.replace("0.8", str(answer_at))))
    plan = replace(gateway.plan, calibrator=VoteShareCalibrator(4))
    with Collection.open(folder / "collection.db") as collection:
        judged = list(judge(plan, collection.collected()))
    assert {each.outcome.action for each in judged if each.outcome} <= {Action.ANSWER, Action.ABSTAIN}
    for example, each in zip(examples(40), judged, strict=True):
        live = run_here(answer(plan, example.asked), gateway.world, Recording())
        assert each.outcome is not None
        assert (each.outcome.action, each.outcome.text) == (live.action, live.text)
        assert (each.outcome.cost.calls, each.outcome.cost.tokens) == (live.cost.calls, live.cost.tokens)
        assert each.correct == (each.draft in example.references)


def test_a_label_of_something_never_drafted_teaches_nothing(tmp_path: Path) -> None:
    with collection_in(tmp_path, 4, labels=False) as collection:
        assert not list(labelled(collection))
        first = next(collection.collected())
        draft = next(iter(first.answers.values()))
        collection.label(
            {("q0", "an answer of last year"): Label(True, "log", human=True), ("q1", "x"): Label(None, "auto")}
        )
        assert not list(labelled(collection))
        collection.label({("q0", draft): Label(None, "auto")})
        # left open: a hard one, which must not be left out where a promise is at stake
        assert [row.example.id for row in labelled(collection)] == ["q0"]
        collection.label({("q0", draft): Label(False, "auto")})
        assert [row.example.id for row in labelled(collection)] == ["q0"]
        label(collection)
        assert len(list(labelled(collection))) == 4


def test_stages_come_in_the_order_of_questions(tmp_path: Path) -> None:
    plan = gateway_of(policy_in(tmp_path)).plan
    assert [stage.key for stage in stages_of(plan)] == [
        f"{name}/{book}/tier{tier}"
        for name in ("small", "large")
        for book in ("closed_book", "with_passages")
        for tier in (0, 1)
    ]


def test_nothing_makes_an_empty_table(tmp_path: Path) -> None:
    table = observed([], gateway_of(policy_in(tmp_path)).plan)
    assert len(table) == 0
    assert all(len(column.there) == 0 for column in table.stages.values())
