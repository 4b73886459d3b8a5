"""Rephrasings: one call for readings, and their vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from pydantic import ValidationError

from gate.drivers import Recording, ReplayDriver, ThreadedDriver
from gate.effects import Embed
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence import Rephrasings, RephrasingsSource
from gate.ports import Evidence, Price, Profile, Round, Uses
from gate.types import Question, Vectors
from tests.scripted import Scripted, always, world_of

ASKED = Question.from_text("Where is it?")
OPENING = Round(0, ASKED, "small", Profile(), ASKED.messages)
READINGS = "Where is Lagos?\nWhere is Paris?\nWhere is Nigeria?"


@dataclass
class Broken:
    """An embedder that is down."""

    name: str = "hashed"
    price: Price = field(default_factory=Price)
    fingerprint: str = "broken"

    def complete(self, effect: Embed, cancelled: Callable[[], bool]) -> Vectors:
        raise UpstreamError(self.name, "is down")


def test_the_question_and_its_readings_are_embedded_for_one_call() -> None:
    upstream = Scripted("small", always(READINGS))
    driver, recording, source = ThreadedDriver(world_of({"small": upstream})), Recording(), RephrasingsSource(n=3)
    fact = driver.run(source.gather(OPENING, Evidence()), recording)
    driver.close()
    assert isinstance(fact, Rephrasings)
    assert fact.texts == tuple(READINGS.splitlines())
    assert len(fact.vectors) == 4
    assert all(sum(x * x for x in vector) == pytest.approx(1.0) for vector in fact.vectors)
    assert fact.cost.calls == len(upstream.asked) == source.calls(Profile()) == 1
    assert [entry.kind for entry in recording.tape] == ["generate", "embed"]
    assert ReplayDriver(recording.tape).run(source.gather(OPENING, Evidence()), Recording()) == fact


def test_when_the_embedder_fails_the_call_before_is_paid() -> None:
    world = world_of({"small": Scripted("small", always(READINGS))})
    world.embedders = {"hashed": Broken()}
    driver = ThreadedDriver(world)
    with pytest.raises(EvidenceUnavailable, match="'hashed': is down") as caught:
        driver.run(RephrasingsSource().gather(OPENING, Evidence()), Recording())
    driver.close()
    assert caught.value.cost is not None
    assert caught.value.cost.calls == 1


@dataclass
class Uneven(Broken):
    """An embedder whose last vector is not like the others."""

    last: tuple[float, ...] = (1.0,)

    def complete(self, effect: Embed, cancelled: Callable[[], bool]) -> Vectors:
        return Vectors((*((1.0, 0.0) for _ in effect.texts[1:]), self.last))


@pytest.mark.parametrize("last", [(1.0,), (1.0, float("nan")), (float("inf"), 0.0), ()])
def test_vectors_that_cannot_be_compared_are_no_evidence(last: tuple[float, ...]) -> None:
    world = world_of({"small": Scripted("small", always(READINGS))})
    world.embedders = {"hashed": Uneven(last=last)}
    driver = ThreadedDriver(world)
    with pytest.raises(EvidenceUnavailable, match="'hashed' gave no vector of one length for each text") as caught:
        driver.run(RephrasingsSource().gather(OPENING, Evidence()), Recording())
    driver.close()
    assert caught.value.cost is not None
    assert caught.value.cost.calls == 1


def test_it_names_its_embedder_and_its_prompt() -> None:
    assert RephrasingsSource(embedder="mine").uses == Uses(embedders=("mine",), prompts=("readings",))


@pytest.mark.parametrize("wrong", [{"n": 1}, {"n": 33}, {"temperature": -1}, {"temperature": 2.1}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        RephrasingsSource.model_validate(wrong)
