"""From a policy and a collection to its page: the numbers, the worst answers, and the record of tuning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.assemble import assemble
from gate.calibration.logistic import LogisticCalibrator
from gate.errors import ConfigError
from gate.gateway import Gateway
from gate.tuning.collection import Collection
from gate.tuning.fitting import fit_table
from gate.tuning.judging import judge
from gate.tuning.observing import observed
from gate.tuning.reporting import reported
from tests.tuning.collected import POLICY, collection_in, gateway_of, policy_in


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with collection_in(tmp_path_factory.mktemp("reporting"), 120) as held:
        yield held


@pytest.fixture(scope="module")
def gateway(collection: Collection) -> Gateway:
    file = policy_in(collection.path.parent, POLICY.replace("answer_at: 0.8", "answer_at: 0.2"))
    plan = gateway_of(file).plan
    fitted = fit_table(observed(collection.collected(), plan), {s.name: s.bounds for s in plan.signals})
    names = tuple(signal.name for signal in plan.signals)
    return assemble(file, LogisticCalibrator(signals=names, stages=dict(fitted.stages)))


def page(gateway: Gateway, collection: Collection, record: Path, worst: int = 3) -> str:
    return reported(gateway, collection.collected(), record=record, worst=worst, data="the data", date="2026-01-02")


def test_the_page_names_the_policy_the_data_and_the_worst_answers(
    gateway: Gateway, collection: Collection, tmp_path: Path
) -> None:
    html = page(gateway, collection, tmp_path / "none.json").replace("<wbr>", "")
    for part in ("made-up", "the data", "2026-01-02", "vote_share", "small/closed_book/tier0"):
        assert part in html
    wrong = [
        (one.outcome.confidence.p, one.collected.example.question.text)
        for one in judge(gateway.plan, collection.collected())
        if one.outcome and one.outcome.confidence and one.outcome.answered and not one.correct
    ]
    ranked = [question for _, question in sorted(wrong, reverse=True)]
    assert len(ranked) > 3
    shown = [question for question in ranked if question in html]
    assert shown == ranked[:3]
    assert html.index(ranked[0]) < html.index(ranked[1]) < html.index(ranked[2])


def test_what_tuning_tested_is_shown_and_a_record_that_is_none_is_refused(
    gateway: Gateway, collection: Collection, tmp_path: Path
) -> None:
    test = {
        "ladder": ["small"], "evidence": "unlikely-evidence", "money_a_question": 0.001, "asked": 50, "answered": 40,
        "wrong": 1, "chosen": True, "passed": True,
    }  # fmt: skip
    record = tmp_path / "made-up.tuning.json"
    record.write_text(json.dumps({"tests": [test]}))
    html = page(gateway, collection, record, worst=0)
    assert "unlikely-evidence" in html
    assert "Which country is" not in html
    record.write_text('{"tests": [{}]}')
    with pytest.raises(ConfigError, match=r"made-up\.tuning\.json: not a record of 'gate tune'"):
        page(gateway, collection, record)


def test_a_policy_without_a_fitted_calibrator_is_told_to_promise_nothing(
    collection: Collection, tmp_path: Path
) -> None:
    bare = gateway_of(policy_in(tmp_path))
    assert "The confidence is not calibrated: no promise rests on it." in page(bare, collection, tmp_path / "none.json")
