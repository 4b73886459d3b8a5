"""A flow that remembers is the flow, but for what it does not ask again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from gate.drivers import Recording, ThreadedDriver
from gate.drivers.world import tape_entry
from gate.effects import (
    Ask,
    Flow,
    Generate,
    Observe,
    Retrieve,
    effect_key,
    generate,
    observe,
    retrieve,
    together,
)
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.remembering import remembered
from gate.traces import TapeEntry
from gate.types import Action, Cost, Decision, Generation, Generations, SignalVector, Stage, Step
from tests.drivers.running import MESSAGES
from tests.scripted import Scripted, world_of

STEP = Step(Decision(Action.ABSTAIN, "because", Stage("small")), SignalVector(()), Cost())


class Notes:
    """What is remembered, by key, and what happened."""

    def __init__(self, *held: TapeEntry, refuse: bool = False) -> None:
        self.held: dict[str, deque[TapeEntry]] = {}
        for entry in held:
            self.held.setdefault(entry.key, deque()).append(entry)
        self.refuse = refuse
        self.noted = 0

    def recall(self, effect: Ask | Retrieve) -> TapeEntry | None:
        held = self.held.get(effect_key(effect))
        if not held and self.refuse:
            raise EvidenceUnavailable("no more")
        return held.popleft() if held else None

    def note(self) -> None:
        self.noted += 1


def ask(seed: int | None) -> Generate:
    return Generate("small", MESSAGES, seed=seed)


def said(seed: int | None, text: str) -> TapeEntry:
    return tape_entry(ask(seed), Cost(1, money=0.5), Generations((Generation(text),)))


def saying(seed: int | None) -> Flow[str]:
    reply = yield from generate(ask(seed))
    return f"{reply.value.choices[0].text}/{reply.cost.money:g}"


def numbering() -> Scripted:
    """Says how often it has been asked."""
    counter: Iterator[int] = iter(range(100))
    return Scripted("small", lambda effect, place: f"asked {next(counter)}")


def run(flow: Flow[Any], upstream: Scripted) -> tuple[Any, Recording]:
    recording, driver = Recording(), ThreadedDriver(world_of({"small": upstream}))
    try:
        return driver.run(flow, recording), recording
    finally:
        driver.close()


def test_what_is_held_is_not_asked_for_and_the_rest_is_noted() -> None:
    def both() -> Flow[tuple[str, str]]:
        return (yield from saying(1)), (yield from saying(2))

    memory, upstream = Notes(said(1, "held")), numbering()
    result, recording = run(remembered(both(), memory), upstream)
    assert [text.split("/")[0] for text in result] == ["held", "asked 0"]
    assert result[0] == "held/0.5"  # it cost what it cost
    assert [effect.seed for effect in upstream.asked] == [2]
    assert memory.noted == 1
    assert len(recording.tape) == 1


def test_the_same_request_again_is_another_one() -> None:
    def thrice() -> Flow[list[str]]:
        return [(yield from saying(None)), (yield from saying(None)), (yield from saying(None))]

    memory, upstream = Notes(said(None, "one"), said(None, "two")), numbering()
    result, _ = run(remembered(thrice(), memory), upstream)
    assert [text.split("/")[0] for text in result] == ["one", "two", "asked 0"]


def test_side_by_side_and_nested_it_is_the_same() -> None:
    def inner(seed: int) -> Flow[tuple[str, ...]]:
        return (yield from together([saying(seed), saying(seed + 1)]))

    memory, upstream = Notes(said(1, "one"), said(4, "four")), numbering()
    result, _ = run(remembered(together([inner(1), inner(3)]), memory), upstream)
    assert [[text.split("/")[0][:5] for text in pair] for pair in result] == [["one", "asked"], ["asked", "four"]]
    assert sorted(effect.seed or 0 for effect in upstream.asked) == [2, 3]
    assert memory.noted == 2


def test_searches_are_remembered_and_steps_go_through() -> None:
    def searching() -> Flow[tuple[int, int]]:
        first = yield from retrieve(Retrieve("world", "Lagos", 1))
        yield from observe(STEP)
        second = yield from retrieve(Retrieve("world", "Paris", 1))
        return len(first.value), len(second.value)

    memory = Notes(tape_entry(Retrieve("world", "Lagos", 1), Cost(), ()))
    result, recording = run(remembered(searching(), memory), numbering())
    assert result == (0, 1)  # nothing was found then, and that is an answer
    assert recording.steps == [STEP]
    assert memory.noted == 1


def test_a_failure_is_noted_and_reaches_the_flow() -> None:
    def coping() -> Flow[str]:
        try:
            yield from saying(1)
        except UpstreamError as error:
            return f"coped with {error}"
        return "fine"

    memory = Notes()
    result, _ = run(remembered(coping(), memory), Scripted("small", lambda e, i: UpstreamError("small", "is down")))
    assert result == "coped with upstream 'small': is down"
    assert memory.noted == 1


def test_where_nothing_may_be_asked_the_flow_hears_of_it_and_nothing_is_asked() -> None:
    def coping() -> Flow[str]:
        try:
            yield from together([saying(1), saying(2)])
        except EvidenceUnavailable as error:
            return str(error)
        return "fine"

    upstream = numbering()
    assert run(remembered(coping(), Notes(said(1, "one"), refuse=True)), upstream)[0] == "no more"
    assert not upstream.asked


def test_closing_it_closes_the_flow_and_notes_what_was_under_way() -> None:
    closed = []

    def flow() -> Flow[None]:
        try:
            yield from saying(1)
        finally:
            closed.append(True)

    memory = Notes()
    made = remembered(flow(), memory)
    assert next(made) == ask(1)
    made.close()
    assert closed == [True]
    assert memory.noted == 1


def test_an_error_that_nobody_catches_leaves_it() -> None:
    made = remembered(saying(1), Notes())
    next(made)
    with pytest.raises(UpstreamError, match="is down"):
        made.throw(UpstreamError("small", "is down"))


def test_a_step_passes_as_it_is() -> None:
    made = remembered(observe(STEP), Notes(refuse=True))
    assert next(made) == Observe(STEP)
    with pytest.raises(StopIteration):
        made.send(None)
