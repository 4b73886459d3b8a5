"""The way in through a gated door: whose key, which policy, how much of it; and what is refused costs nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gate.errors import RequestError, UpstreamError
from gate.ports import Price
from gate.proxy.answering import answer
from gate.proxy.counters import Counters
from gate.proxy.doors import CHAT, DOORS, Door
from gate.proxy.limits import Limiter
from gate.serving_settings import ServingSettings
from gate.spending import prompt_tokens
from gate.types import Budget, Message
from tests.proxy.fake_gateway import DRAFT_COST, GENERATION, FakeGateway, FakePlan, outcome_of
from tests.proxy.reading import Noted, seen
from tests.proxy.served import bearer, keys_of, service_of
from tests.proxy.wire import Wire

pytestmark = pytest.mark.anyio
EACH_DOOR = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
COST = outcome_of(GENERATION).cost
PROMPT = prompt_tokens((Message("user", "Where is Lagos?"),), {})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def answered(service: Any, door: Door = CHAT, headers: dict[str, str] | None = None, **fields: Any) -> Wire:
    wire = Wire(door, headers, **fields)
    await answer(service, door, wire.exchange)
    return wire


# --- which policy ------------------------------------------------------------------------------------------------

SERVED = ("balanced", "strict", "agents")


@pytest.mark.parametrize(
    ("fields", "policy"),
    [
        ({"model": "gate"}, "balanced"),
        ({"model": "strict"}, "strict"),
        ({"model": "gate", "gate": {"policy": "agents"}}, "agents"),
        ({"model": "strict", "gate": {"policy": "strict"}}, "strict"),
    ],
)
@EACH_DOOR
async def test_the_policy_is_named_by_the_model_or_the_gate_object(door: Door, fields: Any, policy: str) -> None:
    gateways = {name: FakeGateway(name=name) for name in SERVED}
    wire = await answered(service_of(*gateways.values()), door, **fields)
    assert wire.status == 200
    assert wire.headers["x-gate-policy"].startswith(f"{policy}@")
    assert [name for name, gateway in gateways.items() if gateway.asked] == [policy]


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "gpt-9"}, 404, "model"),
        ({"model": "gate", "gate": {"policy": "gone"}}, 404, "gate.policy"),
        ({"model": "strict", "gate": {"policy": "agents"}}, 400, "gate.policy"),
        ({"model": "gpt-9", "gate": {"policy": "agents"}}, 400, "gate.policy"),
    ],
)
async def test_what_names_none_or_two_is_refused(fields: Any, status: int, param: str) -> None:
    gateways = [FakeGateway(name=name) for name in SERVED]
    wire = await answered(service_of(*gateways), **fields)
    assert (wire.status, wire.json["error"]["param"]) == (status, param)
    assert not any(gateway.asked for gateway in gateways)
    assert "x-gate-decision-id" not in wire.headers


async def test_a_key_has_its_own_default_and_knows_no_policy_of_others() -> None:
    gateways = [FakeGateway(name=name) for name in SERVED]
    service = service_of(*gateways, keys=keys_of(app={"policies": ["agents", "strict"]}))
    wire = await answered(service, headers=bearer("app"))
    assert wire.headers["x-gate-policy"].startswith("agents@")
    for fields in ({"model": "balanced"}, {"gate": {"policy": "balanced"}}):
        hidden, absent = [
            await answered(service, headers=bearer("app"), **_renamed(fields, name)) for name in ("balanced", "nothere")
        ]
        assert (hidden.status, absent.status) == (404, 404)
        assert hidden.json["error"]["message"].replace("balanced", "nothere") == absent.json["error"]["message"]


def _renamed(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {"model": name} if "model" in fields else {"gate": {"policy": name}}


async def test_a_key_of_which_no_policy_is_served_any_more_is_told_so() -> None:
    service = service_of(FakeGateway(name="renamed"), keys=keys_of(app={"policies": ["balanced"]}))
    wire = await answered(service, headers=bearer("app"))
    assert (wire.status, wire.json["error"]["code"]) == (404, "policy_not_found")


async def test_the_budget_and_the_wish_to_be_told_why_reach_the_question() -> None:
    gateway = FakeGateway()
    wire = await answered(service_of(gateway), gate={"budget": {"calls": 2}, "explain": True})
    assert [budget for _, budget in gateway.asked] == [Budget(calls=2)]
    assert wire.json["gate"]["confidence"]["contributions"] == {"vote_share": 1.5}


# --- keys --------------------------------------------------------------------------------------------------------


@EACH_DOOR
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "invalid_api_key"),
        ({"authorization": "Bearer gate-other"}, 401, "invalid_api_key"),
        (bearer("old"), 401, "invalid_api_key"),
        (bearer("reviewer"), 403, "forbidden"),
    ],
    ids=["none", "unknown", "disabled", "another role"],
)
async def test_who_may_not_ask_is_refused_before_anything_is_read(
    door: Door, headers: dict[str, str], status: int, code: str
) -> None:
    gateway = FakeGateway()
    keys = keys_of(app={}, old={"disabled": True}, reviewer={"roles": ["review", "admin", "feedback", "metrics"]})
    wire = await answered(service_of(gateway, keys=keys), door, headers)
    assert wire.status == status
    assert _code(door, wire) == code
    assert ("www-authenticate" in wire.headers) == (status == 401)
    assert wire._body is not None, "nobody has looked at the body"
    assert not gateway.asked


def _code(door: Door, wire: Wire) -> Any:
    error = wire.json["error"]
    return error["details"]["error_code"] if door.name == "messages" else error["code"]


@pytest.mark.parametrize("headers", [bearer("app"), {"x-api-key": bearer("app")["authorization"][7:]}])
async def test_a_key_may_come_either_way(headers: dict[str, str]) -> None:
    assert (await answered(service_of(keys=keys_of(app={})), headers=headers)).status == 200


# --- what cannot be logged ---------------------------------------------------------------------------------------


@EACH_DOOR
async def test_nothing_is_decided_while_it_could_not_be_logged(door: Door) -> None:
    log, gateway = Noted(), FakeGateway()
    service = service_of(gateway, log=log)
    log.full = True
    wire = await answered(service, door)
    assert (wire.status, wire.headers["retry-after"]) == (503, "1")
    assert _code(door, wire) == "log_unavailable"
    assert not gateway.asked
    log.full = False
    assert (await answered(service, door)).status == 200


# --- limits ------------------------------------------------------------------------------------------------------


def metered(gateway: FakeGateway | None = None, **client: Any) -> tuple[Any, Counters]:
    counters = Counters.open(None, 1)
    return service_of(gateway or FakeGateway(), keys=keys_of(app=client), limiter=Limiter(counters)), counters


async def test_a_request_is_charged_what_it_took_in_truth() -> None:
    service, counters = metered(rate={"tokens_per_minute": 1000, "requests_per_minute": 10})
    wire = await answered(service, headers=bearer("app"), max_tokens=100)
    assert wire.headers["x-ratelimit-remaining-requests"] == "9"
    assert wire.headers["x-ratelimit-remaining-tokens"] == str(1000 - PROMPT - 100), "as was foreseen"
    used = counters.usage("app")
    assert (used.day.requests, used.day.tokens, used.under_way) == (1, COST.tokens, 0)


async def test_too_many_requests_or_tokens_are_refused_with_the_time_to_wait() -> None:
    service, counters = metered(rate={"requests_per_minute": 2})
    statuses = [(await answered(service, headers=bearer("app"))).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = await answered(service, headers=bearer("app"))
    assert refused.json["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert counters.usage("app").day.requests == 2, "who is refused is not charged"

    service, _ = metered(rate={"tokens_per_minute": 100})
    assert (await answered(service, headers=bearer("app"), max_tokens=10)).status == 200
    late = await answered(service, headers=bearer("app"), max_tokens=60)
    assert (late.status, "retry-after" in late.headers) == (429, True)
    never = await answered(service, headers=bearer("app"), max_tokens=500)
    assert (never.status, "retry-after" in never.headers) == (429, False)


async def test_money_that_is_spent_is_told_as_such() -> None:
    service, counters = metered(Costs(money=0.6), spend={"limit": 1.0, "per": "day"})
    assert [(await answered(service, headers=bearer("app"))).status for _ in range(3)] == [200, 429, 429]
    assert counters.usage("app").day.money == pytest.approx(0.6), "another would not fit, as far as is known"
    refused = await answered(service, headers=bearer("app"))
    assert refused.json["error"]["code"] == "insufficient_quota"


@dataclass
class Costs(FakeGateway):
    """Takes a moment, and so much money a question, in US dollars."""

    money: float = 0.05

    async def aask(self, *arguments: Any, **named: Any) -> Any:
        outcome, record = await super().aask(*arguments, **named)
        return outcome, replace(record, cost=replace(record.cost, money=self.money))


@pytest.mark.parametrize("kind", ["known by its draft", "known by those before"])
async def test_many_at_once_spend_no_more_than_their_key_may(kind: str) -> None:
    gateway = Costs(seconds=0.02)
    if kind == "known by its draft":
        gateway.plan = FakePlan({"small": Price(0.0, 500.0)})
    service, counters = metered(gateway, spend={"limit": 0.5, "per": "day"})
    if kind != "known by its draft":
        service.usual_money["balanced"] = 0.05
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(answered(service, headers=bearer("app"), max_tokens=100)) for _ in range(30)]
    wires = [task.result() for task in tasks]
    assert sorted(wire.status or 0 for wire in wires) == [200] * 10 + [429] * 20
    assert {wire.json["error"]["code"] for wire in wires if wire.status == 429} == {"insufficient_quota"}
    used = counters.usage("app")
    assert used.day.money == pytest.approx(0.5)
    assert (used.day.requests, used.under_way) == (10, 0)


async def test_what_was_charged_in_advance_and_not_spent_is_given_back() -> None:
    gateway = FakeGateway(plan=FakePlan({"small": Price(0.0, 4000.0)}))
    service, counters = metered(gateway, spend={"limit": 0.5, "per": "day"})
    for _ in range(3):
        assert (await answered(service, headers=bearer("app"), max_tokens=100)).status == 200
    assert counters.usage("app").day.money == 0.0
    assert (await answered(service, headers=bearer("app"), max_tokens=100, n=2)).status == 429
    gateway.answer = lambda question: RequestError("this model sees no images")
    assert (await answered(service, headers=bearer("app"), max_tokens=100)).status == 400
    used = counters.usage("app")
    assert (used.day.money, used.day.requests) == (0.0, 3)


async def test_so_many_at_once_and_no_more() -> None:
    gateway = FakeGateway(seconds=30)
    service, counters = metered(gateway, rate={"concurrency": 1})
    wire = Wire(headers=bearer("app"))
    async with asyncio.TaskGroup() as group:
        group.create_task(answer(service, CHAT, wire.exchange))
        while not gateway.asked:
            await asyncio.sleep(0)
        assert counters.usage("app").under_way == 1
        refused = await answered(service, headers=bearer("app"))
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        wire.leaves.set()
    assert counters.usage("app").under_way == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "gpt-9"},
        {"messages": []},
        {"gate": {"streaming": "annotate"}},
        {"gate": {"policy": "gone"}},
    ],
    ids=["no such model", "no question", "text too early", "no such policy"],
)
async def test_what_is_refused_costs_nothing(fields: Any) -> None:
    service, counters = metered(rate={"requests_per_minute": 5, "tokens_per_minute": 1000, "concurrency": 1})
    assert (await answered(service, headers=bearer("app"), **fields)).status in (400, 404)
    used = counters.usage("app")
    assert (used.total.requests, used.total.tokens, used.under_way) == (0, 0, 0)


async def test_nor_does_what_only_the_policy_can_refuse() -> None:
    gateway = FakeGateway(lambda question: RequestError("this model sees no images"))
    service, counters = metered(gateway, rate={"requests_per_minute": 5})
    assert (await answered(service, headers=bearer("app"))).status == 400
    assert (counters.usage("app").total.requests, counters.usage("app").under_way) == (0, 0)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_what_failed_is_charged_what_was_spent_till_then(stream: bool) -> None:
    gateway = FakeGateway(lambda question: UpstreamError("small", "is down"), draft=GENERATION)
    service, counters = metered(gateway, rate={"tokens_per_minute": 10_000})
    assert (await answered(service, headers=bearer("app"), stream=stream)).status == 502
    used = counters.usage("app")
    assert (used.total.requests, used.total.tokens, used.under_way) == (1, 13, 0)


async def test_a_fault_leaves_no_request_under_way() -> None:
    service, counters = metered(FakeGateway(lambda question: ZeroDivisionError()), rate={"concurrency": 1})
    wire = Wire(headers=bearer("app"))
    with pytest.raises(ZeroDivisionError):
        await answer(service, CHAT, wire.exchange)
    assert wire.status == 500
    assert counters.usage("app").under_way == 0


async def test_what_is_observed_is_charged_with_its_draft_and_judging_is_on_nobodys_account() -> None:
    service, counters = metered(FakeGateway(serving=ServingSettings(mode="observe")), rate={"tokens_per_minute": 1000})
    assert (await answered(service, headers=bearer("app"))).status == 200
    assert counters.usage("app").total.tokens == DRAFT_COST.tokens < COST.tokens


# --- the client --------------------------------------------------------------------------------------------------


async def test_a_client_that_is_gone_before_its_body_was_read_is_told_nothing() -> None:
    wire = Wire()
    wire._body = None
    wire.leaves.set()
    await answer(service_of(), CHAT, wire.exchange)
    assert not wire.sent


@EACH_DOOR
async def test_streams_and_replies_say_the_same(door: Door) -> None:
    service = service_of()
    whole, stream = await answered(service, door), await answered(service, door, stream=True)
    assert GENERATION.text in whole.content.decode()
    assert seen(door, stream.events).text == GENERATION.text
