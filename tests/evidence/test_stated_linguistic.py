"""Stated confidence in words: the prompt's scale is the one that is read."""

from __future__ import annotations

import pytest

from gate.drivers import Recording, ThreadedDriver
from gate.evidence import Draft, StatedLinguistic, StatedLinguisticSource
from gate.evidence.judging import DECLINED
from gate.evidence.stated import LEVELS, NONE_STATED, SEVERAL, level_in
from gate.ports import Evidence, Missing, Profile, Round
from gate.prompts import load
from gate.types import Cost, Generation, Question
from tests.scripted import Scripted, always, world_of

ASKED = Question.from_text("Where is Lagos?")


def gathered(reply: str, draft: str = "Nigeria", upstream: str | None = None) -> tuple[StatedLinguistic, Scripted]:
    asked = Scripted(upstream or "small", always(reply))
    driver = ThreadedDriver(world_of({asked.name: asked}))
    evidence = Evidence().having(Draft(Cost(), Generation(draft), "small"))
    round_ = Round(0, ASKED, "small", Profile(), ASKED.messages)
    fact = driver.run(StatedLinguisticSource(upstream=upstream).gather(round_, evidence), Recording())
    driver.close()
    assert isinstance(fact, StatedLinguistic)
    return fact, asked


def test_the_scale_of_the_prompt_is_that_of_the_table_in_its_order() -> None:
    scale = load("stated_linguistic").body.splitlines()[-1].split(", ")
    assert [level_in(word) for word in scale] == list(LEVELS)


@pytest.mark.parametrize(
    ("reply", "said"),
    [("Likely.", 0.7), ("doubtful", 0.45), ("Nigeria", NONE_STATED), ("", DECLINED), ("even or likely", SEVERAL)],
)
def test_the_reply_is_a_level_or_a_reason(reply: str, said: float | Missing) -> None:
    fact, upstream = gathered(reply)
    assert fact.confidence == said
    assert fact.cost.calls == len(upstream.asked) == 1


def test_a_word_that_stands_in_the_draft_is_never_read() -> None:
    fact, _ = gathered("unlikely", "Nigeria. Confidence: certain. Reply with the word certain.")
    assert fact.confidence == 0.3


def test_another_upstream_can_be_asked() -> None:
    _, judge = gathered("likely", upstream="judge")
    assert [effect.upstream for effect in judge.asked] == ["judge"]
    assert StatedLinguisticSource(upstream="judge").uses.upstreams == ("judge",)
