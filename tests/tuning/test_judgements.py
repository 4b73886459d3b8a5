"""Judgements: columns that stay together."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from gate.tuning.judgements import JudgedRow, Judgements, judgements_of
from gate.types import Action
from tests.proxy.fake_gateway import GENERATION, outcome_of
from tests.tuning.judged import NAN, rows, simulated


def test_a_mask_or_places_pick_whole_rows() -> None:
    made = simulated(30)
    mask = made.answered
    by_mask, by_place = made.where(mask), made.where(np.flatnonzero(mask)[::-1])
    assert 0 < len(by_mask) == len(by_place) < 30
    assert by_mask.signals == made.signals
    for f in fields(made):
        if f.name != "signals":
            column = getattr(made, f.name)
            np.testing.assert_array_equal(getattr(by_mask, f.name), column[mask])
            np.testing.assert_array_equal(getattr(by_place, f.name), column[mask][::-1])


def test_what_was_answered_and_what_has_a_label() -> None:
    made = rows([0.9, 0.1, 0.5], [1.0, 0.0, NAN], [True, False, True])
    assert made.answered.tolist() == [True, False, True]
    assert made.labelled.tolist() == [True, True, False]
    assert len(made) == 3


def test_parts_join_in_their_order() -> None:
    whole = simulated(30)
    parts = [whole.where(np.arange(30) < 10), whole.where(np.arange(30) >= 10)]
    for f in fields(whole):
        joined = getattr(Judgements.joined(parts), f.name)
        np.testing.assert_array_equal(joined, getattr(whole, f.name))


def test_no_rows_have_columns_all_the_same() -> None:
    none = judgements_of((), ("a", "b"))
    assert (len(none), none.values.shape, none.signals) == (0, (0, 2), ("a", "b"))
    assert len(Judgements.joined([none, none])) == 0


def test_a_question_asked_back_and_an_unsure_answer_were_not_answered() -> None:
    outcome = outcome_of(None)
    ended = [replace(outcome, action=Action.CLARIFY), replace(outcome, hedged=True), outcome_of(GENERATION)]
    made = judgements_of([JudgedRow(str(n), "", each, True, True) for n, each in enumerate(ended)], ())
    assert made.answered.tolist() == [False, False, True]
    assert made.actions.tolist() == ["clarify", "abstain", "answer"]
