"""What drivers share: deadlines, learned refusals, costs."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from gate.drivers import World
from gate.drivers.world import NO_DEADLINE, cost_of, in_full
from gate.effects import Embed, Entail, Generate
from gate.embedders import HashedNgrams
from gate.errors import UpstreamError
from gate.ports import Price
from gate.types import Entailment, Entailments, Generation, Generations, Usage, Vectors
from tests.drivers.running import MESSAGES
from tests.scripted import Scripted, always

ASKED = Generate("small", MESSAGES, n=3, seed=5, logprobs=2)


def test_a_call_ends_by_the_earlier_of_the_runs_deadline_and_its_own() -> None:
    world = World({}, timeouts={"small": 10})
    now = time.monotonic()
    assert world.deadline("small", now + 3) == now + 3
    assert now + 9.5 < world.deadline("small", NO_DEADLINE) < now + 11
    assert world.deadline("other", NO_DEADLINE) == NO_DEADLINE


def test_a_field_that_was_refused_once_is_left_out_from_then_on_and_no_other() -> None:
    world = World({})
    refusal = UpstreamError("small", "unknown parameter: 'seed'", status=400)
    assert world.trimmed(ASKED) == ASKED
    assert world.learn(ASKED, refusal)
    assert world.trimmed(ASKED) == replace(ASKED, seed=None)
    assert not world.learn(ASKED, refusal), "asking the same again would not help"
    assert world.trimmed(replace(ASKED, upstream="other")) == replace(ASKED, upstream="other")
    assert not world.learn(ASKED, UpstreamError("small", "the moon is full", status=400))


def test_a_call_costs_its_tokens_at_the_upstreams_price_and_nothing_but_time_when_it_failed() -> None:
    world = World({"small": Scripted("small", always("x"))})  # $1 and $2 a million
    began = time.monotonic()
    paid = cost_of(world, ASKED, 2, began, Generations((Generation("x"),), Usage(10, 5)))
    assert (paid.calls, paid.prompt_tokens, paid.completion_tokens) == (2, 10, 5)
    assert paid.money == pytest.approx(20e-6)
    failed = cost_of(world, ASKED, 4, began)
    assert (failed.calls, failed.tokens, failed.money) == (4, 0, 0.0)


def test_an_embedding_costs_tokens_and_money_but_is_no_call() -> None:
    world = World({}, embedders={"v": HashedNgrams("v", price=Price(prompt=1.0))})
    paid = cost_of(world, Embed("v", ("a",)), 1, time.monotonic(), Vectors(((1.0,),), Usage(7)))
    assert (paid.calls, paid.prompt_tokens) == (0, 7)
    assert paid.money == pytest.approx(7e-6)


def test_the_endpoint_of_an_effect_is_found_among_its_kind() -> None:
    small, hashed = Scripted("small", always("x")), HashedNgrams("v")
    world = World({"small": small}, embedders={"v": hashed})
    assert world.endpoint(ASKED) is small
    assert world.endpoint(Embed("v", ())) is hashed
    assert world.trimmed(Embed("v", ("a",))) == Embed("v", ("a",))
    assert not world.learn(Embed("v", ("a",)), UpstreamError("v", "unknown parameter: 'seed'", status=400))


def test_a_reply_holds_a_part_for_each_part_that_was_asked_for() -> None:
    vectors, verdicts = Vectors(((1.0,),)), Entailments((Entailment(1, 0, 0),))
    assert in_full(Embed("v", ("a",)), vectors) is vectors
    assert in_full(Entail("j", (("a", "b"),)), verdicts) is verdicts
    with pytest.raises(UpstreamError, match="'v': gave 1 vectors for 2 texts"):
        in_full(Embed("v", ("a", "b")), vectors)
    with pytest.raises(UpstreamError, match="'j': gave 1 verdicts for 0 pairs"):
        in_full(Entail("j", ()), verdicts)
    fewer = Generations((Generation("a"),))
    assert in_full(ASKED, fewer) is fewer, "an upstream may give fewer answers than were asked of it"
