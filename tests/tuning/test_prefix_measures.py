"""What serving by confidence on the growing text shows and saves: counted by hand on five drafts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gate.guarantees.selective_risk import upper_bound
from gate.tuning.bounds import trusted
from gate.tuning.prefix_drafts import Watched
from gate.tuning.prefix_measures import at_shares, exposed
from tests.tuning.growing import drafts

FOUR = [draft for draft in drafts(range(200)) if draft.length == 24][:5]
"""Of four sentences, six tokens each."""


def watching(*rows: tuple[int, bool | None, tuple[float, ...]]) -> list[Watched]:
    """By question: whether its draft is right, and its confidences at four ends and the last."""
    return [
        Watched(replace(draft, question=question, right=right), np.array(p))
        for draft, (question, right, p) in zip(FOUR, rows, strict=False)
    ]


SEEN = watching(
    (0, True, (0.6, 0.9, 0.95, 0.97)),
    (1, True, (0.95, 0.96, 0.97, 0.98)),
    (2, False, (0.92, 0.6, 0.3, 0.2)),
    (3, False, (0.3, 0.05, 0.04, 0.03)),
    (4, None, (0.5, 0.5, 0.5, 0.5)),
)


def test_four_sentences_have_three_ends_and_the_last() -> None:
    assert [len(draft.tokens) for draft in FOUR] == [4] * 5


def test_what_is_sent_saved_and_stopped() -> None:
    found = exposed(SEEN, 0.9, 0.1, trusted)
    assert (found.questions, found.released, found.wrong) == (5, 3, 1)
    assert found.bound == pytest.approx(upper_bound(1, 3, 0.05))
    ends = [draft.places for draft in FOUR]
    sent = ends[0][2] + ends[1][2]
    assert found.sent == pytest.approx(sent / (FOUR[0].characters + FOUR[1].characters))
    assert (found.right, found.right_stopped) == (2, 0)
    assert (found.tokens, found.saved) == (72, 12), "what nobody knows to be right is not"
    assert found.saved_share == pytest.approx(1 / 6)


def test_a_question_counts_once_and_is_wrong_if_any_draft_shown_was() -> None:
    both = [replace(one, draft=replace(one.draft, question=7)) for one in SEEN[1:3]]
    found = exposed(both, 0.9, 0.0, trusted, questions=10)
    assert (found.questions, found.released, found.wrong) == (10, 1, 1)
    assert exposed(both, 0.999, 0.0, trusted).bound is None


def test_after_each_share_of_the_tokens() -> None:
    quarter, half, _, whole = at_shares(SEEN, 0.9, 0.1)
    assert (quarter.n, half.n, whole.n) == (4, 4, 4), "without a label nothing is told"
    assert quarter.auroc == pytest.approx(3 / 4)
    assert (half.auroc, whole.auroc) == (1.0, 1.0)
    assert quarter.auroc_backward == 1.0, "hindsight knows better"
    assert whole.auroc_backward == whole.auroc
    assert whole.ece == whole.ece_backward == pytest.approx((0.03 + 0.02 + 0.2 + 0.03) / 4)
    assert (quarter.released, half.released, whole.released) == (0.5, 0.75, 0.75)
    assert (quarter.stopped, half.stopped, whole.stopped) == (0.0, 0.5, 0.5)


def test_drafts_without_a_confidence_by_then_are_left_out() -> None:
    late = [Watched(SEEN[0].draft, np.array([np.nan, np.nan, 0.9, 0.9])), SEEN[2]]
    quarter, half, three, _ = at_shares(late, 0.95, 0.1)
    assert (quarter.n, half.n, three.n) == (1, 1, 2)
    assert quarter.auroc is None
    assert three.auroc == 1.0
