"""Second opinions, the answer without passages, the answer only if sure, and the answers with one passage left out."""

from __future__ import annotations

from hypothesis import strategies as st

from gate.evidence import (
    Arbitration,
    Cautious,
    ClosedBook,
    Counterfactual,
    Groundedness,
    LeaveOneOut,
    SecondOpinion,
)
from gate.ports import Fact
from gate.types import Cost, Generation
from tests.signals.scenes.core import GENERATIONS, answer

SIMILARITIES = st.floats(0, 1) | st.sampled_from([0.0, 1.0])

MAYBE = st.none() | st.booleans()


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
    if draw(st.booleans()):
        made.append(Counterfactual(Cost(), *draw(st.tuples(MAYBE, MAYBE))))
    if draw(st.booleans()):
        n = draw(st.integers(1, 4))
        shares = st.lists(SIMILARITIES, min_size=n, max_size=n).map(tuple)
        made.append(Groundedness(Cost(), draw(shares), draw(st.none() | shares)))
    if draw(st.booleans()):
        made.append(Arbitration(Cost(), draw(st.sampled_from(["draft", "memory", "neither"]))))
    return tuple(made)


def sure() -> tuple[Fact, ...]:
    said = Generation("Nigeria")
    without = (answer("Nigeria", -0.1, -4.0), answer("Nigeria", -0.1, -4.0), answer("Nigeria", -0.2, -3.0))
    return (
        SecondOpinion(Cost(), said, True, 1.0, "large"),
        ClosedBook(Cost(), answer("Nigeria", -0.1, -4.0), True, 1.0),
        Cautious(Cost(), said, True, 1.0),
        LeaveOneOut(Cost(), without, (0, 0, 0)),
        Counterfactual(Cost(), True, True),
        Groundedness(Cost(), (1.0, 0.9), (0.0, 0.1)),
        Arbitration(Cost(), "draft"),
    )


def unsure() -> tuple[Fact, ...]:
    said = Generation("Peru")
    without = (answer("Nigeria", -0.6, -1.0), answer("Peru", -0.1, -4.0), answer("Chad", -0.2, -3.0))
    return (
        SecondOpinion(Cost(), said, False, 0.2, "large"),
        ClosedBook(Cost(), answer("Peru", -1.4, -1.5), False, 0.2),
        Cautious(Cost(), Generation("I don't know"), False, 0.2),
        LeaveOneOut(Cost(), without, (0, 1, 2)),
        Counterfactual(Cost(), False, False),
        Groundedness(Cost(), (0.8, 0.1), (0.2, 0.9)),
        Arbitration(Cost(), "memory"),
    )
