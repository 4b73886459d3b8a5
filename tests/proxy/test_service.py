"""What the endpoints of a worker share: the small questions they ask of it."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest

from gate.errors import RequestError
from gate.log.entries import Entry
from gate.ports import Price
from gate.proxy.chat_requests import parse_chat_request
from gate.proxy.exchange import Exchange
from gate.proxy.keys import ANYONE, Client, Rate, Spend
from gate.proxy.limits import Limiter
from gate.proxy.request_fields import ChatRequest
from gate.proxy.settings import AuditSettings, LogSettings, ServerSettings
from gate.types import Budget, Certificate
from tests.proxy.asking import body, decided
from tests.proxy.entries import entry_of
from tests.proxy.fake_gateway import GENERATION, FakeGateway, FakePlan, outcome_of
from tests.proxy.reading import Noted
from tests.proxy.served import key_of, keys_of, service_of

HELD = Certificate(0.05, 0.05, 100, 60, 1, 0.04, "all", "2026-01-01", {})


def exchange(**headers: str) -> Exchange:
    wire = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Exchange({"headers": wire}, None, None)


def test_without_keys_anyone_asks_and_with_them_whoever_has_one_of_the_roles() -> None:
    assert service_of().client(exchange(), "admin") is ANYONE
    service = service_of(keys=keys_of(app={}, desk={"roles": ["review", "feedback"]}))
    assert service.client(exchange(x_api_key=key_of("app")), "ask").name == "app"
    assert service.client(exchange(x_api_key=key_of("desk")), "admin", "review").name == "desk"
    with pytest.raises(RequestError, match="this key has not the role 'admin' or 'metrics'") as refused:
        service.client(exchange(x_api_key=key_of("app")), "admin", "metrics")
    assert (refused.value.status, refused.value.code) == (403, "forbidden")
    with pytest.raises(RequestError) as unknown:
        service.client(exchange(), "ask")
    assert unknown.value.status == 401


def test_whoever_has_no_limits_is_not_counted() -> None:
    def nobody() -> Any:
        pytest.fail("nobody needs it")

    service = service_of()
    assert service.admit(Client("app"), nobody, nobody) is None
    service.settle(None, 5, 0.1)
    service.refund(None)
    spending = service.admit(Client("app", spend=Spend(limit=1, per="day")), nobody, lambda: 0.25)
    assert spending is not None
    assert (spending.taken.tokens, spending.taken.nanos) == (0, 250_000_000)
    rated = service.admit(Client("app", rate=Rate(tokens_per_minute=100)), lambda: 7, nobody)
    assert rated is not None
    assert rated.taken.tokens == 7
    service.limiter = None
    assert service.admit(Client("app", rate=Rate(concurrency=1)), lambda: 7, nobody) is None
    assert service.left(Client("app", rate=Rate(concurrency=1))) == {}


def test_a_request_that_was_refused_is_as_if_it_had_never_been() -> None:
    service, client = service_of(), Client("app", rate=Rate(requests_per_minute=1))
    first = service.admit(client, lambda: 0, lambda: 0.0)
    with pytest.raises(RequestError):
        service.admit(client, lambda: 0, lambda: 0.0)
    assert service.left(client)["x-ratelimit-remaining-requests"] == "0"
    service.refund(first)
    assert isinstance(service.limiter, Limiter)
    assert service.left(client)["x-ratelimit-remaining-requests"] == "1"
    assert service.admit(client, lambda: 0, lambda: 0.0) is not None


def test_the_policies_of_a_client_are_those_of_its_that_are_served() -> None:
    service = service_of(FakeGateway(name="a"), FakeGateway(name="b"))
    assert service.policies_of(Client("app")) == ("a", "b")
    assert service.policies_of(Client("app", policies=("b", "gone"))) == ("b",)
    with pytest.raises(RequestError, match="none of the policies that this key may use") as refused:
        service.policies_of(Client("app", policies=("gone",)))
    assert refused.value.status == 404


def test_a_price_is_that_of_whichever_policy_knows_the_upstream() -> None:
    dear = FakeGateway(name="b", plan=FakePlan({"large": Price(5.0, 9.0)}))
    service = service_of(FakeGateway(name="a"), dear)
    assert (service.price("large"), service.price("small")) == (Price(5.0, 9.0), Price(1.0, 2.0))
    assert service.price("nobody") == Price()


def voided(*reasons: str) -> Any:
    sound = outcome_of(GENERATION)
    return dataclasses.replace(sound, steps=(dataclasses.replace(sound.steps[0], void=reasons),))


@pytest.mark.parametrize(
    ("gateway", "outcomes", "said"),
    [
        (FakeGateway(), [voided("x")], "none"),
        (FakeGateway(certificate=HELD), [], "certified"),
        (FakeGateway(certificate=HELD), [voided(), voided()], "certified"),
        (FakeGateway(certificate=HELD), [voided(), voided("a", "b"), voided("b", "c")], "void; a; b; c"),
        (FakeGateway(certificate=HELD, void=("p is not what was certified",)), [], "void; p is not what was certified"),
        (FakeGateway(certificate=HELD, void=("a",)), [voided("a", "b")], "void; a; b"),
    ],
    ids=["none", "no answer yet", "sound", "voided by answers", "void", "void twice"],
)
def test_what_is_to_be_thought_of_the_promise(gateway: FakeGateway, outcomes: list[Any], said: str) -> None:
    service = service_of(gateway)
    before, records = gateway.void, [record for _, record in decided(*outcomes)]
    assert service.certificate(service.policies.default, *records) == said
    assert gateway.void == before, "it is not added to"


class Told:
    """Notes what spans are told."""

    def __init__(self) -> None:
        self.told: list[tuple[Entry, str, str, str]] = []

    def record(self, entry: Entry, policy: Any, *, traceparent: str, tracestate: str) -> None:
        self.told.append((entry, policy.name, traceparent, tracestate))


def test_what_is_kept_is_counted_logged_and_traced(caplog: pytest.LogCaptureFixture) -> None:
    log, spans, entry = Noted(), Told(), entry_of()
    service = service_of(log=log, spans=spans, access_log=True)
    with caplog.at_level(logging.INFO, logger="gate.access"):
        service.keep(entry, service.policies.default.policy, exchange(traceparent="00-a-b-01", tracestate="c=d"))
    assert log.next() is entry
    assert spans.told == [(entry, "balanced", "00-a-b-01", "c=d")]
    assert b'gate_requests_total{action="answer",door="chat"' in service.metrics.render()
    assert "chat 200" in caplog.text


def test_it_refuses_while_its_log_is_full() -> None:
    assert not service_of().refusing
    log = Noted()
    service = service_of(log=log)
    assert not service.refusing
    log.full = True
    assert service.refusing


def test_what_may_be_replayed_is_recorded_so_that_it_can_be() -> None:
    text = ServerSettings(log=LogSettings(url="sqlite://", keep="text"))
    full = ServerSettings(audit=AuditSettings(full_evidence=0.1))
    log: Any = Noted()
    assert not service_of().replayed
    assert not service_of(settings=text).replayed
    assert not service_of(log=log).replayed
    assert service_of(settings=text, log=log).replayed
    assert service_of(settings=full).replayed
    assert service_of(trace_sink=print).replayed


def test_an_error_repeats_no_more_of_a_name_than_somebody_would_read() -> None:
    service, long = service_of(), "x" * 10_000
    question = parse_chat_request(body()).question
    for model, policy in ((long, None), ("gate", long), (long, "y" * 10_000)):
        asked = ChatRequest(model, question, Budget(), policy=policy)
        with pytest.raises(RequestError, match=r"'x{64}'") as refused:
            service.policy_of(Client("app"), asked)
        assert len(str(refused.value)) < 250


def test_what_a_question_costs_lately_is_a_mean_of_what_was_decided_and_charged() -> None:
    service = service_of()
    policy = service.policies.default.policy

    def keep(money: float, **changes: Any) -> None:
        entry = entry_of()
        outcome = changes.pop("outcome", entry.record.outcome)
        cost = dataclasses.replace(entry.record.cost, money=money)
        record = dataclasses.replace(entry.record, policy="p", cost=cost, outcome=outcome)
        service.keep(dataclasses.replace(entry, record=record, **changes), policy, exchange())

    keep(9.0, mode="observe")
    keep(9.0, outcome=None)
    assert service.usual_money == {}
    keep(1.0)
    assert service.usual_money == {"p": 1.0}
    keep(2.0)
    assert service.usual_money == {"p": pytest.approx(1.1)}
