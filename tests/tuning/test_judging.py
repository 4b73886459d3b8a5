"""Judging a policy over a collection: by the pipeline itself, with what cannot be told set apart."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gate.calibration.logistic import LogisticCalibrator
from gate.drivers import Recording
from gate.errors import ConfigError
from gate.pipeline import Plan, answer
from gate.rules import ThresholdRule
from gate.tuning.collection import Collected, Collection
from gate.tuning.fitting import fit_table
from gate.tuning.judging import chosen_split, judge, questions_of, verdict
from gate.tuning.observing import observed
from gate.tuning.splits import WITH_TESTS, Shares, split_by
from tests.tuning.collected import POLICY, collection_in, gateway_of, label, policy_in, run_here


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with collection_in(tmp_path_factory.mktemp("judging"), 60) as held:
        yield held


@pytest.fixture(scope="module")
def plan(collection: Collection) -> Plan:
    gateway = gateway_of(policy_in(collection.path.parent))
    fitted = fit_table(observed(collection.collected(), gateway.plan), {s.name: s.bounds for s in gateway.plan.signals})
    names = tuple(signal.name for signal in gateway.plan.signals)
    return replace(gateway.plan, calibrator=LogisticCalibrator(signals=names, stages=dict(fitted.stages)))


def test_every_question_ends_as_it_would_live(collection: Collection, plan: Plan) -> None:
    world = gateway_of(policy_in(collection.path.parent)).world
    ended = set()
    for one in judge(plan, collection.collected()):
        live = run_here(answer(plan, one.collected.example.asked), world, Recording())
        assert one.outcome is not None
        assert (one.outcome.action, one.outcome.text) == (live.action, live.text)
        assert one.outcome.cost.calls == live.cost.calls
        assert one.draft is not None
        if live.answered:
            assert one.draft == live.text
        assert one.correct == (one.draft in one.collected.example.references)
        assert one.wrong == (live.answered and not one.correct)
        ended.add((live.action, one.outcome.decision.stage.upstream))
    assert len(ended) > 2


def test_the_verdict_is_a_row_a_question(collection: Collection, plan: Plan) -> None:
    found = verdict(plan, collection.collected())
    rows, judged = found.judgements, list(judge(plan, collection.collected()))
    assert found.gaps == ()
    assert rows.ids.tolist() == [one.collected.example.id for one in judged]
    assert set(rows.segments) == {"even", "odd"}
    assert rows.signals == ("token_logprob_sum", "vote_share", "semantic_concentration")
    assert rows.correct.tolist() == [one.correct for one in judged]
    firsts = [one.collected.answers["small/closed_book"] for one in judged]
    assert rows.first_correct.tolist() == [
        draft in one.collected.example.references for draft, one in zip(firsts, judged, strict=True)
    ]
    assert np.isfinite(rows.p).all()
    assert (rows.weights == 1).all()


def test_what_was_not_collected_is_set_apart_with_its_reason(collection: Collection, plan: Plan) -> None:
    def cut(rows: Iterator[Collected]) -> Iterator[Collected]:
        for place, row in enumerate(rows):
            yield row if place % 2 else replace(row, tape=())

    found = verdict(plan, cut(collection.collected()))
    assert (len(found.judgements), len(found.gaps)) == (30, 30)
    assert all("it holds no reply to a request for answers of 'small'" in why for _, why in found.gaps)
    nothing = verdict(plan, (replace(row, tape=()) for row in collection.collected()))
    assert (len(nothing.judgements), len(nothing.gaps)) == (0, 60)
    untold = [one for one in judge(plan, cut(collection.collected())) if one.gap]
    assert all(one.outcome is None and one.draft is None and one.wrong for one in untold)


def test_an_answer_without_a_label_counts_as_wrong_but_is_not_called_so(tmp_path: Path, plan: Plan) -> None:
    with collection_in(tmp_path, 20, labels=False) as held:
        judged = list(judge(plan, held.collected()))
    out = [one for one in judged if one.outcome and one.outcome.answered]
    assert out
    assert all(one.wrong and one.correct is None for one in out)


def test_outcomes_are_not_held_with_their_text(
    collection: Collection, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.tuning.judging._AT_ONCE", 5)
    rows = list(collection.collected())

    def wordy(n: int) -> Iterator[Collected]:
        for place in range(n):
            yield replace(rows[0], example=replace(rows[0].example, id=f"q{place}"))

    peaks = []
    for n in (100, 500):
        tracemalloc.start()
        assert len(verdict(plan, wordy(n)).judgements) == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 400 * 2_000


# --- questions to judge on ---------------------------------------------------------------------------------------


def test_the_split_is_test_where_there_is_one_else_certify(tmp_path: Path) -> None:
    with collection_in(tmp_path, 40) as held:
        assert chosen_split(held, "") == "test", "before any policy was tuned on it, it is split as it would be"
        parts = {name: {row.example.id for row in questions_of(held, name)} for name in ("fit", "certify", "test")}
        assert all(parts.values())
        for name, ids in parts.items():
            assert ids == {row.example.id for row in held.collected() if WITH_TESTS.of(row.example) == name}
        assert len(list(questions_of(held, "all"))) == 40
        split_by(held, Shares(0.4, 0.6))
        assert chosen_split(held, "") == "certify", "none are kept for tests"
        assert not list(questions_of(held, "test"))
        with pytest.raises(ConfigError, match="no labelled question is in the split 'test': name another with --split"):
            chosen_split(held, "test")
        with pytest.raises(ConfigError, match="unknown split 'tset'; did you mean 'test'"):
            chosen_split(held, "tset")
        assert [chosen_split(held, name) for name in ("fit", "all")] == ["fit", "all"]


def test_questions_without_a_label_are_none_to_judge_on(tmp_path: Path) -> None:
    with collection_in(tmp_path, 10, labels=False) as held:
        with pytest.raises(ConfigError, match="no answer has a label: run 'gate grade'"):
            chosen_split(held, "")
        label(held)
        assert chosen_split(held, "") in ("test", "certify")


def test_memory_is_arbitrated_from_collecting_to_judging_as_it_would_be_live(tmp_path: Path) -> None:
    text = POLICY.replace("[[draft], [samples, meanings]]", "[[draft, question, passages], [closed_book]]")
    text = text.replace("evidence: {samples: {n: 4, seed: 1}}\n", "").replace(
        "k: 1}}", "k: 1, arbitrate: true}, escalate: false}"
    )
    signals = "[token_logprob_sum, closed_book_agreement, closed_book_logprob, closed_book_in_passages, passage_score]"
    text = text.replace("[token_logprob_sum, vote_share, semantic_concentration]", signals)
    file = policy_in(tmp_path, text, towns=120)
    gateway = gateway_of(file)
    with collection_in(tmp_path, 120, file=file) as held:
        table = observed(held.collected(), gateway.plan)
        memory = table.stages["small/with_passages/tier1/memory"]
        beside = table.stages["small/with_passages/tier1"]
        closed = table.stages["small/closed_book/tier1"]
        assert 20 < memory.there.sum() < beside.there.sum()
        np.testing.assert_array_equal(memory.correct[memory.there], closed.correct[memory.there])
        np.testing.assert_array_equal(memory.values[memory.there], beside.values[memory.there])
        fitted = fit_table(table, {signal.name: signal.bounds for signal in gateway.plan.signals})
        names = tuple(signal.name for signal in gateway.plan.signals)
        made = LogisticCalibrator(signals=names, stages=dict(fitted.stages))
        rule = ThresholdRule(answer_at=0.97)
        plan = replace(gateway.plan, calibrator=made, rule=rule)
        ended = Counter[bool]()
        for one in judge(plan, held.collected()):
            live = run_here(answer(plan, one.collected.example.asked), gateway.world, Recording())
            assert one.outcome is not None
            assert (one.outcome.text, one.outcome.decision.stage) == (live.text, live.decision.stage)
            assert one.correct == (one.draft in one.collected.example.references)
            if live.answered:
                assert one.draft == live.text
            ended[live.decision.stage.memory] += 1
        assert min(ended[True], ended[False]) > 2, ended
