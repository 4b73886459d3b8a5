"""The seams' own code: evidence, rounds, and telling an upstream in this process from one behind a wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from gate.effects import Generate
from gate.evidence.draft import Draft
from gate.ports import Evidence, Fact, HttpRequest, Price, Profile, Round, is_local
from gate.types import Cost, Generation, Generations, Passage, Question, Stage
from gate.upstreams import UPSTREAMS
from tests.scripted import Scripted, always


@dataclass(frozen=True)
class Weather(Fact):
    dry: bool


@dataclass(frozen=True)
class Storm(Weather):
    """A fact that is another fact too."""


@dataclass(frozen=True)
class Wired:
    """Behind a wire; looking at its profile would load a model."""

    name: str = "wired"
    price: Price = Price()
    fingerprint: str = "f"
    kind: ClassVar[str] = "wired"

    @property
    def profile(self) -> Profile:
        raise AssertionError("nobody needs the profile to tell where it runs")

    def encode(self, effect: Generate) -> HttpRequest:
        return HttpRequest("http://127.0.0.1:1", {}, {})

    def decode(self, status: int, headers: Any, body: bytes) -> Generations:
        return Generations((Generation(""),))


DRAFT = Draft(Cost(calls=1), Generation("Nigeria"), "m")
DRY = Weather(Cost(), dry=True)


def test_evidence_finds_each_fact_by_its_class() -> None:
    evidence = Evidence().having(DRAFT).having(DRY)
    assert evidence.find(Draft) is DRAFT
    assert evidence.find(Weather) is DRY
    assert evidence.find(Storm) is None
    assert Evidence().find(Draft) is None


def test_what_voids_a_certificate_is_kept_beside_what_is_missing() -> None:
    evidence = Evidence().lacking(Weather, "no barometer").having(DRAFT)
    assert evidence.void == ()
    evidence = evidence.lacking(Storm, "another barometer", voids=True).having(DRY)
    assert evidence.void == ("another barometer",)
    assert evidence.missing == {Weather: "no barometer", Storm: "another barometer"}
    assert evidence.find(Draft) is DRAFT


def test_a_fact_is_found_under_its_own_class_alone() -> None:
    evidence = Evidence().having(Storm(Cost(), dry=False))
    assert evidence.find(Storm) == Storm(Cost(), dry=False)
    assert evidence.find(Weather) is None
    assert evidence.find(Fact) is None


def test_a_later_fact_takes_the_place_of_an_earlier_one() -> None:
    wet = Weather(Cost(), dry=False)
    assert Evidence().having(DRY).having(wet).find(Weather) is wet


def test_adding_to_evidence_leaves_what_it_came_from() -> None:
    empty = Evidence()
    first = empty.having(DRAFT)
    second = first.lacking(Weather, "no window")
    assert empty == Evidence({}, {})
    assert first == Evidence({Draft: DRAFT}, {})
    assert second == Evidence({Draft: DRAFT}, {Weather: "no window"})
    assert second.having(DRY).missing == {Weather: "no window"}


@pytest.mark.parametrize(
    ("passages", "tier", "stage"),
    [((), 0, Stage("small")), ((Passage("lagos", "Lagos is a city."),), 2, Stage("small", passages=True, tier=2))],
)
def test_a_round_knows_its_stage(passages: tuple[Passage, ...], tier: int, stage: Stage) -> None:
    question = Question.from_text("Where is Lagos?")
    assert Round(0, question, "small", Profile(), question.messages, passages).stage(tier) == stage


def test_an_upstream_is_local_when_it_completes_and_nothing_else_of_it_is_looked_at() -> None:
    assert is_local(Scripted("small", always("Nigeria")))
    assert not is_local(Wired())


@pytest.mark.parametrize("kind", UPSTREAMS, ids=lambda kind: kind.kind)
def test_every_upstream_is_either_local_or_wired(kind: Any) -> None:
    assert hasattr(kind, "complete") != (hasattr(kind, "encode") and hasattr(kind, "decode"))
