"""Second opinions, the answer without passages, the answer only if sure, and the answers with one passage left out."""

from __future__ import annotations

from hypothesis import strategies as st

from gate.evidence import Cautious, ClosedBook, LeaveOneOut, SecondOpinion
from gate.ports import Fact
from gate.types import Cost, Generation
from tests.signals.scenes.core import GENERATIONS, answer

SIMILARITIES = st.floats(0, 1) | st.sampled_from([0.0, 1.0])


@st.composite
def facts(draw: st.DrawFn) -> tuple[Fact, ...]:
    made: list[Fact] = []
    if draw(st.booleans()):
        made.append(SecondOpinion(Cost(), draw(GENERATIONS), draw(st.booleans()), draw(SIMILARITIES), "large"))
    if draw(st.booleans()):
        made.append(ClosedBook(Cost(), draw(GENERATIONS), draw(st.booleans()), draw(SIMILARITIES)))
    if draw(st.booleans()):
        made.append(Cautious(Cost(), draw(GENERATIONS), draw(st.booleans()), draw(SIMILARITIES)))
    if draw(st.booleans()):
        answers = draw(st.lists(GENERATIONS, max_size=5).map(tuple))
        labels = draw(st.lists(st.integers(0, 3), min_size=len(answers), max_size=len(answers)).map(tuple))
        made.append(LeaveOneOut(Cost(), answers, labels))
    return tuple(made)


def sure() -> tuple[Fact, ...]:
    said = Generation("Nigeria")
    without = (answer("Nigeria", -0.1, -4.0), answer("Nigeria", -0.1, -4.0), answer("Nigeria", -0.2, -3.0))
    return (
        SecondOpinion(Cost(), said, True, 1.0, "large"),
        ClosedBook(Cost(), said, True, 1.0),
        Cautious(Cost(), said, True, 1.0),
        LeaveOneOut(Cost(), without, (0, 0, 0)),
    )


def unsure() -> tuple[Fact, ...]:
    said = Generation("Peru")
    without = (answer("Nigeria", -0.6, -1.0), answer("Peru", -0.1, -4.0), answer("Chad", -0.2, -3.0))
    return (
        SecondOpinion(Cost(), said, False, 0.2, "large"),
        ClosedBook(Cost(), said, False, 0.2),
        Cautious(Cost(), Generation("I don't know"), False, 0.2),
        LeaveOneOut(Cost(), without, (0, 1, 2)),
    )
