"""What the question itself tells: its length, and cues that it has no fixed answer or more than one meaning.

The cues are phrases of the tables in `gate.signals.question_cues`. They are cheap and shallow: for weighing beside
other signals, never for deciding alone. A question without a cue reads 1, also one in a language without a table. Of a
long message only the first and the last 300 characters are looked at, where requests stand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.answerability import Answerability
from gate.evidence.phrases import spelled
from gate.evidence.question import Asked
from gate.evidence.rephrasings import Rephrasings
from gate.evidence.volume import compactness
from gate.evidence.words import STOP_WORDS, names
from gate.ports import Evidence, Fact, Missing, Signal
from gate.signals.question_cues import (
    CHANGING,
    DUMMY,
    FUTURE,
    OPEN_ENDED,
    OPINION,
    PERSONAL,
    PHILOSOPHICAL,
    PRONOUNS,
    TODAY,
    VAGUE,
)
from gate.types import Question

_SHOWN = 300


@dataclass(frozen=True, slots=True)
class QuestionSignal:
    """A reading of the question's text alone."""

    name: str
    reading: Callable[[Question], float]
    bounds: tuple[float, float]
    needs: tuple[type[Fact], ...] = (Asked,)

    def measure(self, evidence: Evidence) -> float | Missing:
        asked = evidence.find(Asked)
        if asked is None:
            return Missing(evidence.missing.get(Asked, "the question is not among the evidence"))
        if not asked.question.text.strip():
            return Missing("the question has no text")
        return self.reading(asked.question)


def brevity(question: Question) -> float:
    """``-ln(1 + characters)``: long questions ask for more."""
    return -math.log1p(len(question.text.strip()))


def timeless(question: Question) -> float:
    """1; 0 where it asks for today's facts (weather, prices, scores, "latest"); 0.5 for what changes over years."""
    text = spelled(_shown(question.text))
    if TODAY.within(text):
        return 0.0
    return 0.5 if CHANGING.within(text) else 1.0


def answerable(question: Question) -> float:
    """1, halved for each kind of cue that nobody can know: the future, philosophy, opinion, the asker's own life."""
    text = spelled(_shown(question.text))
    return 0.5 ** sum(kind.within(text) for kind in (FUTURE, PHILOSOPHICAL, OPINION, PERSONAL))


def specific(question: Question) -> float:
    """1, halved for each kind of cue that it can mean many things.

    A vague word ("best", "some"), an open request ("give me a list"), a pronoun with nothing before it that it could
    stand for, and a question of few words that names nothing.
    """
    shown = _shown(question.text)
    text = spelled(shown)
    alone = sum(message.role in ("user", "assistant") for message in question.messages) < 2
    cues = (VAGUE.within(text), OPEN_ENDED.within(text), alone and _dangling(shown), alone and _names_nothing(shown))
    return 0.5 ** sum(cues)


def _shown(text: str) -> str:
    return text if len(text) <= 2 * _SHOWN else f"{text[:_SHOWN]} {text[-_SHOWN:]}"


def _dangling(shown: str) -> bool:
    """Whether a pronoun stands where at most one word before it could be what it stands for.

    Not where a list or another line is there to be pointed at ("which of these: ...").
    """
    if ":" in shown or "\n" in shown.strip():
        return False
    text = spelled(shown)
    for dummy in DUMMY:
        text = text.replace(dummy, " ")
    before = 0
    for word in text.split():
        if word in PRONOUNS:
            return before < 2
        before += word not in STOP_WORDS
    return False


def _names_nothing(shown: str) -> bool:
    """Whether a text in a script with case has no name, number or quotation and fewer than three words of content."""
    if shown.casefold() == shown.upper() or names(shown) or any(mark in shown for mark in '"\u201c\u00ab'):
        return False
    return sum(word not in STOP_WORDS for word in spelled(shown).split()) < 3


@dataclass(frozen=True, slots=True)
class QuestionClear:
    """How little room the question and its readings take: the external semantic volume, turned (Li et al. 2025).

    1 when all readings are one, 0 when they lie at right angles: `compactness`, neither centred nor projected.
    """

    name = "question_clear"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Rephrasings,)
    eps: ClassVar[float] = 1e-3

    def measure(self, evidence: Evidence) -> float | Missing:
        rephrasings = evidence.find(Rephrasings)
        if rephrasings is None:
            return Missing(evidence.missing.get(Rephrasings, "the question was not rephrased"))
        value = compactness(rephrasings.vectors, eps=self.eps, centred=False)
        return Missing("the readings have no vectors to compare") if value is None else value


@dataclass(frozen=True, slots=True)
class QuestionAnswerableSaid:
    """The upstream's own probability that the question has one known answer."""

    name = "question_answerable_said"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Answerability,)

    def measure(self, evidence: Evidence) -> float | Missing:
        said = evidence.find(Answerability)
        if said is None:
            return Missing(evidence.missing.get(Answerability, "the upstream was not asked about the question"))
        return Missing(said.reason or "no letter was chosen") if said.known is None else said.known


QUESTION_SIGNALS: tuple[Signal, ...] = (
    QuestionSignal("question_brevity", brevity, (-math.inf, 0.0)),
    QuestionSignal("question_timeless", timeless, (0.0, 1.0)),
    QuestionSignal("question_answerable", answerable, (0.0, 1.0)),
    QuestionSignal("question_specific", specific, (0.0, 1.0)),
    QuestionClear(),
    QuestionAnswerableSaid(),
)
