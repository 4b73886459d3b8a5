"""The sections that say why: signals, mistakes, certificate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.policy import Promise
from gate.tuning.report import Report, grounds
from tests.tuning.judged import NAN, evaluate, rows
from tests.tuning.report.reports import CERTIFICATE, NOISE, of_nothing, realistic
from tests.tuning.report.test_sections import of, text


@pytest.fixture(scope="module")
def report() -> Report:
    return realistic()


def test_signals_are_listed_best_first_with_their_weights(report: Report) -> None:
    shown = text(grounds.signals(report))
    quality = sorted(report.evaluation.signals, key=lambda s: -(s.auroc or 0))
    places = [shown.index(s.signal) for s in quality]
    assert places == sorted(places)
    assert set(NOISE) == {s.signal for s in quality}
    assert "fitted on 900 labelled answers" in shown
    assert "fitted on 400 labelled answers" in shown
    assert "".join(grounds.signals(report)).count("<details open") == 1


def test_a_signal_that_is_not_there_has_no_ranking() -> None:
    made = of(rows([0.9, 0.8], [1.0, 0.0], [True, True], signals=("absent",), values=[[NAN], [NAN]]))
    shown = text(grounds.signals(made))
    assert "no ranking" in shown
    assert "nan" not in shown


def test_confident_mistakes_are_counted_and_who_would_catch_them_is_said(report: Report) -> None:
    shown = text(grounds.confident_wrong(report))
    for part in report.evaluation.confident_wrong:
        assert f"{part.wrong} wrong drafts had a confidence of {part.above:g} or more" in shown
    assert "accuse 5 % of the right drafts" in shown


def test_no_confident_mistakes_are_good_news() -> None:
    assert "No wrong draft had a confidence of 0.9 or more (2 right ones had)" in text(
        grounds.confident_wrong(of(rows([0.95, 0.95, 0.5], [1.0, 1.0, 0.0], [True] * 3)))
    )
    alone = text(grounds.confident_wrong(of(rows([0.95], [0.0], [True]))))
    assert "1 wrong draft had a confidence of 0.9 or more: 100 % of all wrong drafts" in alone
    assert "No signals were recorded" in alone


def test_the_examples_show_texts_confidence_and_reasons(report: Report) -> None:
    shown = text(grounds.examples(report))
    for word in ("q-0417", "Montenegro", "confidence 0.981", "vote_share +1.41", "token_logprob_sum −0.12"):
        assert word in shown
    assert "not labelledno confidence" in shown


def test_the_certificate_is_shown_with_its_fingerprints(report: Report) -> None:
    shown = text(grounds.certificate(report))
    for word in ("1,141", "1,095", "42", "4.94 %", "2026-11-25", "5a774e102f0d8d03", "upstream:small"):
        assert word in shown
    void = text(grounds.certificate(replace(report, void=("the prompt changed",))))
    assert "Void: the prompt changed" in void
    bare = replace(report, certificate=replace(CERTIFICATE, fingerprints={}, segment="", date=""))
    assert "names no fingerprints" in text(grounds.certificate(bare))


def test_notes_are_those_of_the_evaluation_and_the_report(report: Report) -> None:
    shown = text(grounds.notes(report))
    assert "have no label" in shown
    assert "The test split was used once." in shown
    assert "None." in text(grounds.notes(of(rows([0.9], [1.0], [True]))))


def test_how_to_read_speaks_of_the_confidence_of_the_intervals() -> None:
    made = evaluate(rows([0.9], [1.0], [True]), confidence=0.8)
    given = Report("p", "", Promise(max_error=0.1, confidence=0.8), made)
    assert "With 80 % confidence" in text(grounds.how_to_read(given))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (grounds.signals, "uses no signals, or none were recorded"),
        (grounds.signals, "keeps no weights to show"),
        (grounds.confident_wrong, "There are no labels"),
        (grounds.examples, "No examples were given"),
        (grounds.certificate, "There is no certificate"),
    ],
)
def test_what_is_missing_is_said(section: object, words: str) -> None:
    assert callable(section)
    drawn = "".join(section(of_nothing()))
    assert words in drawn
    assert "<table" not in drawn
