"""What every evidence source must be, run over SOURCES: registering is being tested."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from pydantic import BaseModel, ValidationError

from gate.drivers import Recording, ThreadedDriver
from gate.effects import Generate, effect_key
from gate.evidence import SOURCES, SamplesSource
from gate.evidence.asking import quoting
from gate.pipeline import Standing, enter
from gate.ports import Evidence, EvidenceSource, Fact, Profile, Round, Signal, Uses
from gate.prompts import load
from gate.signals import SIGNALS
from gate.types import Cost, Passage, Question
from tests.evidence.pools import two_topics_file
from tests.scripted import Scripted, plan_over, world_of

PROFILES = {
    "able": Profile(),
    "one at a time": Profile(n=1),
    "none at a time": Profile(n=0),
    "three at a time": Profile(n=3),
    "many": Profile(n=1024, top_logprobs=20),
    "bare": Profile(logprobs=False, top_logprobs=0, n=1, tools=False, seed=False),
}
ASKED = Question.from_text("Where is Lagos?")
OPTIONS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "second_opinion": lambda: {"upstream": "other"},
    "hidden_states": lambda: {"read_by": "other"},
    "neighbours": lambda: {"path": two_topics_file(), "embedder": "hashed"},
}
"""What a policy must say of a source that has no defaults for it."""
each = pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: str(kind.name))
every_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())


def obliging(effect: Generate, place: int) -> str:
    """The answer, or as many different lines as were asked for; without passages another answer, and a letter."""
    if effect.messages == ASKED.messages:
        return "Peru"
    if "letter A, B or C" in effect.messages[-1].content:
        return "A"
    wanted = re.search(r"exactly (\d+) lines", effect.messages[-1].content)
    return "\n".join(f"{number}. Nigeria {number}?" for number in range(int(wanted[1]))) if wanted else "Nigeria"


def options_of(kind: type[BaseModel]) -> dict[str, Any]:
    name = cast("EvidenceSource", kind).name
    return OPTIONS[name]() if name in OPTIONS else {}


def source_of(kind: type[BaseModel]) -> EvidenceSource:
    return cast("EvidenceSource", kind.model_validate(options_of(kind)))


def opening(profile: Profile) -> Round:
    found = (
        Passage("lagos", "Lagos is a city in Nigeria.", 2.0),
        Passage("abuja", "Abuja is the capital of Nigeria.", 1.0),
    )
    prompt = load("with_passages")
    return Round(0, ASKED, "small", profile, quoting(prompt, ASKED.messages, found), found, prompt=prompt)


def scripted(profile: Profile, seconds: float = 0.0) -> dict[str, Scripted]:
    """The upstream of the round, and another one in the policy."""
    return {name: Scripted(name, obliging, seconds, profile) for name in ("small", "other")}


def asked(upstreams: dict[str, Scripted]) -> list[Generate]:
    return [effect for upstream in upstreams.values() for effect in upstream.asked]


def gathered(kind: type[BaseModel], profile: Profile) -> tuple[Fact, int]:
    """What the source gathers, after those listed before it, and the calls it makes to an upstream that obeys."""
    upstreams = scripted(profile)
    driver, evidence = ThreadedDriver(world_of(upstreams)), Evidence()
    try:
        for listed in SOURCES:
            source = source_of(listed)
            before = len(asked(upstreams))
            fact = driver.run(source.gather(opening(profile), evidence), Recording())
            evidence = evidence.having(fact)
            if listed is kind:
                return fact, len(asked(upstreams)) - before
    finally:
        driver.close()
    raise LookupError(kind)


def test_no_two_sources_share_a_name_or_a_fact() -> None:
    assert len({kind.name for kind in SOURCES}) == len({kind.provides for kind in SOURCES}) == len(SOURCES) > 0


@each
def test_a_source_is_named_for_a_policy_and_says_what_it_provides(kind: type[BaseModel]) -> None:
    source = source_of(kind)
    assert re.fullmatch(r"[a-z][a-z_]*", source.name)
    assert issubclass(source.provides, Fact)
    assert source.provides is not Fact
    assert isinstance(source.uses, Uses)
    assert kind.__doc__


@each
def test_what_a_source_needs_is_provided_by_one_listed_before_it(kind: type[BaseModel]) -> None:
    listed = [source_of(other) for other in SOURCES]
    place = SOURCES.index(kind)
    assert set(listed[place].needs) <= {source.provides for source in listed[:place]}


@each
def test_an_option_it_does_not_have_is_refused_and_those_it_has_are_fixed(kind: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="no_such_option"):
        kind.model_validate({**options_of(kind), "no_such_option": 1})
    assert kind.model_config.get("frozen")
    assert source_of(kind) == source_of(kind)


@each
@every_profile
def test_it_makes_as_many_calls_as_it_says_and_none_more(kind: type[BaseModel], profile: Profile) -> None:
    said = source_of(kind).calls(profile)
    fact, made = gathered(kind, profile)
    assert 0 <= made == fact.cost.calls == said


@each
def test_more_answers_at_once_never_need_more_calls(kind: type[BaseModel]) -> None:
    needed = [source_of(kind).calls(Profile(n=n)) for n in range(1, 40)]
    assert needed == sorted(needed, reverse=True)
    assert needed[-1] >= 0


@each
@every_profile
def test_it_gathers_the_fact_it_provides_and_the_same_again(kind: type[BaseModel], profile: Profile) -> None:
    facts = [gathered(kind, profile)[0] for _ in range(2)]
    assert type(facts[0]) is source_of(kind).provides
    one, other = (replace(fact, cost=Cost()) for fact in facts)
    assert one == other


# --- requests saved: the tier of all sources at once ---------------------------------------------------------------


def entered(upstreams: dict[str, Scripted], signals: Iterable[Signal] = SIGNALS) -> Standing:
    """A round that gathers everything there is, and reads the signals off it."""
    profile = upstreams["small"].profile
    plan = replace(plan_over(upstreams), tiers=(tuple(source_of(kind) for kind in SOURCES),), signals=tuple(signals))
    driver = ThreadedDriver(world_of(upstreams))
    try:
        return driver.run(enter(plan, opening(profile)), Recording())
    finally:
        driver.close()


@pytest.mark.parametrize("n", [1, 3, 8])
def test_nothing_is_asked_twice_in_a_round_but_to_draw_again(n: int) -> None:
    upstreams = scripted(Profile(n=n))
    entered(upstreams)
    drawn = [effect for effect in asked(upstreams) if effect.temperature and effect.seed is None]
    keys = [effect_key(effect) for effect in asked(upstreams) if effect not in drawn]
    assert len(keys) == len(set(keys)) > 1
    if n == 8:  # all that is drawn from one request comes in one call
        keys = [effect_key(effect) for effect in drawn]
        assert len(keys) == len(set(keys)) > 0


def test_samples_come_in_one_call_where_the_upstream_gives_several() -> None:
    source = SamplesSource()
    for n, sizes in ((source.n, [source.n]), (source.n + 3, [source.n]), (3, [2, 3]), (1, [1] * source.n)):
        upstreams = scripted(Profile(n=n))
        entered(upstreams, ())
        messages = opening(Profile()).messages
        drawn = [e.n for e in asked(upstreams) if e.messages == messages and e.temperature == source.temperature]
        assert sorted(drawn) == sizes


def test_requests_that_do_not_wait_for_each_other_run_side_by_side() -> None:
    upstreams = scripted(Profile(n=1), seconds=0.1)
    began = time.monotonic()
    cost = entered(upstreams, ()).cost
    took = time.monotonic() - began
    assert cost.calls == len(asked(upstreams))
    assert took < 0.1 * cost.calls - 0.1 * (SamplesSource().n - 2)  # the samples alone spare that much


def test_more_signals_read_off_the_same_evidence_cost_no_call() -> None:
    bare, full = scripted(Profile()), scripted(Profile())
    assert entered(bare, ()).cost.calls == entered(full).cost.calls == len(asked(bare)) == len(asked(full))
    assert len(SIGNALS) > 20
