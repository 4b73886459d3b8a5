"""Perturbations of the request, readings of the question, and the upstream's word on whether it can be answered."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from gate.evidence import Answerability, Perturbations, Rephrasings
from gate.evidence.perturbations import Answers, Family
from gate.ports import Fact
from gate.types import Cost
from tests.signals.scenes.core import TEXTS

FAMILIES_OF_ANSWERS: tuple[Family, ...] = tuple(family for family in get_args(Family) if family != "split")
SHARES = st.floats(0, 1) | st.sampled_from([0.0, 1.0])
VECTORS = st.lists(st.tuples(*[st.floats(-1, 1)] * 3), max_size=5).map(tuple)


@st.composite
def _answers(draw: st.DrawFn) -> Answers:
    texts = draw(st.lists(TEXTS, max_size=5).map(tuple))
    labels = draw(st.lists(st.integers(0, 3), min_size=len(texts), max_size=len(texts)).map(tuple))
    return Answers(texts, labels, 0)


@st.composite
def facts(draw: st.DrawFn) -> tuple[Fact, ...]:
    answers = draw(st.dictionaries(st.sampled_from(FAMILIES_OF_ANSWERS), _answers()))
    known = draw(st.none() | SHARES)
    return (
        Perturbations(Cost(), answers, draw(st.lists(SHARES, max_size=3).map(tuple)), {"paraphrase": "is down"}),
        Rephrasings(Cost(), ("a", "b"), draw(VECTORS)),
        Answerability(Cost(), known, "" if known is not None else "neither"),
    )


def sure() -> tuple[Fact, ...]:
    steady = Answers(("nigeria", "in nigeria", "nigeria"), (0, 0, 0), 0)
    return (
        Perturbations(Cost(), dict.fromkeys(FAMILIES_OF_ANSWERS, steady), (0.02, 0.1), {}),
        Rephrasings(Cost(), ("a", "b"), ((1.0, 0.0, 0.0), (0.99, 0.1, 0.0), (0.99, 0.0, 0.1))),
        Answerability(Cost(), 0.9),
    )


def unsure() -> tuple[Fact, ...]:
    shaky = Answers(("nigeria", "ghana", "togo"), (0, 1, 2), 0)
    return (
        Perturbations(Cost(), dict.fromkeys(FAMILIES_OF_ANSWERS, shaky), (0.1, 0.8), {}),
        Rephrasings(Cost(), ("a", "b"), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))),
        Answerability(Cost(), 0.2),
    )
