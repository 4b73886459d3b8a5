"""Answers that are brought along, between a flow and a driver: what is told, what is asked of whom, what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gate.drivers import Recording
from gate.drivers.replay import ReplayDriver
from gate.effects import Draws, Effect, Flow, Generate, HandOver, Retrieve, generate, hand_over, retrieve, together
from gate.errors import UpstreamError
from gate.given import (
    BROUGHT,
    FOREIGN,
    Given,
    More,
    as_brought,
    of_own,
    opening_of,
    paid,
    standing_for,
    standing_in,
    telling,
)
from gate.ports import Price, Profile, Round
from gate.types import Cost, Generation, Generations, Message, Passage, Question, Usage
from tests.drivers.running import both, run
from tests.scripted import Scripted, always, world_of

ASKED = Question.from_text("Where is Lagos?")
MESSAGES = ASKED.messages
DRAFT = Generation("Nigeria")
PRICES = {"small": Price(1.0, 2.0)}
SAMPLES = tuple(Generation(text) for text in "abc")


def drawing(n: int = 1) -> Generate:
    return Generate("small", MESSAGES, n=n, temperature=1.0, part_of=Draws(None))


def opening(given: Given, **how: bool) -> Round:
    made = as_brought(given, "small", Profile(), (FOREIGN,) if how.get("foreign") else ())
    return opening_of(ASKED, made, Profile(), reads=how.get("reads", False))


def brought(given: Given, flow: Flow[Any], recording: Recording | None = None) -> Flow[Any]:
    recording = recording or Recording()
    return standing_for(telling(given, opening(given), recording)(flow), given, opening(given), PRICES, recording)


def performed(given: Given, flow: Flow[Any], *, threaded: bool = True) -> tuple[Any, list[Any], Scripted]:
    """The result of a flow with an answer brought along, its tape, and the upstream beneath."""
    small, recording = Scripted("small", always("asked")), Recording()
    result, beneath = run(world_of({"small": small}), brought(given, flow, recording), threaded=threaded)
    return result, [*recording.tape, *beneath.tape], small


def texts(reply: Any) -> list[str]:
    return [choice.text for choice in reply.value.choices]


def drafted_then(*effects: Generate) -> Flow[Any]:
    """A draft, and then these one by one: their texts, or what was said of each that failed."""

    def flow() -> Iterator[Effect]:
        said: list[Any] = [texts((yield from generate(Generate("small", MESSAGES))))]
        for effect in effects:
            try:
                said.append(texts((yield from generate(effect))))
            except UpstreamError as error:
                said.append(error.cause)
        return said

    return flow()  # type: ignore[return-value]


# --- what was given ----------------------------------------------------------------------------------------------


@both
def test_the_first_request_is_told_the_draft_and_draws_are_told_the_samples_each_once(threaded: bool) -> None:
    given = Given(DRAFT, Cost(1, 7, 2, 0.5, 0.1), SAMPLES, model="m-1")
    said, tape, small = performed(given, drafted_then(drawing(2), drawing(2), drawing(1)), threaded=threaded)
    assert said == [["Nigeria"], ["a", "b"], ["c"], "no more samples were given"]
    assert not small.asked
    assert [entry.cost for entry in tape] == [given.cost, Cost(), Cost(), Cost()]
    assert [entry.failure and entry.failure.cause for entry in tape] == [None, None, None, "no more samples were given"]
    assert (tape[0].generations.usage, tape[0].generations.model) == (Usage(7, 2), "m-1")


def test_what_is_told_is_on_the_tape_as_if_it_had_been_asked_for() -> None:
    given, recording = Given(DRAFT, samples=SAMPLES), Recording()
    said, _ = run(world_of({}), brought(given, drafted_then(drawing(2), drawing(2)), recording), threaded=True)
    replay = ReplayDriver(recording.tape, PRICES)
    assert replay.run(drafted_then(drawing(2), drawing(2)), Recording()) == said


@both
def test_samples_are_told_to_whoever_comes_first_where_several_are_drawn_side_by_side(threaded: bool) -> None:
    def flow() -> Flow[Any]:
        yield from generate(Generate("small", MESSAGES))
        replies = yield from together([generate(drawing()) for _ in SAMPLES])
        return sorted(text for reply in replies for text in texts(reply))

    said, _, small = performed(Given(DRAFT, samples=SAMPLES), flow(), threaded=threaded)
    assert (said, small.asked) == (["a", "b", "c"], [])


def test_a_draw_of_another_prompt_is_not_told_the_samples() -> None:
    otherwise = Generate("small", (Message("user", "put otherwise"),), part_of=Draws(None))
    said, _, _ = performed(Given(DRAFT, samples=SAMPLES), drafted_then(otherwise, drawing(1)))
    assert said == [["Nigeria"], "cannot be asked this: its answer was brought along", ["a"]]


# --- what may be asked beyond that -------------------------------------------------------------------------------


@pytest.mark.parametrize("gather", [True, False])
def test_others_are_asked_only_where_it_may_gather(gather: bool) -> None:
    large = Scripted("large", always("from large"))
    flow = drafted_then(Generate("large", MESSAGES), drawing(1), Generate("small", (Message("user", "sure?"),)))
    world = world_of({"small": Scripted("small", always("asked")), "large": large})
    said, _ = run(world, brought(Given(DRAFT, gather=gather), flow), threaded=True)
    if gather:
        assert said == [["Nigeria"], ["from large"], ["asked"], ["asked"]]
    else:
        refused = "is not asked: only what was given is judged"
        told = ["no more samples were given", "cannot be asked this: its answer was brought along"]
        assert said == [["Nigeria"], refused, *told]
    assert len(large.asked) == gather


def test_no_person_is_told_of_an_answer_that_is_only_judged() -> None:
    flow = brought(Given(DRAFT), hand_over(HandOver("ann", MESSAGES, "uncertain")))
    with pytest.raises(UpstreamError, match="'ann': is not told: only what was given is judged"):
        flow.send(None)
    gathering = brought(Given(DRAFT, gather=True), hand_over(HandOver("ann", MESSAGES, "uncertain")))
    assert isinstance(gathering.send(None), HandOver)
    gathering.close()


def test_what_is_no_request_for_text_goes_through() -> None:
    flow = brought(Given(DRAFT), retrieve(Retrieve("world", "lagos", 1)))
    assert flow.send(None) == Retrieve("world", "lagos", 1)
    flow.close()


# --- code of the caller's ----------------------------------------------------------------------------------------


def asking(threaded: bool, function: Callable[[Generate], Generations]) -> Callable[[Generate], Any]:
    async def awaited(effect: Generate) -> Generations:
        return function(effect)

    return function if threaded else awaited


def more(threaded: bool, function: Callable[[Generate], Generations], **how: bool) -> More:
    return More(asking(threaded, function), Profile(n=2), **how)


@both
def test_more_answers_are_got_by_code_of_the_callers_and_paid_for(threaded: bool) -> None:
    asked = []

    def ask(effect: Generate) -> Generations:
        asked.append(effect)
        return Generations((Generation("x"),) * effect.n, Usage(10, 4), "m-1")

    given = Given(DRAFT, samples=SAMPLES[:1], more=more(threaded, ask))
    said, tape, small = performed(given, drafted_then(drawing(2), drawing(2)), threaded=threaded)
    assert said == [["Nigeria"], ["a"], ["x", "x"]]
    assert (asked, small.asked) == ([drawing(2)], [])
    cost = tape[-1].cost
    assert (cost.calls, cost.prompt_tokens, cost.completion_tokens, cost.money) == (1, 10, 4, (10 + 8) / 1e6)


@both
def test_what_that_code_raises_is_an_upstreams_failure_of_which_only_the_kind_is_told(threaded: bool) -> None:
    def broken(effect: Generate) -> Generations:
        raise ValueError("the user's own words")

    said, tape, _ = performed(Given(DRAFT, more=more(threaded, broken)), drafted_then(drawing(1)), threaded=threaded)
    assert said == [["Nigeria"], "failed: ValueError"]
    assert tape[-1].failure.cause == "failed: ValueError"
    assert tape[-1].cost.calls == 1, "it was called all the same"


@both
@pytest.mark.parametrize("anything", [True, False])
def test_it_is_asked_other_things_only_where_it_can_be(threaded: bool, anything: bool) -> None:
    given = Given(DRAFT, more=more(threaded, lambda _: Generations((Generation("yes"),)), anything=anything))
    sure = Generate("small", (Message("user", "Are you sure?"),))
    said, _, _ = performed(given, drafted_then(sure), threaded=threaded)
    assert said[1] == (["yes"] if anything else "cannot be asked this: its answer was brought along")


@pytest.mark.parametrize("side_by_side", [True, False])
def test_one_that_is_asked_one_by_one_is_called_on_the_callers_own_thread(side_by_side: bool) -> None:
    threads = []

    def ask(effect: Generate) -> Generations:
        threads.append(threading.current_thread())
        return Generations((Generation("x"),))

    def flow() -> Flow[Any]:
        yield from generate(Generate("small", MESSAGES))
        return (yield from together([generate(drawing()) for _ in range(3)]))

    performed(Given(DRAFT, more=more(True, ask, side_by_side=side_by_side)), flow())
    assert len(threads) == 3
    assert (set(threads) == {threading.current_thread()}) is not side_by_side


def test_a_failure_among_those_asked_one_by_one_closes_the_rest() -> None:
    closed = []

    def waits(name: str) -> Flow[Any]:
        try:
            return (yield from generate(drawing()))
        finally:
            closed.append(name)

    def broken(effect: Generate) -> Generations:
        raise ValueError

    def flow() -> Flow[Any]:
        yield from generate(Generate("small", MESSAGES))
        return (yield from together([waits("first"), waits("second")]))

    with pytest.raises(UpstreamError, match="failed: ValueError"):
        performed(Given(DRAFT, more=more(True, broken, side_by_side=False)), flow())
    assert closed == ["first"], "the second was never begun"


# --- how it is judged --------------------------------------------------------------------------------------------


def test_the_round_it_is_judged_in_holds_the_passages_where_the_policy_knows_of_such_answers() -> None:
    shelf = (Passage("1", "Lagos is in Nigeria."),)
    given = Given(DRAFT, passages=shelf)
    read, unread = opening(given, reads=True), opening(given)
    assert (read.passages, read.found, read.stage(0).passages) == (shelf, shelf, True)
    assert (unread.passages, unread.found, unread.stage(0).passages) == ((), shelf, False)
    assert (opening(given).void, opening(given, foreign=True).void) == ((), (FOREIGN,))


def test_who_stands_in_can_do_what_is_known_of_it() -> None:
    theirs, own = Profile(n=3, top_logprobs=2), Profile(n=1)
    assert standing_in(Given(DRAFT, more=More(lambda _: None, own)), theirs) == own
    assert standing_in(Given(DRAFT, gather=True), theirs) == theirs
    only = standing_in(Given(DRAFT), theirs)
    assert (only.n, only.top_logprobs) == (BROUGHT.n, 2), "one request is told all samples there are"


def test_what_a_call_costs_is_reckoned_by_the_price_of_who_it_stands_for() -> None:
    assert paid(Usage(1000, 500), Price(1.0, 2.0), 0.25) == Cost(1, 1000, 500, 0.25, 0.002)


@pytest.mark.parametrize("more", [None, More(lambda effect: None, Profile())])
def test_code_that_stands_for_an_upstream_is_not_heard_by_its_name(more: More | None) -> None:
    heard = of_own(
        lambda upstream, said: f"{upstream} is {said}", as_brought(Given(DRAFT, more=more), "small", Profile(), ())
    )
    assert heard("large", "m") == "large is m"
    assert heard("small", "m") == ("" if more else "small is m")
