"""Gathering internal states: from the draft, by reading it again, by another upstream; and what is wrong with them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.drivers import Recording, ThreadedDriver, World
from gate.effects import Generate, ReadStates
from gate.errors import ConfigError, EvidenceUnavailable, UpstreamError
from gate.evidence import Draft, DraftSource, HiddenStates, HiddenStatesSource
from gate.evidence.draft import draft_of
from gate.hidden_states.block import NOTHING_READ, STOPPED, Block, unpacked
from gate.ports import Evidence, Price, Profile, Round
from gate.types import Cost, Generation, Generations, InternalStates, Message, Passage, Question, ToolCall, Usage
from gate.upstreams import PocketUpstream
from tests.hidden_states.blocks import MODEL, states

ASKED = "Which city serves as capital of France?"


@dataclass
class Read:
    """An upstream that gives the states it is told to."""

    name: str
    given: InternalStates | None = None
    why: str = ""
    profile: Profile = field(default_factory=lambda: Profile(states=True))
    price: Price = Price(prompt=1e6, completion=1e6)
    fingerprint: str = "read"
    asked: list[Generate] = field(default_factory=list)

    def complete(self, effect: Generate, cancelled: object) -> Generations:
        self.asked.append(effect)
        if self.why == "down":
            raise UpstreamError(self.name, "is down")
        return Generations((Generation("x", "length", states=self.given, no_states=self.why),), Usage(12, 1))


class Fitted:
    """Probes as the source asks them."""

    rounds = ("small/closed_book",)
    fingerprint = "fitted"

    def read(self, round_key: str, question: str, block: Block) -> dict[str, float]:
        if block.model != MODEL:
            raise ValueError("the probes were fitted for another model")
        return {"linear": float(len(question))}


def round_(upstream: str = "small", **changes: Any) -> Round:
    messages = (Message("user", ASKED),)
    return replace(Round(0, Question(messages), upstream, Profile(states=True), messages), **changes)


def gathered(
    source: HiddenStatesSource, draft: Generation, *, at: Round | None = None, upstreams: dict[str, Any] | None = None
) -> HiddenStates:
    driver = ThreadedDriver(World(upstreams or {}))
    try:
        fact = driver.run(source.gather(at or round_(), Evidence().having(Draft(Cost(), draft, "small"))), Recording())
    finally:
        driver.close()
    assert isinstance(fact, HiddenStates)
    return fact


def unavailable(source: HiddenStatesSource, draft: Generation, **options: Any) -> EvidenceUnavailable:
    with pytest.raises(EvidenceUnavailable) as caught:
        gathered(source, draft, **options)
    return caught.value


def test_what_came_with_the_draft_costs_nothing() -> None:
    fact = gathered(HiddenStatesSource(), Generation("Paris", states=states(3)))
    assert fact.cost == Cost()
    assert fact.block.model == MODEL
    assert fact.probes == {}
    assert "gate tune" in fact.unprobed
    assert HiddenStatesSource().calls(Profile()) == 0


def test_probes_are_asked_for_the_round_and_the_question() -> None:
    source = HiddenStatesSource().model_copy(update={"fitted": Fitted()})
    assert gathered(source, Generation("Paris", states=states())).probes == {"linear": float(len(ASKED))}
    other = gathered(source, Generation("Paris", states=states()), at=round_("large"))
    assert other.probes == {}
    assert "'large/closed_book'" in other.unprobed


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (states(model="f" * 16), "another model"),
        (dataclasses.replace(states(), features=states().features[:-8]), "digest"),
        (dataclasses.replace(states(), version=99), "version 99"),
    ],
)
def test_states_that_are_not_what_was_certified_void_a_certificate(given: InternalStates, reason: str) -> None:
    error = unavailable(HiddenStatesSource().model_copy(update={"fitted": Fitted()}), Generation("Paris", states=given))
    assert reason in str(error)
    assert error.voids


def test_a_server_that_sends_none_voids_a_certificate_and_an_answer_too_short_does_not() -> None:
    error = unavailable(HiddenStatesSource(), Generation("Paris"))
    assert "'small' gave no internal states" in str(error)
    assert error.voids
    said = unavailable(HiddenStatesSource(), Generation("Paris", no_states="the plugin is off"))
    assert (str(said), said.voids) == ("the plugin is off", True)
    short = unavailable(HiddenStatesSource(read_again=True), Generation("P", no_states=NOTHING_READ))
    assert (str(short), short.voids) == (NOTHING_READ, False)


def test_a_draft_that_came_without_is_read_again_where_that_was_asked_for() -> None:
    small = Read("small", states(5))
    at = round_(passages=(Passage("1", "Paris is in France."),))
    fact = gathered(HiddenStatesSource(read_again=True), Generation("Paris"), at=at, upstreams={"small": small})
    (effect,) = small.asked
    assert effect.messages[-1] == Message("assistant", "Paris")
    assert effect.max_tokens == 1
    assert effect.states == ReadStates(("Paris is in France.",), given=True)
    assert (fact.cost.calls, fact.cost.tokens, fact.cost.money) == (1, 13, 13.0)
    gathered(HiddenStatesSource(read_again=True), Generation("Paris", states=states()), upstreams={"small": small})
    assert len(small.asked) == 1  # what came with the draft need not be read again


def test_an_upstream_that_has_no_states_is_not_paid_to_read_again() -> None:
    small = Read("small", why="has none", profile=Profile(states=False))
    at = round_(profile=small.profile)
    error = unavailable(HiddenStatesSource(read_again=True), Generation("Paris"), at=at, upstreams={"small": small})
    assert "gave no internal states" in str(error)
    assert not small.asked


def test_reading_again_keeps_to_the_budget() -> None:
    small = Read("small", states(5))
    error = unavailable(
        HiddenStatesSource(read_again=True), Generation("Paris"), at=round_(calls_left=0), upstreams={"small": small}
    )
    assert "no room" in str(error)
    assert not error.voids
    assert not small.asked


def test_another_upstream_can_read_what_this_one_wrote() -> None:
    reader = Read("reader", states(7))
    source = HiddenStatesSource(read_by="reader")
    assert source.uses.upstreams == ("reader",)
    assert source.calls(Profile()) == 1
    fact = gathered(source, Generation("Paris", states=states(1)), upstreams={"reader": reader})
    np.testing.assert_array_equal(fact.block.numbers, unpacked(states(7)).numbers)
    assert reader.asked[0].upstream == "reader"


@pytest.mark.parametrize("why", ["down", "the tokens do not spell it"])
def test_what_a_reading_cost_is_counted_when_nothing_comes_of_it(why: str) -> None:
    reader = Read("reader", None, why)
    source = HiddenStatesSource(read_by="reader")
    with pytest.raises((EvidenceUnavailable, UpstreamError)) as caught:
        gathered(source, Generation("Paris"), upstreams={"reader": reader})
    assert getattr(caught.value, "voids", False) is (why != "down")  # a server that is down is still the same server
    assert caught.value.cost is not None
    assert caught.value.cost.calls == 1


@pytest.mark.parametrize(
    "draft",
    [Generation("", refusal="no"), Generation("  "), Generation("", tool_calls=(ToolCall("1", "f", "{}"),))],
)
def test_what_is_no_text_is_not_read(draft: Generation) -> None:
    reader = Read("reader", states())
    error = unavailable(HiddenStatesSource(read_by="reader"), draft, upstreams={"reader": reader})
    assert not error.voids
    assert not reader.asked


def test_probes_that_cannot_be_read_are_a_fault_of_the_policy(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no probes")
    for name in ("a.npz", "b.npz"):
        with pytest.raises(ConfigError, match=name):
            _ = HiddenStatesSource(path=str(tmp_path / name)).uses


def test_the_draft_asks_for_states_where_its_upstream_has_them() -> None:
    driver = ThreadedDriver(World({"small": PocketUpstream("small")}))
    seen = {}
    for source in (DraftSource(), DraftSource(states=True)):
        for profile in (Profile(), Profile(states=True)):
            fact = driver.run(source.gather(round_(profile=profile), Evidence()), Recording())
            assert isinstance(fact, Draft)
            seen[source.states, profile.states] = fact.generation
    driver.close()
    assert [generation.states is not None for generation in seen.values()] == [False, False, False, True]
    assert len({generation.text for generation in seen.values()}) == 1
    evidence = Evidence().having(Draft(Cost(), seen[True, True], "small"))
    assert draft_of(evidence).generation.states is not None


def test_an_answer_that_a_stop_string_ended_says_nothing_of_the_server() -> None:
    error = unavailable(HiddenStatesSource(), Generation("Paris", no_states=STOPPED))
    assert (str(error), error.voids) == (STOPPED, False)


def test_a_draft_is_read_again_against_the_prompt_it_was_written_to() -> None:
    """Chat templates put tools into the prompt; what only bears on the answer is left out."""
    small = Read("small", states(5))
    options = {"tools": [{"type": "function"}], "response_format": {"type": "json_object"}, "tool_choice": "required"}
    at = round_(question=Question((Message("user", ASKED),), options=options))
    gathered(HiddenStatesSource(read_again=True), Generation("Paris"), at=at, upstreams={"small": small})
    assert small.asked[0].extra == {"tools": [{"type": "function"}], "tool_choice": "none"}
