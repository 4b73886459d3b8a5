"""A budget of tokens and money is never exceeded, live or replayed, and what does not fit is never sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.assemble import load_gateway
from gate.drivers import Recording, ReplayDriver
from gate.effects import Effect, Embed, Entail, Flow, Generate, Reply, Retrieve, Together, embed, generate, together
from gate.errors import EvidenceUnavailable, UpstreamError, UpstreamTimeout
from gate.pipeline import answer
from gate.ports import Price, Profile
from gate.spending import Purse, Sum, Tally, metered, prompt_tokens, tallied
from gate.types import Budget, Cost, Generation, Generations, Message, Outcome, Question, Usage, Vectors
from tests.drivers.running import run
from tests.scripted import Scripted, plan_over, world_of

ASKED = Generate("small", (Message("user", "x" * 30),))  # 10 tokens, 4 for the message, 4 for the prompt
PRICES = {"small": Price(prompt=1.0, completion=2.0)}


@dataclasses.dataclass
class Obeying(Scripted):
    """Reports its usage and ends an answer at its limit; would say nine tokens."""

    prompt: int = 10
    honours_n: bool = True
    spent: Cost = Cost()

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        said = super().complete(dataclasses.replace(effect, n=effect.n if self.honours_n else 1), cancelled)
        length = min(9, effect.limit or 9)
        choices = tuple(
            dataclasses.replace(c, tokens=None, finish_reason="stop" if length == 9 else "length") for c in said.choices
        )
        written = length * len(choices)
        money = (self.prompt * self.price.prompt + written * self.price.completion) / 1e6
        self.spent += Cost(1, self.prompt, written, 0.0, money)
        return Generations(choices, Usage(self.prompt, written), self.name)


def wavering(effect: Generate, place: int) -> str:
    return f"{effect.upstream} {effect.seed} {place} {len(effect.messages[-1].content)}"


@settings(max_examples=60, deadline=None)
@given(
    budget=st.builds(
        Budget,
        calls=st.none() | st.integers(1, 9),
        tokens=st.none() | st.integers(1, 300),
        money=st.none() | st.floats(1e-7, 1e-3),
    ),
    prices=st.tuples(*[st.sampled_from([Price(), Price(1.0, 2.0), Price(0.0, 5.0), Price(3.0, 0.0)])] * 2),
    prompt=st.integers(1, 12),
    n=st.sampled_from([1, 2, 3, 8]),
    honours_n=st.booleans(),
    threaded=st.booleans(),
)
def test_no_more_is_spent_than_the_budget_and_a_replay_decides_the_same(
    budget: Budget, prices: tuple[Price, Price], prompt: int, n: int, honours_n: bool, threaded: bool
) -> None:
    upstreams: dict[str, Scripted] = {
        name: Obeying(name, wavering, profile=Profile(n=n), price=price, prompt=prompt, honours_n=honours_n)
        for name, price in zip(("small", "large"), prices, strict=True)
    }
    plan, asked = plan_over(upstreams, passages=True, budget=budget), Question.from_text("Where is Lagos?")
    outcome, recording = run(world_of(upstreams), answer(plan, asked), threaded=threaded)
    assert isinstance(outcome, Outcome)
    spent = sum((u.spent for u in upstreams.values() if isinstance(u, Obeying)), Cost())
    assert (outcome.cost.calls, outcome.cost.tokens) == (spent.calls, spent.tokens)
    assert outcome.cost.money == pytest.approx(spent.money)
    assert spent.tokens <= (budget.tokens or 10**9)
    assert spent.money <= (budget.money or 1.0) * (1 + 1e-9)
    assert ReplayDriver(recording.tape).run(answer(plan, asked), Recording()) == outcome


@pytest.mark.parametrize("tokens", [5, 20, 40, 60, 100])
def test_the_pocket_model_keeps_to_a_budget(tokens: int) -> None:
    gateway = load_gateway("balanced")
    for place in ("Lagos", "Timbuktu", "Popocatépetl"):
        outcome, trace = gateway.ask(Question.from_text(f"Where is {place}?"), budget=Budget(tokens=tokens))
        assert outcome.cost.tokens <= tokens
        assert gateway.replay(trace) == outcome
    gateway.close()


def test_without_room_for_a_draft_nothing_is_sent_and_gate_abstains() -> None:
    for budget in (Budget(tokens=5), Budget(money=1e-6)):
        upstreams = {"small": Obeying("small", wavering)}
        flow = answer(plan_over(upstreams, budget=budget), Question.from_text("Where is Lagos?"))
        outcome, recording = run(world_of(upstreams), flow, threaded=True)
        assert isinstance(outcome, Outcome)
        assert (outcome.text, outcome.decision.reason, outcome.cost) == ("I do not know.", "budget_spent", Cost())
        assert upstreams["small"].asked == []
        assert recording.tape == []


def test_a_way_that_does_not_fit_is_closed_for_want_of_budget() -> None:
    upstreams: dict[str, Scripted] = {name: Obeying(name, wavering) for name in ("small", "large")}
    upstreams["large"].price = Price(prompt=1000.0)
    plan = plan_over(upstreams, budget=Budget(money=1e-3))
    outcome, _ = run(world_of(upstreams), answer(plan, Question.from_text("Where is Lagos?")), threaded=True)
    assert isinstance(outcome, Outcome)
    assert outcome.decision.reason == "budget_spent"
    assert outcome.decision.detail == "escalate: what is left of the budget of money has no room for it"
    assert upstreams["large"].asked == []


# --- the purse ---------------------------------------------------------------------------------------------------


def drive(flow: Flow[Any], replies: Callable[[Effect], Any]) -> tuple[Any, list[Effect]]:
    """The flow's result and every effect that came through, with those side by side one after the other."""
    seen: list[Effect] = []

    def go(flow: Flow[Any]) -> Any:
        reply, error = None, None
        while True:
            try:
                effect = flow.throw(error) if error else flow.send(reply)
            except StopIteration as stop:
                return stop.value
            reply, error = None, None
            seen.append(effect)
            try:
                reply = tuple(go(f) for f in effect.flows) if isinstance(effect, Together) else replies(effect)
            except UpstreamError as raised:
                error = raised

    return go(flow), seen


def says(prompt: int, completion: int) -> Callable[[Effect], Reply[Generations]]:
    def reply(effect: Effect) -> Reply[Generations]:
        assert isinstance(effect, Generate)
        money = (prompt * 1.0 + completion * 2.0) / 1e6
        cost = Cost(1, prompt, completion, 0.0, money)
        return Reply(Generations((Generation("x"),) * effect.n, Usage(prompt, completion)), cost)

    return reply


def caps(seen: list[Effect]) -> list[int | None]:
    return [effect.cap for effect in seen if isinstance(effect, Generate)]


def twice(first: Generate, second: Generate) -> Flow[None]:
    yield from generate(first)
    yield from generate(second)


def test_an_answer_may_have_what_is_left_after_its_prompt_and_a_prompt_seen_before_is_known() -> None:
    for budget, expected in (
        (Budget(tokens=100), [100 - 18, 100 - 12 - 10]),
        (Budget(money=100e-6), [(100 - 18) // 2, (100 - 14 - 10) // 2]),
        (Budget(tokens=100, money=100e-6), [41, 38]),
        (Budget(), [None, None]),
    ):
        _, seen = drive(metered(twice(ASKED, ASKED), Purse.of(budget, PRICES)), says(10, 2))
        assert caps(seen) == expected


def test_several_answers_share_what_is_left_and_a_tighter_cap_stays() -> None:
    for asked, cap in ((dataclasses.replace(ASKED, n=4), 20), (dataclasses.replace(ASKED, cap=7), 7)):
        _, seen = drive(metered(generate(asked), Purse.of(Budget(tokens=98 + 3), PRICES)), says(10, 2))
        assert caps(seen) == [cap]


@pytest.mark.parametrize(("tokens", "sent"), [(18, 0), (19, 1), (28, 1), (29, 2)])
def test_what_leaves_no_token_to_an_answer_is_not_sent(tokens: int, sent: int) -> None:
    purse, seen = Purse.of(Budget(tokens=tokens), PRICES), list[Effect]()

    def reply(effect: Effect) -> Any:
        seen.append(effect)
        return says(18, 1)(effect)

    other = dataclasses.replace(ASKED, messages=(Message("user", "y"),))  # 1 + 4 + 4 tokens
    if sent == 2:
        drive(metered(twice(ASKED, other), purse), reply)
    else:
        with pytest.raises(EvidenceUnavailable, match="budget of tokens has no room"):
            drive(metered(twice(ASKED, other), purse), reply)
    assert len(seen) == sent
    assert purse.short == (sent < 2)


def test_flows_side_by_side_get_their_prompts_and_share_the_rest_by_answers() -> None:
    asked = [dataclasses.replace(ASKED, n=n) for n in (8, 2)]
    purse = Purse.of(Budget(tokens=236), PRICES)
    _, seen = drive(metered(together(generate(a) for a in asked), purse), says(10, 2))
    assert caps(seen) == [20, 20]
    assert purse.left == Sum(236 - 24, float("inf"))


def test_flows_side_by_side_begin_all_or_none() -> None:
    long = dataclasses.replace(ASKED, messages=(Message("user", "x" * 3000),))
    with pytest.raises(EvidenceUnavailable):
        drive(metered(together(generate(a) for a in (ASKED, long)), Purse.of(Budget(tokens=500), PRICES)), says(10, 2))


def test_one_flow_among_others_may_go_on_with_its_own_share() -> None:
    purse = Purse.of(Budget(tokens=300), PRICES)
    flow = together(twice(ASKED, ASKED) for _ in range(3))
    _, seen = drive(metered(flow, purse), says(10, 2))
    first, second = 100 - 18, 100 - 12 - 10
    assert caps(seen) == [first, second] * 3
    assert purse.left.tokens == 300 - 6 * 12


def test_a_failure_is_charged_what_it_said_it_cost_and_a_timeout_the_most_it_can_have() -> None:
    capped = dataclasses.replace(ASKED, max_tokens=5)
    for error, left in ((UpstreamError("small", "is down"), 97), (UpstreamTimeout("small", "late"), 100 - 18 - 5)):
        error.cost = Cost(1, 3) if left == 97 else Cost(1)
        purse = Purse.of(Budget(tokens=100), PRICES)
        flow = metered(generate(capped), purse)
        next(flow)
        with pytest.raises(UpstreamError):
            flow.throw(error)
        assert purse.left.tokens == left


def test_what_is_broken_off_is_charged_the_most_it_can_have_cost() -> None:
    purse = Purse.of(Budget(tokens=100), PRICES)
    flow = metered(generate(dataclasses.replace(ASKED, max_tokens=5)), purse)
    next(flow)
    flow.close()
    assert purse.left.tokens == 100 - 23


def test_a_priced_embedder_is_foreseen_and_one_of_this_process_is_free() -> None:
    texts = Embed("v", ("x" * 300,))
    free = Reply(Vectors(((1.0,),)), Cost())
    assert drive(metered(embed(texts), Purse.of(Budget(tokens=50), {})), lambda effect: free)[0] is free
    for asked in (texts, Entail("v", (("x" * 200, "y" * 100),))):
        flow: Flow[Any] = metered(one(asked), Purse.of(Budget(tokens=50), {"v": Price()}))
        with pytest.raises(EvidenceUnavailable, match="tokens"):
            next(flow)


def one(effect: Effect) -> Flow[Any]:
    return (yield effect)


@pytest.mark.parametrize(
    ("budget", "tight"),
    [
        (Budget(), [False, False, False]),
        (Budget(calls=6), [False, False, True]),  # twice leaves 4, then 3, then 2 of 6
        (Budget(calls=3), [True] * 3),
        (Budget(tokens=100), [False, False, True]),  # twice 23, then twice 15 after 12, then after 24
        (Budget(tokens=91), [True, False, True]),
        (Budget(money=113e-6), [False, False, True]),  # twice 28, then twice 20 after 14, then after 28
        (Budget(money=1.0), [False] * 3),
    ],
    ids=str,
)
def test_what_leaves_too_little_when_it_is_asked_twice_is_tight(budget: Budget, tight: list[bool]) -> None:
    def thrice() -> Flow[None]:
        for _ in range(3):
            yield from generate(dataclasses.replace(ASKED, max_tokens=5))

    _, seen = drive(metered(thrice(), Purse.of(budget, PRICES)), says(10, 2))
    assert [each.tight for each in seen if isinstance(each, Generate)] == tight


def test_what_is_asked_side_by_side_has_a_part_of_the_calls_each_and_embeddings_take_none() -> None:
    for calls, tight in ((16, False), (15, True)):  # a quarter: of 4, 2 are left
        purse = Purse.of(Budget(calls=calls), PRICES)
        _, seen = drive(metered(together(generate(ASKED) for _ in range(4)), purse), says(10, 2))
        assert [each.tight for each in seen if isinstance(each, Generate)] == [tight] * 4
        assert purse.called == 4
    asked = next(metered(one(Embed("v", ("x" * 300,))), Purse.of(Budget(calls=1), {})))
    assert isinstance(asked, Embed)
    assert not asked.tight
    asked = next(metered(one(Entail("v", (("x" * 200, "y" * 100),))), Purse.of(Budget(tokens=300), {"v": Price()})))
    assert isinstance(asked, Entail)
    assert asked.tight


def test_searches_pass_free() -> None:
    found: Reply[Any] = Reply((), Cost(seconds=1.0))
    purse = Purse.of(Budget(tokens=1), PRICES)
    assert drive(metered(one(Retrieve("world", "x", 1)), purse), lambda effect: found)[0] is found
    assert purse.left.tokens == 1


# --- what a failure cost -----------------------------------------------------------------------------------------


def test_an_error_carries_the_cost_of_all_that_came_before_it_in_its_flow() -> None:
    def flow() -> Flow[None]:
        yield from together(generate(ASKED) for _ in range(2))
        yield from one(Retrieve("world", "x", 1))
        yield from together([twice(ASKED, ASKED)])

    asked: list[Effect] = []

    def reply(effect: Effect) -> Any:
        asked.append(effect)
        if isinstance(effect, Retrieve):
            return Reply((), Cost(seconds=2.0))
        if len(asked) < 5:
            return Reply(None, Cost(1, 10, 2, 0.5))
        error = UpstreamError("small", "is down")
        error.cost = Cost(3, seconds=1.0)
        raise error

    tally = Tally()
    with pytest.raises(UpstreamError) as caught:
        drive(tallied(flow(), tally), reply)
    assert caught.value.cost == tally.paid == Cost(2 + 1 + 3, 30, 6, 0.5 + 2.0 + 0.5 + 1.0)


def test_samples_that_were_drawn_are_kept_when_there_is_no_room_for_the_rest() -> None:
    upstreams: dict[str, Scripted] = {"small": Obeying("small", wavering, honours_n=False)}
    plan = plan_over(upstreams, budget=Budget(tokens=55))  # a draft of 19, one sample of 15 or more, four more of 11
    outcome, _ = run(world_of(upstreams), answer(plan, Question.from_text("Where is Lagos?")), threaded=True)
    assert isinstance(outcome, Outcome)
    assert len(upstreams["small"].asked) == 2
    why = {reading.signal: reading.missing for reading in outcome.steps[0].signals.readings}
    assert why["vote_share"] == "one sample has no spread"  # it is there, but alone
    assert outcome.cost.calls == 2


# --- how long a prompt is ----------------------------------------------------------------------------------------


def test_a_prompt_is_counted_with_its_tools_fields_and_attachments() -> None:
    plain = (Message("user", "x" * 30),)
    assert prompt_tokens(plain, {}) == 18
    assert prompt_tokens((Message("user", "日本"),), {}) == 4 + 4 + 2
    assert prompt_tokens(plain, {"tools": ["y" * 300]}) > 18 + 100
    image = {"type": "image_url", "image_url": {"url": "data:" + "A" * 10**6}}
    wire = {"role": "user", "content": [{"type": "text", "text": "x" * 30}, image]}
    assert 1500 < prompt_tokens((Message("user", "x" * 30, wire),), {}) < 1600
    called = {"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "z" * 300}}]}
    assert prompt_tokens((Message("assistant", "", called),), {}) > 100
    assert prompt_tokens((Message("user", "half \ud800 pair"),), {}) > 8


def test_the_plan_of_a_policy_knows_every_price() -> None:
    gateway = load_gateway("balanced")
    assert gateway.plan.prices == {name: upstream.price for name, upstream in gateway.world.upstreams.items()}
    gateway.close()


@pytest.mark.parametrize("width", [3, 4])
def test_no_request_fans_out_wider_than_the_budget_allows(width: int) -> None:
    purse = Purse.of(Budget(fan_out=3), PRICES)
    side_by_side: Flow[Any] = together(generate(ASKED) for _ in range(width))
    one_request: Flow[Any] = generate(dataclasses.replace(ASKED, n=width))
    for flow, what in ((side_by_side, "requests side by side"), (one_request, "answers to one request")):
        if width == 3:
            next(metered(flow, purse))
            continue
        with pytest.raises(EvidenceUnavailable, match=f"it takes 4 {what}: the budget's fan_out allows 3"):
            next(metered(flow, purse))
    assert not purse.short, "it is no matter of what is left"


def test_flows_side_by_side_are_held_to_the_same_width() -> None:
    wide: Flow[Any] = together([together(generate(ASKED) for _ in range(4))])
    begun = next(metered(wide, Purse.of(Budget(fan_out=3), PRICES)))
    assert isinstance(begun, Together)
    with pytest.raises(EvidenceUnavailable, match="side by side"):
        next(begun.flows[0])
