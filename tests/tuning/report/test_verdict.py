"""The verdict: what is said of the promise, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.policy import Promise
from gate.tuning.report import Report
from gate.tuning.report.verdict import verdict
from gate.types import Certificate
from tests.tuning.judged import NAN, evaluate, rows
from tests.tuning.report.reports import CERTIFICATE, HOSTILE


def report(wrong: int, n: int, certificate: Certificate | None = CERTIFICATE, **fields: object) -> Report:
    """Of n answers let through, so many wrong; 5 % promised."""
    judged = rows([0.9] * n, [0.0] * wrong + [1.0] * (n - wrong), [True] * n)
    made = Report("p", "", Promise(max_error=0.05), evaluate(judged), certificate=certificate)
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "status", "headline"),
    [
        (report(2, 100), "kept", "The promise is kept"),
        (report(20, 100), "broken", "The promise is not kept"),
        (report(20, 100, None), "broken", "The promise is not kept"),
        (report(7, 100), "open", "A certificate backs the promise, but these questions cast doubt on it"),
        (report(2, 100, void=("the prompt changed",)), "open", "The certificate does not hold for what runs"),
        (report(20, 100, void=("the prompt changed",)), "broken", "The promise is not kept"),
        (report(2, 100, replace(CERTIFICATE, bound=0.051)), "open", "The certificate does not back the promise"),
        (report(2, 100, replace(CERTIFICATE, delta=0.1)), "open", "The certificate does not back the promise"),
        (report(0, 20, None), "open", "The promise is not shown to be kept"),
        (report(7, 100, None), "open", "The promise is not shown to be kept"),
        (
            report(0, 100, None),
            "open",
            "The promise is kept on these questions, but no certificate backs it",
        ),
    ],
)
def test_what_is_said_first(given: Report, status: str, headline: str) -> None:
    found = verdict(given)
    assert (found.status, found.headline) == (status, headline)


def said(given: Report) -> str:
    return " ".join(verdict(given).grounds).replace("\u00a0", " ")


def test_the_grounds_are_counts_and_limits() -> None:
    text = said(report(2, 100))
    assert "of the answers let through, at most 5 % are wrong, with 95 % confidence" in text
    assert "of 1,095 answers let through in the held-out questions, 42 were wrong. So at most 5 % are wrong" in text
    assert "of 100 labelled answers let through, 2 were wrong (2.0 %; 95 % interval 0.24 % to 7.0 %" in text
    assert "Without gate, 2.0 % of all first drafts would have been wrong" in text


def test_doubt_is_said_with_its_reason() -> None:
    assert "more than chance explains" in said(report(20, 100))
    assert "though chance may explain it" in said(report(7, 100))
    assert "too few answers to show at most 5 %" in said(report(0, 20, None))
    assert "too few" not in said(report(0, 20))
    assert "1 was wrong" in said(report(1, 100))
    assert "none was wrong" in said(report(0, 100))


def test_reasons_are_shown_as_texts() -> None:
    text = said(report(2, 100, void=(HOSTILE,)))
    assert "The certificate is void: <bdi" in text
    assert "<script>" not in text


def test_without_labels_or_answers_nothing_is_claimed() -> None:
    promise = Promise(max_error=0.05)
    unlabelled = Report("p", "", promise, evaluate(rows([0.9], [NAN], [True])))
    assert verdict(unlabelled).headline == "Nothing shows yet whether the promise is kept"
    assert "no labelled answer that was let through" in said(unlabelled)
    silent = Report("p", "", promise, evaluate(rows([0.9] * 3, [1.0] * 3, [False] * 3)))
    assert "In these 3 questions nothing was let through." in said(silent)
    assert verdict(replace(unlabelled, certificate=CERTIFICATE)).status == "kept"


def test_weighted_shares_are_said_to_be_so() -> None:
    weighted = rows([0.9] * 10, [0.0] + [1.0] * 9, [True] * 10, weights=[5.0] + [1.0] * 9)
    text = said(Report("p", "", Promise(max_error=0.05), evaluate(weighted)))
    assert "1 was wrong (35.7 % when weighted" in text
