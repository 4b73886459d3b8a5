"""Stated confidence and P(True)."""

from __future__ import annotations

from hypothesis import strategies as st

from gate.evidence import PTrue, StatedLinguistic, StatedOneStage, StatedTopK, StatedTwoStage
from gate.evidence.p_true import NOT_LISTED, Options
from gate.evidence.stated import LEVELS, NONE_STATED
from gate.evidence.stated_one_stage import StatedAnswer
from gate.ports import Fact, Missing
from gate.types import Cost
from tests.signals.scenes.core import TEXTS

SHARES = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 5e-324])
READ: st.SearchStrategy[float | Missing] = SHARES | st.just(NONE_STATED)
REPLIES = st.lists(st.builds(StatedAnswer, TEXTS, st.none() | SHARES), max_size=6).map(tuple)
GUESSES = st.dictionaries(TEXTS, SHARES, max_size=5).map(lambda made: tuple(made.items()))
OPTIONS: st.SearchStrategy[Options | Missing] = st.just(NOT_LISTED) | st.builds(Options, SHARES, SHARES).filter(
    lambda made: made.true + made.false > 0
)
VOTES = st.lists(st.none() | st.booleans(), max_size=6).map(tuple)
ANY: tuple[st.SearchStrategy[Fact], ...] = (
    st.builds(StatedTwoStage, st.just(Cost()), READ),
    st.builds(StatedLinguistic, st.just(Cost()), st.sampled_from([*LEVELS, NONE_STATED])),
    st.builds(StatedOneStage, st.just(Cost()), TEXTS, REPLIES),
    st.builds(StatedTopK, st.just(Cost()), TEXTS, GUESSES),
    st.builds(PTrue, st.just(Cost()), OPTIONS, VOTES, OPTIONS),
)


@st.composite
def facts(draw: st.DrawFn) -> tuple[Fact, ...]:
    return tuple(draw(any_) for any_ in ANY if draw(st.booleans()))


def scene(
    confidence: float, draft: str, others: tuple[StatedAnswer, ...], options: Options, votes: tuple[bool, ...]
) -> tuple[Fact, ...]:
    rivals = (("nigeria", 0.8), ("ghana", 0.1), ("chad", 0.3))
    return (
        StatedTwoStage(Cost(), confidence),
        StatedLinguistic(Cost(), confidence),
        StatedOneStage(Cost(), draft, (StatedAnswer(draft, confidence), *others)),
        StatedTopK(Cost(), draft, rivals),
        PTrue(Cost(), options, votes, Options(0.6, 0.4)),
    )


def sure() -> tuple[Fact, ...]:
    return scene(0.7, "nigeria", (StatedAnswer("nigeria", 0.9),), Options(0.9, 0.05), (True, True, True))


def unsure() -> tuple[Fact, ...]:
    return scene(0.3, "ghana", (StatedAnswer("nigeria", 0.6),), Options(0.3, 0.5), (True, False, False))
