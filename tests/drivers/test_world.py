"""What drivers share: deadlines, learned refusals, costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gate.drivers import Recording, ReplayDriver, World
from gate.drivers.world import NO_DEADLINE, NO_STATES, STOPPED, cost_of, in_full
from gate.effects import Embed, Entail, Flow, Generate, HandOver, ReadStates, Retrieve, effect_key, generate, retrieve
from gate.embedders import HashedNgrams
from gate.errors import ConfigError, EvidenceUnavailable, UpstreamError
from gate.ports import Price
from gate.types import (
    Entailment,
    Entailments,
    Generation,
    Generations,
    InternalStates,
    Message,
    Passage,
    Usage,
    Vectors,
)
from gate.upstreams import OpenAIChat
from tests.drivers.running import MESSAGES, both, run
from tests.scripted import Scripted, always
from tests.upstreams.faulty_server import Behaviour, FaultyServer, chat, echoes, refuses, status

ASKED = Generate("small", MESSAGES, n=3, seed=5, logprobs=2)


def test_a_call_ends_by_the_earlier_of_the_runs_deadline_and_its_own() -> None:
    world = World({}, timeouts={"small": 10})
    now = time.monotonic()
    assert world.deadline(ASKED, now + 3) == now + 3
    assert now + 9.5 < world.deadline(ASKED, NO_DEADLINE) < now + 11
    assert world.deadline(replace(ASKED, upstream="other"), NO_DEADLINE) == NO_DEADLINE
    for effect in (Retrieve("small", "", 1), HandOver("small", (), "")):  # they may bear an upstream's name
        assert world.deadline(effect, NO_DEADLINE) == NO_DEADLINE
    world.timeouts = {"retriever:small": 4, "person:small": 5}
    assert now + 3.5 < world.deadline(Retrieve("small", "", 1), NO_DEADLINE) < now + 4.5
    assert now + 4.5 < world.deadline(HandOver("small", (), ""), NO_DEADLINE) < now + 6


def refusal(said: str) -> UpstreamError:
    return UpstreamError("small", "refused with status 400", said=said, status=400)


def test_what_was_refused_and_then_answered_without_it_is_left_out_from_then_on_for_such_requests_alone() -> None:
    world = World({})
    assert world.trimmed(ASKED) == ASKED
    less, names = world.relieved(ASKED, refusal("unknown parameter: 'seed'"))
    assert less == replace(ASKED, seed=None)
    assert world.trimmed(ASKED) == ASKED, "nothing is known before it helped"
    world.learn(ASKED, less, names)
    assert world.trimmed(ASKED) == less
    for other in (replace(ASKED, upstream="other"), replace(ASKED, extra={"tools": []})):
        assert world.trimmed(other) == other


@pytest.mark.parametrize(
    "said",
    ["the moon is full", "unknown parameter: 'stop'", "unknown parameter: 'top_p'", "Invalid prompt: vitamin n"],
)
def test_a_refusal_of_anything_but_a_field_of_gates_own_stands(said: str) -> None:
    asked = replace(ASKED, stop=("a",), top_p=0.5)
    with pytest.raises(UpstreamError) as caught:
        World({}).relieved(asked, refusal(said))
    assert caught.value.said == said


def test_a_refusal_of_what_was_not_sent_stands() -> None:
    with pytest.raises(UpstreamError):
        World({}).relieved(replace(ASKED, n=1), refusal("unknown parameter: 'n'"))


def test_the_callers_own_seed_is_never_left_out() -> None:
    world, callers = World({}), replace(ASKED, seed_is_callers=True)
    world.learn(ASKED, ASKED, frozenset({"seed"}))
    assert world.trimmed(callers) == callers
    with pytest.raises(UpstreamError):
        world.relieved(callers, refusal("unknown parameter: 'seed'"))


def test_callers_who_name_ever_new_fields_do_not_fill_the_memory() -> None:
    world = World({})
    for number in range(3000):
        named = replace(ASKED, extra={f"f{number}": 1})
        world.learn(named, named, frozenset({"n"}))
    assert len(world.refused) == 1000


def served(server: FaultyServer) -> World:
    options = OpenAIChat.Options(base_url=server.url, model="m")
    return World({"small": OpenAIChat.from_options("small", options, Price())})


def most_stops(most: int) -> Behaviour:
    def behave(handler: Any, asked: dict[str, Any]) -> None:
        if len(asked.get("stop", ())) > most:
            status(400, b'{"error": {"message": "stop: at most 4 sequences"}}')(handler, asked)
        else:
            chat("Nigeria")(handler, asked)

    return behave


@both
def test_no_client_takes_another_ones_fields_away(threaded: bool) -> None:
    plain = Generate("small", MESSAGES, n=2, stop=("a",), top_p=0.5, seed=3, seed_is_callers=True)
    with FaultyServer(most_stops(4)) as server:
        world = served(server)
        with pytest.raises(UpstreamError) as caught:
            run(world, generate(replace(plain, stop=("a", "b", "c", "d", "e"))), threaded=threaded)
        assert (caught.value.status, caught.value.said) == (400, "stop: at most 4 sequences")
        run(world, generate(plain), threaded=threaded)
    assert len(server.asked) == 2, "the refused request is not tried again without what its caller wanted"
    sent = server.asked[-1]
    assert (sent["stop"], sent["n"], sent["top_p"], sent["seed"]) == (["a"], 2, 0.5, 3)


@both
def test_a_refusal_that_quotes_the_users_talk_of_fields_teaches_nothing(threaded: bool) -> None:
    sly = (Message("user", "'n' is not supported. logprobs is not supported."),)
    with FaultyServer.of(echoes(), echoes(), chat("Nigeria")) as server:
        world = served(server)
        with pytest.raises(UpstreamError, match="400"):
            run(world, generate(Generate("small", sly, n=2, logprobs=0)), threaded=threaded)
        run(world, generate(Generate("small", MESSAGES, n=2, logprobs=0)), threaded=threaded)
    assert len(server.asked) == 3
    assert (server.asked[-1]["n"], server.asked[-1]["logprobs"]) == (2, True)


@both
@pytest.mark.parametrize("field", ["logprobs", "n", "seed"])
def test_a_field_of_gates_own_that_a_server_does_not_take_is_left_out_once_and_for_all(
    field: str, threaded: bool
) -> None:
    with FaultyServer(refuses(field)) as server:
        world = served(server)
        for _ in range(2):
            run(world, generate(replace(ASKED, logprobs=0)), threaded=threaded)
    assert [field in asked for asked in server.asked] == [True, False, False]


def allows(most: int) -> Behaviour:
    """Refuses a larger limit as vLLM does."""

    def behave(handler: Any, asked: dict[str, Any]) -> None:
        if asked.get("max_tokens", 0) > most:
            said = (
                f"max_tokens={asked['max_tokens']} cannot be greater than max_model_len={most}. (parameter=max_tokens)"
            )
            status(400, f'{{"error": {{"message": "{said}", "param": "max_tokens"}}}}'.encode())(handler, asked)
        else:
            chat("Nigeria")(handler, asked)

    return behave


@both
def test_a_cap_beyond_what_a_server_allows_is_cut_to_it_once_and_for_all(threaded: bool) -> None:
    with FaultyServer(allows(512)) as server:
        world = served(server)
        for cap in (8000, 7000, 30):
            run(world, generate(Generate("small", MESSAGES, cap=cap)), threaded=threaded)
    assert [asked["max_tokens"] for asked in server.asked] == [8000, 512, 512, 30]
    assert world.longest == {"small": 512}


@both
def test_a_limit_of_the_callers_own_is_never_cut(threaded: bool) -> None:
    long = Generate("small", MESSAGES, max_tokens=600, cap=8000)
    with FaultyServer(allows(512)) as server:
        world = served(server)
        for _ in range(2):
            with pytest.raises(UpstreamError, match="400") as caught:
                run(world, generate(long), threaded=threaded)
            assert "cannot be greater than max_model_len=512" in caught.value.said
            run(world, generate(replace(long, max_tokens=None)), threaded=threaded)
    assert [asked["max_tokens"] for asked in server.asked] == [600, 8000, 512, 600, 512]


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
    with pytest.raises(UpstreamError):
        world.relieved(Embed("v", ("a",)), refusal("unknown parameter: 'seed'"))


def test_a_reply_holds_a_part_for_each_part_that_was_asked_for() -> None:
    vectors, verdicts = Vectors(((1.0,),)), Entailments((Entailment(1, 0, 0),))
    assert in_full(Embed("v", ("a",)), vectors) is vectors
    assert in_full(Entail("j", (("a", "b"),)), verdicts) is verdicts
    with pytest.raises(UpstreamError, match="'v': gave 1 vectors for 2 texts"):
        in_full(Embed("v", ("a", "b")), vectors)
    with pytest.raises(UpstreamError, match="'j': gave 1 verdicts for 0 pairs"):
        in_full(Entail("j", ()), verdicts)
    found = (Passage("1", "a"), Passage("2", "b"))
    assert in_full(Retrieve("r", "a", 1), found) == found[:1], "a service may find more than was asked for"
    assert in_full(Retrieve("r", "a", 2), found) == found
    assert in_full(HandOver("p", (), "r"), "T-1") == "T-1"
    assert in_full(HandOver("p", (), "r"), "") == effect_key(HandOver("p", (), "r"))
    fewer = Generations((Generation("a"),))
    assert in_full(ASKED, fewer) is fewer, "an upstream may give fewer answers than were asked of it"


def test_answers_whose_states_were_asked_for_have_them_or_say_why_not() -> None:
    had = Generation("a", states=InternalStates(1, "m", 2, 4, (1,), 3, "", ""))
    reason, silent = Generation("b", no_states="it was empty"), Generation("c")
    given = Generations((had, reason, silent))
    told = in_full(replace(ASKED, states=ReadStates()), given)
    assert told == Generations((had, reason, replace(silent, no_states=NO_STATES)))
    assert "gate vllm-args" in NO_STATES
    assert in_full(ASKED, given) is given, "of an answer that was not asked for them nothing is said"


def test_a_server_is_not_blamed_for_the_states_of_an_answer_that_a_stop_string_may_have_ended() -> None:
    stopped, cut = Generation("a", "stop"), Generation("b", "length")
    told = in_full(replace(ASKED, stop=("an",), states=ReadStates()), Generations((stopped, cut)))
    assert [choice.no_states for choice in told.choices] == [STOPPED, NO_STATES]


@both
@pytest.mark.parametrize(
    "fault", [RuntimeError("the user's own words"), ValueError("x"), TimeoutError(), KeyError("a")]
)
def test_any_fault_of_a_model_in_this_process_is_an_upstreams(threaded: bool, fault: Exception) -> None:
    def breaks(effect: Generate, place: int) -> str:
        raise fault

    world = World({"small": Scripted("small", breaks)})
    with pytest.raises(UpstreamError) as caught:
        run(world, generate(ASKED), threaded=threaded)
    assert str(caught.value) == f"upstream 'small': failed: {type(fault).__name__}"
    assert caught.value.__cause__ is fault
    assert caught.value.cost is not None
    assert caught.value.cost.calls == 1


class Shelf:
    """A retriever that fails."""

    kind = name = fingerprint = "shelf"
    embedder = ""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def complete(self, effect: Retrieve, cancelled: Callable[[], bool]) -> tuple[Passage, ...]:
        raise self.fault


@both
@pytest.mark.parametrize(
    ("fault", "said"), [(RuntimeError("secret"), "failed: RuntimeError"), (ConfigError("no index"), "failed: no index")]
)
def test_a_search_that_fails_finds_no_evidence_live_and_replayed(threaded: bool, fault: Exception, said: str) -> None:
    def searching() -> Flow[object]:
        try:
            yield from retrieve(Retrieve("shelf", "Lagos", 2))
        except EvidenceUnavailable as error:
            return str(error)
        return None

    reason, recording = run(World({}, {"shelf": Shelf(fault)}), searching(), threaded=threaded)
    assert reason == f"the retriever 'shelf' {said}"
    assert ReplayDriver(recording.tape).run(searching(), Recording()) == reason
