"""Leave one out: the entropies of dropout decoding by their worked values, and the signals over the answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import LeaveOneOut
from gate.ports import Evidence, Missing
from gate.signals.leave_one_out import LEAVE_ONE_OUT_SIGNALS, dropout_entropies, views, weighted_agreement
from gate.types import Cost, Generation, TokenLogprob

SIGNAL = {signal.name: signal for signal in LEAVE_ONE_OUT_SIGNALS}


def answer(text: str, *rivals: tuple[str, float], p: float = 0.9, first: str | None = None) -> Generation:
    """An answer whose first token (``first``, else all of it) has the probability ``p``, its rivals theirs."""
    token = text if first is None else first
    top = ((token, math.log(p)), *((other, math.log(q)) for other, q in rivals))
    return Generation(text, tokens=(TokenLogprob(token, math.log(p), top),))


def without(*answers: Generation, meanings: tuple[int, ...]) -> LeaveOneOut:
    return LeaveOneOut(Cost(), answers, meanings)


def measured(name: str, fact: LeaveOneOut) -> float | Missing:
    return SIGNAL[name].measure(Evidence().having(fact))


def test_the_entropies_by_their_worked_values() -> None:
    found = dropout_entropies([[0.9, 0.1], [0.1, 0.9]])
    assert found == pytest.approx((0.69315, 0.32508, 0.36806), abs=1e-4)


def test_points_have_nothing_aleatoric() -> None:
    assert dropout_entropies([[1, 0], [0, 1]]) == pytest.approx((math.log(2), 0, math.log(2)))
    assert dropout_entropies([[1, 0], [1, 0]]) == (0, 0, 0)


def test_views_that_agree_have_nothing_epistemic() -> None:
    total, aleatoric, epistemic = dropout_entropies([[0.3, 0.7]] * 4)
    assert total == pytest.approx(aleatoric)
    assert epistemic == pytest.approx(0, abs=1e-12)


@given(
    rows=st.integers(1, 5).flatmap(
        lambda v: st.lists(st.lists(st.floats(0, 1), min_size=v, max_size=v).filter(any), min_size=1, max_size=6)
    )
)
def test_the_parts_add_up_and_stay_within_their_bounds(rows: list[list[float]]) -> None:
    p = np.array(rows) / np.array(rows).sum(axis=1, keepdims=True)
    total, aleatoric, epistemic = dropout_entropies(p)
    assert total == pytest.approx(aleatoric + epistemic)
    assert 0 <= total <= math.log(p.shape[1]) + 1e-9
    assert 0 <= epistemic <= math.log(len(p)) + 1e-9
    assert dropout_entropies(p[::-1]) == pytest.approx((total, aleatoric, epistemic))


def test_agreement_is_the_share_that_says_what_the_draft_says() -> None:
    fact = without(
        Generation("Nigeria"), Generation("Peru"), Generation("nigeria"), Generation(""), meanings=(0, 1, 0, 2)
    )
    assert measured("leave_one_out_agreement", fact) == 0.5


def test_without_log_probabilities_each_answer_is_a_point_on_its_meaning() -> None:
    fact = without(Generation("Nigeria"), Generation("Peru"), Generation("nigeria"), meanings=(0, 1, 0))
    assert views(fact).tolist() == [[1, 0], [0, 1], [1, 0]]
    assert measured("leave_one_out_certainty", fact) == pytest.approx(-0.63651, abs=1e-4)  # H(2/3, 1/3)


def test_first_tokens_give_the_worked_distributions() -> None:
    fact = without(answer("Nigeria", ("Peru", 0.1), p=0.9), answer("Peru", (" Nigeria", 0.1), p=0.9), meanings=(0, 1))
    assert views(fact) == pytest.approx(np.array([[0.9, 0.1], [0.1, 0.9]]))
    assert measured("leave_one_out_certainty", fact) == pytest.approx(-0.36806, abs=1e-4)
    assert measured("leave_one_out_clarity", fact) == pytest.approx(-0.32508, abs=1e-4)


def test_what_is_not_listed_is_one_more_outcome() -> None:
    fact = without(answer("Nigeria", ("Chad", 0.2), p=0.6), answer("Nigeria", ("Niger", 0.4), p=0.6), meanings=(0, 0))
    assert views(fact) == pytest.approx(np.array([[0.6, 0.2, 0.2, 0], [0.6, 0, 0, 0.4]]))


def test_two_ways_to_begin_the_same_answer_are_one_outcome() -> None:
    fact = without(
        answer("The Nigeria", ("Nigeria", 0.4), p=0.6, first="The"),
        answer("Nigeria", ("The", 0.4), p=0.6),
        meanings=(0, 0),
    )
    assert views(fact) == pytest.approx(np.ones((2, 1)))
    assert measured("leave_one_out_certainty", fact) == pytest.approx(0)


def test_first_tokens_that_do_not_tell_the_meanings_apart_are_not_used() -> None:
    fact = without(
        answer("It is Peru", ("Well", 0.1), first="It"),
        answer("It is Chad", ("Well", 0.1), first="It"),
        meanings=(1, 2),
    )
    assert views(fact).tolist() == [[1, 0], [0, 1]]


def test_a_blank_first_token_is_passed_over() -> None:
    blank = TokenLogprob("\n", 0.0, (("\n", 0.0), ("x", -9.0)))
    said = answer("Nigeria", ("Peru", 0.1))
    padded = Generation("Nigeria", tokens=(blank, *(said.tokens or ())))
    assert views(without(padded, said, meanings=(0, 0))) == pytest.approx(np.array([[0.9, 0.1]] * 2))


def test_votes_are_weighted_by_the_lead_of_the_first_token() -> None:
    fact = without(
        answer("Nigeria", ("x", 0.1), p=0.8), answer("Peru", ("x", 0.4), p=0.5), answer("Nigeria", ("x", 0.6), p=0.4),
        meanings=(0, 1, 0),
    )  # fmt: skip
    assert measured("leave_one_out_agreement_weighted", fact) == pytest.approx(0.7 / 0.8)
    assert measured("leave_one_out_agreement", fact) == pytest.approx(2 / 3)


def test_what_cannot_be_said_is_missing() -> None:
    bare = without(Generation("Nigeria"), answer("Nigeria", ("x", 0.1)), meanings=(0, 0))
    assert measured("leave_one_out_agreement_weighted", bare) == Missing(
        "the upstream lists no alternatives to its tokens"
    )
    level = without(answer("Nigeria", ("x", 0.5), p=0.5), meanings=(0,))
    assert measured("leave_one_out_agreement_weighted", level) == Missing("no answer's first token leads its rivals")
    assert measured("leave_one_out_clarity", bare) == Missing(
        "the answers' first tokens tell no distribution over them"
    )
    assert measured("leave_one_out_certainty", level) == Missing("only one answer without a passage could be had")


def test_dropping_a_passage_that_matters_never_looks_surer_than_dropping_one_that_does_not() -> None:
    """Evidence taken away must not raise confidence: the answer that falls with its passage is the less certain one."""
    held = without(*[answer("Nigeria", ("Peru", 0.1))] * 3, meanings=(0, 0, 0))
    fell = without(answer("Peru", ("Nigeria", 0.1)), *[answer("Nigeria", ("Peru", 0.1))] * 2, meanings=(1, 0, 0))
    for name in SIGNAL.keys() - {"leave_one_out_clarity"}:  # that one is of the question, whatever is read
        stands, falls = measured(name, held), measured(name, fell)
        assert isinstance(stands, float)
        assert isinstance(falls, float)
        assert falls < stands


def test_a_log_probability_that_is_none_leads_no_rival() -> None:
    broken = Generation("Lagos", tokens=(TokenLogprob("Lagos", math.nan, (("Lagos", math.nan), ("Togo", -1.0))),))
    assert weighted_agreement(LeaveOneOut(Cost(), (broken, broken), (0, 0))) == Missing(
        "a log-probability is no finite number"
    )
    assert views(LeaveOneOut(Cost(), (broken, broken), (0, 1))).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_no_answers_are_missing() -> None:
    for signal in LEAVE_ONE_OUT_SIGNALS:
        said = signal.measure(Evidence().having(LeaveOneOut(Cost(), (), ())))
        assert said == Missing("no answer without a passage could be had")
