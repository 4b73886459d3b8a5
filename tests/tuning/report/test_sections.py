"""The sections that show numbers: what is there, and what is said where nothing is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from gate.policy import Promise
from gate.tuning.judgements import Judgements
from gate.tuning.report import FrontierPoint, Report, sections
from tests.tuning.judged import NAN, evaluate, rows
from tests.tuning.report.reports import of_nothing, realistic
from tests.tuning.report.test_markup import Read


def text(parts: Iterable[str]) -> str:
    return Read("".join(parts)).text.replace("\u00a0", " ")


@pytest.fixture(scope="module")
def report() -> Report:
    return realistic()


def of(judged: Judgements) -> Report:
    return Report("p", "", Promise(max_error=0.05), evaluate(judged))


def test_the_tiles_are_the_numbers_of_the_evaluation(report: Report) -> None:
    found = report.evaluation
    shown = text([sections.tiles(report)])
    assert f"{found.answered:,} of 1,200 answered" in shown
    assert f"{100 * (found.risk.value or 0):.1f} %" in shown
    assert f"{found.right_lost} held back" in shown
    assert "$" in shown


def test_tiles_of_nothing_say_so() -> None:
    shown = text([sections.tiles(of_nothing())])
    assert shown.count("not known") == 5
    assert "no draft is known to be right" in shown
    assert "$" not in shown
    assert "none was answered rightly" in text([sections.tiles(of(rows([0.5], [0.0], [True])))])


def test_calibration_has_a_row_for_each_metric_and_each_bin(report: Report) -> None:
    shown = text(sections.calibration(report))
    for word in ("AUROC", "ECE, 10 bins", "Brier", "AURC", "E-AURC", "0.9 to 1.0"):
        assert word in shown
    assert f"{report.evaluation.auroc.value:.3f}" in shown
    assert sum(b.n for b in report.evaluation.reliability) == 1162
    assert "1,162 labelled drafts" in shown


def test_one_kind_of_draft_has_no_ranking_and_the_page_says_why() -> None:
    shown = text(sections.calibration(of(rows([0.9, 0.8], [1.0, 1.0], [True, True]))))
    assert "not known" in shown
    assert "there is one kind here" in shown


def test_the_trade_off_shows_where_the_policy_stands(report: Report) -> None:
    shown = text(sections.trade_off(report))
    for word in ("promised", "these questions", "certificate", "96.0 %", "3.8 %", "4.94 %", "all answered"):
        assert word in shown
    bare = text(sections.trade_off(replace(report, certificate=None)))
    assert "certified, with its limit" not in bare


def test_a_policy_that_answered_nothing_has_a_curve_but_no_place_on_it() -> None:
    shown = text(sections.trade_off(of(rows([0.9, 0.8], [1.0, 0.0], [False, False]))))
    assert "all answered" in shown
    assert "these questions" not in shown


def test_what_was_tried_is_listed(report: Report) -> None:
    shown = text(sections.cost_and_quality(report))
    assert "4. balanced (chosen)" in shown
    assert "$1.90" in shown
    assert shown.count("not certified") == 2  # one of the policies, and the legend


def test_policies_without_a_price_are_listed_but_not_drawn() -> None:
    priced, free, odd = (FrontierPoint(name, money, 0.5, None) for name, money in (("a", 0.1), ("b", 0.0), ("c", None)))
    base = of(rows([0.9], [1.0], [True]))
    some = "".join(sections.cost_and_quality(replace(base, frontier=(priced, odd))))
    assert "<svg" in some
    assert "in the table alone" in some
    assert "nothing let through" in some
    none = "".join(sections.cost_and_quality(replace(base, frontier=(free, odd))))
    assert "<svg" not in none
    assert "No prices are set" in none


def test_segments_that_say_little_say_that_they_do(report: Report) -> None:
    shown = text(sections.segments(report))
    assert "too few (under 30)" in shown
    assert "There are no labels in segment warranty." in shown
    named = of(rows([0.9] * 60, [1.0] * 60, [True] * 30 + [False] * 30, segments=["a"] * 30 + [""] * 30))
    assert "nothing let through" in text(sections.segments(named))
    assert "(none)" in text(sections.segments(named))


def test_costs_that_are_not_known_are_not_said_to_be_nothing() -> None:
    judged = rows([0.9] * 2, [1.0, 0.0], [True] * 2, money=[NAN] * 2)
    assert "Money is zero or unknown" in text(sections.costs(of(judged)))
    assert "not known" in text(sections.costs(of(judged)))
    assert "no right answers" in text(sections.costs(of(rows([0.9], [0.0], [True]))))
    assert "no right answers" not in text(sections.costs(of_nothing()))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (sections.calibration, "no labelled answers with a confidence"),
        (sections.trade_off, "no curve of risk against coverage"),
        (sections.cost_and_quality, "No other policies were tried"),
        (sections.segments, "not divided into segments"),
    ],
)
def test_what_is_missing_is_said_and_not_drawn(section: object, words: str) -> None:
    assert callable(section)
    drawn = "".join(section(of_nothing()))
    assert words in drawn
    assert "<svg" not in drawn
    assert "<table" not in drawn
