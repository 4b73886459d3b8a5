"""The decision in headers: of one answer, of several, of none."""

from __future__ import annotations

import pytest

from gate.proxy.decision_headers import headers
from tests.proxy.asking import ENDED, decided, saying
from tests.proxy.fake_gateway import GENERATION, outcome_of


def test_headers_are_plain_ascii_on_one_line() -> None:
    made = headers("polïcy\r\nx: y", "void; ü", saying(GENERATION))
    assert made["x-gate-policy"] == "pol?cy??x: y"
    assert made["x-gate-certificate"] == "void; ?"
    assert made["x-gate-confidence"] == "0.9123"
    assert made["x-gate-action"] == "answer"
    assert made["x-gate-reason"] == "confident"
    assert made["x-gate-decision-id"] == "feed"


@pytest.mark.parametrize("how", ENDED)
def test_whatever_is_not_answered_says_why(how: str) -> None:
    outcome, _, told = ENDED[how]
    marks = headers("p", "none", decided(outcome))
    assert (marks["x-gate-action"], marks["x-gate-reason"]) == (told["action"], told["reason"])
    assert marks.get("x-gate-hedged") == ("true" if outcome.hedged else None)
    assert marks.get("x-gate-reference") == (outcome.reference or None)


def test_several_answers_are_told_in_order() -> None:
    handed_over = ENDED["handed over"][0]
    marks = headers("p", "none", decided(outcome_of(GENERATION), handed_over))
    assert marks["x-gate-action"] == "answer, abstain"
    assert marks["x-gate-decision-id"] == "feed, feed1"
    assert marks["x-gate-reference"] == "none, case-7"


def test_what_failed_has_its_id_and_no_action() -> None:
    ((_, record),) = saying(GENERATION)
    assert headers("p", "none", [(None, record)]).keys() == {
        "x-gate-policy", "x-gate-certificate", "x-gate-decision-id",
    }  # fmt: skip
    assert headers("p", "none").keys() == {"x-gate-policy", "x-gate-certificate"}
