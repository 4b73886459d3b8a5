"""The draft, samples, meanings and passages."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from gate.evidence import Asked, Draft, Meanings, Passages, Samples
from gate.evidence.samples import all_decline
from gate.ports import Fact
from gate.types import Cost, Generation, Passage, Question, TokenLogprob, ToolCall

LOGPROBS = st.floats(-40, 0) | st.sampled_from([0.0, -1e4, 1e-7, 1.0, -1e308, -math.inf, math.inf, math.nan])
TEXTS = st.sampled_from(["Nigeria", "the", "", " ", "東京", "نعم", "🦁", "?!"]) | st.text(max_size=6)
TOKENS = st.builds(
    TokenLogprob,
    TEXTS,
    LOGPROBS,
    st.lists(st.tuples(TEXTS, LOGPROBS), max_size=4).map(tuple),
)
GENERATIONS = st.builds(
    Generation,
    TEXTS,
    tokens=st.none() | st.lists(TOKENS, max_size=4).map(tuple),
    tool_calls=st.lists(st.builds(ToolCall, st.just("1"), TEXTS, TEXTS), max_size=1).map(tuple),
    refusal=st.none() | st.just("no"),
)
PASSAGES = st.lists(st.builds(Passage, TEXTS, TEXTS, st.floats(-10, 1e6)), min_size=1, max_size=4).map(tuple)


@st.composite
def facts(draw: st.DrawFn) -> tuple[Fact, ...]:
    """A draft always; a fact that needs another comes with it, as they are gathered."""
    rivals = draw(st.lists(GENERATIONS, max_size=2).map(tuple))
    made: list[Fact] = [Draft(Cost(), draw(GENERATIONS), "small", rivals)]
    if draw(st.booleans()):
        drawn = draw(st.lists(GENERATIONS, max_size=6).map(tuple))
        labels = draw(st.lists(st.integers(0, 3), min_size=len(drawn), max_size=len(drawn)).map(tuple))
        asked = draw(st.integers(0, 8))
        declined = all_decline(drawn)
        made += [Samples(Cost(), drawn, asked), Meanings(Cost(), 0, labels, asked=asked, declined=declined)]
    if draw(st.booleans()):
        quoted = draw(PASSAGES)
        made.append(Passages(Cost(), quoted, draw(st.just(()) | PASSAGES.map(lambda more: quoted + more))))
    if draw(st.booleans()):
        made.append(Asked(Cost(), Question.from_text(draw(TEXTS))))
    return tuple(made)


def answer(text: str, logprob: float, rival: float) -> Generation:
    return Generation(text, tokens=(TokenLogprob(text, logprob, ((text, logprob), ("other", rival))),))


def scene(
    logprob: float, rival: float, labels: tuple[int, ...], found: tuple[Passage, ...], question: str, hedge: str = ""
) -> tuple[Fact, ...]:
    """The first of the passages found is quoted."""
    samples = tuple(answer(hedge + ("Nigeria" if label == 0 else f"answer {label}"), -1.0, -2.0) for label in labels)
    rivals = (Generation(f"{hedge}Nigeria"), Generation("Nigeria" if labels[0] == 0 and not hedge else "Peru"))
    return (
        Draft(Cost(), answer(f"{hedge}Nigeria", logprob, rival), "small", rivals),
        Samples(Cost(), samples),
        Meanings(Cost(), 0, labels),
        Passages(Cost(), found[:1], found),
        Asked(Cost(), Question.from_text(question)),
    )


def sure() -> tuple[Fact, ...]:
    found = Passage("lagos", "Lagos is a city in Nigeria.", 4.0), Passage("2", "Lagos, the largest of Nigeria.", 1.0)
    return scene(-0.02, -5.0, (0, 0, 0, 0, 1), found, "Where is Lagos?")


def unsure() -> tuple[Fact, ...]:
    passage = Passage("paris", "Paris is a city in France.", 0.5)
    rivals = (Passage("a", "Both places, perhaps Nigeria.", 0.45), Passage("b", "Both places, in France.", 0.4))
    found = (passage, *rivals)
    return scene(-0.9, -1.0, (1, 0, 2, 3, 4), found, "Where is the best one of all those places today?", "perhaps ")
