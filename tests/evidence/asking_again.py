"""What tests of the sources that ask again share: a round with passages, and a driver over scripted upstreams."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gate.drivers import Recording, ThreadedDriver
from gate.evidence import Draft
from gate.evidence.asking import quoting
from gate.ports import Evidence, EvidenceSource, Fact, Profile, Round
from gate.prompts import Prompt
from gate.types import Cost, Generation, Message, Passage, Question
from tests.scripted import Scripted, world_of

PROMPT = Prompt("p", "Read:\n{{passages}}\nAsk: {{question}}", frozenset({"passages", "question"}), "f")
ASKED = Question((Message("user", "Where is Lagos?"),), {"tools": ["t"], "temperature": 0.7, "seed": 3})
DRAFTED = Evidence().having(Draft(Cost(), Generation("Nigeria"), "small"))


def reading(*texts: str, question: Question = ASKED, **changes: Any) -> Round:
    """A round whose prompt quotes these passages; a closed-book one without any."""
    found = tuple(Passage(str(place), text) for place, text in enumerate(texts))
    round_ = Round(0, question, "small", Profile(), question.messages)
    if found:
        messages = quoting(PROMPT, question.messages, found)
        round_ = replace(round_, messages=messages, passages=found, prompt=PROMPT)
    return replace(round_, **changes)


def gathered(source: EvidenceSource, round_: Round, *upstreams: Scripted, evidence: Evidence = DRAFTED) -> Fact:
    driver = ThreadedDriver(world_of({upstream.name: upstream for upstream in upstreams}))
    try:
        return driver.run(source.gather(round_, evidence), Recording())
    finally:
        driver.close()
