"""What every evidence source must be, run over SOURCES: registering is being tested."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import cast

import pytest
from pydantic import BaseModel, ValidationError

from gate.drivers import Recording, ThreadedDriver
from gate.effects import Generate
from gate.evidence import SOURCES
from gate.evidence.asking import quoting
from gate.ports import Evidence, EvidenceSource, Fact, Profile, Round, Uses
from gate.prompts import load
from gate.types import Cost, Passage, Question
from tests.scripted import Scripted, world_of

PROFILES = {
    "able": Profile(),
    "one at a time": Profile(n=1),
    "none at a time": Profile(n=0),
    "three at a time": Profile(n=3),
    "many": Profile(n=1024, top_logprobs=20),
    "bare": Profile(logprobs=False, top_logprobs=0, n=1, tools=False, seed=False),
}
ASKED = Question.from_text("Where is Lagos?")
each = pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: str(kind.name))
every_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())


def obliging(effect: Generate, place: int) -> str:
    """The answer, or as many different lines as were asked for."""
    wanted = re.search(r"exactly (\d+) lines", effect.messages[-1].content)
    return "\n".join(f"{number}. Nigeria {number}?" for number in range(int(wanted[1]))) if wanted else "Nigeria"


def opening(profile: Profile) -> Round:
    found = (Passage("lagos", "Lagos is a city in Nigeria.", 2.0),)
    prompt = load("with_passages")
    return Round(0, ASKED, "small", profile, quoting(prompt, ASKED.messages, found), found, prompt)


def gathered(kind: type[BaseModel], profile: Profile) -> tuple[Fact, int]:
    """What the source gathers, after those listed before it, and the calls it makes to an upstream that obeys."""
    upstream = Scripted("small", obliging, profile=profile)
    driver, evidence = ThreadedDriver(world_of({"small": upstream})), Evidence()
    try:
        for listed in SOURCES:
            source = cast("EvidenceSource", listed())
            before = len(upstream.asked)
            fact = driver.run(source.gather(opening(profile), evidence), Recording())
            evidence = evidence.having(fact)
            if listed is kind:
                return fact, len(upstream.asked) - before
    finally:
        driver.close()
    raise LookupError(kind)


def test_no_two_sources_share_a_name_or_a_fact() -> None:
    assert len({kind.name for kind in SOURCES}) == len({kind.provides for kind in SOURCES}) == len(SOURCES) > 0


@each
def test_a_source_is_named_for_a_policy_and_says_what_it_provides(kind: type[BaseModel]) -> None:
    source = cast("EvidenceSource", kind())
    assert re.fullmatch(r"[a-z][a-z_]*", source.name)
    assert issubclass(source.provides, Fact)
    assert source.provides is not Fact
    assert isinstance(source.uses, Uses)
    assert kind.__doc__


@each
def test_what_a_source_needs_is_provided_by_one_listed_before_it(kind: type[BaseModel]) -> None:
    listed = [cast("EvidenceSource", other()) for other in SOURCES]
    place = SOURCES.index(kind)
    assert set(listed[place].needs) <= {source.provides for source in listed[:place]}


@each
def test_an_option_it_does_not_have_is_refused_and_those_it_has_are_fixed(kind: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="no_such_option"):
        kind.model_validate({"no_such_option": 1})
    assert kind.model_config.get("frozen")
    assert kind() == kind()


@each
@every_profile
def test_it_makes_as_many_calls_as_it_says_and_none_more(kind: type[BaseModel], profile: Profile) -> None:
    said = cast("EvidenceSource", kind()).calls(profile)
    fact, made = gathered(kind, profile)
    assert 0 <= made == fact.cost.calls == said


@each
def test_more_answers_at_once_never_need_more_calls(kind: type[BaseModel]) -> None:
    needed = [cast("EvidenceSource", kind()).calls(Profile(n=n)) for n in range(1, 40)]
    assert needed == sorted(needed, reverse=True)
    assert needed[-1] >= 0


@each
@every_profile
def test_it_gathers_the_fact_it_provides_and_the_same_again(kind: type[BaseModel], profile: Profile) -> None:
    facts = [gathered(kind, profile)[0] for _ in range(2)]
    assert type(facts[0]) is cast("EvidenceSource", kind()).provides
    one, other = (replace(fact, cost=Cost()) for fact in facts)
    assert one == other
