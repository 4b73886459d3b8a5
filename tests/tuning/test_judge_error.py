"""Judges counted against people."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gate.tuning.judge_error import JudgeError, judge_error

LABELS = st.dictionaries(st.integers(0, 20), st.sampled_from([True, False, None]))


def test_a_worked_table() -> None:
    human = {1: False, 2: False, 3: False, 4: True, 5: True, 6: None, 7: True}
    judged = {1: True, 2: False, 3: True, 4: True, 5: False, 6: True, 7: None, 8: True}
    assert judge_error(judged, human) == JudgeError(wrong=3, wrong_accepted=2, right=2, right_rejected=1)


@given(judged=LABELS, human=LABELS)
def test_only_what_both_graded_counts(judged: dict[int, bool | None], human: dict[int, bool | None]) -> None:
    counts = judge_error(judged, human)
    both = {key for key in judged.keys() & human.keys() if judged[key] is not None and human[key] is not None}
    assert counts.wrong + counts.right == len(both)
    assert counts.wrong_accepted + counts.right_rejected == sum(judged[key] is not human[key] for key in both)


@given(LABELS)
def test_who_agrees_with_people_errs_never(labels: dict[int, bool | None]) -> None:
    counts = judge_error(labels, labels)
    assert (counts.wrong_accepted, counts.right_rejected) == (0, 0)
