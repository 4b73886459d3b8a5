"""Wordings: the form answers are compared in, and which different ones there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.wordings import wordings, written
from gate.types import Generation, ToolCall
from tests.evidence.scripted_judge import given as answers


def test_the_different_answers_stand_in_sorted_order_with_the_shortest_way_each_was_written() -> None:
    made = wordings(answers("Togo!", ["the Togo", "Benin", " Togo ", Generation("", refusal="no")]))
    assert made.forms == ("", "benin", "togo")
    assert made.texts == (None, "Benin", "Togo")
    assert made.places == (2, 2, 1, 2, 0)
    assert made.prose == (1, 2)


def test_tool_calls_have_no_text() -> None:
    call = Generation("I will pay.", tool_calls=(ToolCall("1", "pay", "{}"),))
    made = wordings(answers(call, ["Togo", call]))
    assert [made.texts[place] for place in made.places] == [None, "Togo", None]
    assert len(made.forms) == 2


def test_told_apart_as_written_what_normalising_makes_the_same_stays_apart() -> None:
    made = wordings(answers(" 50% ", ["50", "50%"]), written)
    assert made.forms == made.texts == ("50", "50%")
    assert made.places == (1, 0, 1)
    assert written(Generation("x", refusal="no")) == ""


@given(st.lists(st.text(max_size=4), min_size=1, max_size=6), st.data())
def test_whatever_the_order_the_different_answers_are_the_same(texts: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(texts))
    one, other = wordings(answers("x", list(texts))), wordings(answers("x", list(shuffled)))
    assert (one.forms, one.texts) == (other.forms, other.texts)
