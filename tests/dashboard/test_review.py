"""What waits for whom, and what is said of it."""

from __future__ import annotations

import pytest

from gate.dashboard.review import label_of, queue, reviewable
from gate.errors import RequestError
from tests.dashboard.fake_reader import ADMIN, NOW, REVIEWER, SUPPORT_REVIEWER, FakeReader, a_decision


def waiting(count: int = 5) -> FakeReader:
    reader = FakeReader()
    for number in range(count):
        policy = "support" if number % 2 else "balanced"
        reader.add(a_decision(f"w{number}", at=NOW - 100 + number, policy=policy, audit=0.05))
    reader.add(a_decision("plain"))
    return reader


def test_the_oldest_comes_first_and_after_it_the_next() -> None:
    reader = waiting()
    first = queue(reader, ADMIN)
    assert first.shown is not None
    assert (first.shown.id, [k.id for k in first.following], first.left) == ("w0", ["w1", "w2", "w3", "w4"], 5)
    after = queue(reader, ADMIN, "w1")
    assert after.shown is not None
    assert after.shown.id == "w2"


def test_at_the_end_it_begins_again() -> None:
    again = queue(waiting(), ADMIN, "w4")
    assert again.shown is not None
    assert again.shown.id == "w0"


def test_a_reviewer_of_some_policies_has_a_queue_of_those() -> None:
    reader = waiting()
    theirs = queue(reader, SUPPORT_REVIEWER)
    assert theirs.shown is not None
    assert (theirs.shown.id, [k.id for k in theirs.following], theirs.left, theirs.more) == ("w1", ["w3"], 2, False)
    after = queue(reader, SUPPORT_REVIEWER, "w1")
    assert after.shown is not None
    assert after.shown.id == "w3"
    again = queue(reader, SUPPORT_REVIEWER, "w3")
    assert again.shown is not None
    assert again.shown.id == "w1"


def test_a_long_queue_is_looked_at_in_parts_and_not_without_end() -> None:
    reader = waiting(1500)
    found = queue(reader, SUPPORT_REVIEWER)
    assert (found.left, found.more) == (500, True)


def test_nothing_waits() -> None:
    found = queue(FakeReader(), ADMIN, "gone")
    assert (found.shown, found.following, found.left) == (None, (), 0)


def test_what_may_be_labelled_by_whom() -> None:
    reader = waiting()
    reader.add(a_decision("mine", key="support-bot"))
    assert reviewable(reader, "plain", ADMIN) is not None
    assert reviewable(reader, "plain", REVIEWER) is None, "it was not drawn"
    assert reviewable(reader, "w0", REVIEWER) is not None
    assert reviewable(reader, "w0", SUPPORT_REVIEWER) is None, "of another policy"
    assert reviewable(reader, "w1", SUPPORT_REVIEWER) is not None
    assert reviewable(reader, "mine", SUPPORT_REVIEWER) is not None
    assert reviewable(reader, "gone", ADMIN) is None


@pytest.mark.parametrize(("verdict", "correct"), [("right", True), ("wrong", False), ("unclear", None)])
def test_a_label(verdict: str, correct: bool | None) -> None:
    said = label_of(a_decision(), {"verdict": verdict, "note": " n ", "answer": "China"}, REVIEWER, NOW)
    assert (said.decision, said.correct, said.by, said.source, said.at) == ("d0", correct, "notebook", "review", NOW)
    assert (said.note, said.answer) == ("n", "China")


@pytest.mark.parametrize("fields", [{}, {"verdict": "maybe"}, {"verdict": "right", "note": "x" * 2001}])
def test_no_label(fields: dict[str, str]) -> None:
    with pytest.raises(RequestError):
        label_of(a_decision(), fields, REVIEWER, NOW)
