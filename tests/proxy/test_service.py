"""What the endpoints of a worker share: the small questions they ask of it."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gate.assemble import load_gateway
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
from tests.proxy.gate_process import UPSTREAM_KEY, scripted_policy
from tests.proxy.live_server import live
from tests.proxy.reading import Noted
from tests.proxy.served import app_of, key_of, keys_of, service_of
from tests.upstreams.faulty_server import FaultyServer, chat, resets, status

HELD = Certificate(0.05, 0.05, 100, 60, 1, 0.04, "all", "2026-01-01", {})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


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


@pytest.mark.anyio
async def test_whoever_has_no_limits_is_not_counted() -> None:
    def nobody() -> Any:
        pytest.fail("nobody needs it")

    service = service_of()
    assert await service.admit(Client("app"), nobody, nobody) is None
    service.settle(None, 5, 0.1)
    service.refund(None)
    spending = await service.admit(Client("app", spend=Spend(limit=1, per="day")), nobody, lambda: 0.25)
    assert spending is not None
    assert (spending.taken.tokens, spending.taken.nanos) == (0, 250_000_000)
    rated = await service.admit(Client("app", rate=Rate(tokens_per_minute=100)), lambda: 7, nobody)
    assert rated is not None
    assert rated.taken.tokens == 7
    service.limiter = None
    assert await service.admit(Client("app", rate=Rate(concurrency=1)), lambda: 7, nobody) is None
    assert service.left(Client("app", rate=Rate(concurrency=1))) == {}


@pytest.mark.anyio
async def test_a_request_that_was_refused_is_as_if_it_had_never_been() -> None:
    service, client = service_of(), Client("app", rate=Rate(requests_per_minute=1))
    first = await service.admit(client, lambda: 0, lambda: 0.0)
    with pytest.raises(RequestError):
        await service.admit(client, lambda: 0, lambda: 0.0)
    assert service.left(client)["x-ratelimit-remaining-requests"] == "0"
    service.refund(first)
    assert isinstance(service.limiter, Limiter)
    assert service.left(client)["x-ratelimit-remaining-requests"] == "1"
    assert await service.admit(client, lambda: 0, lambda: 0.0) is not None


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


# --- faults of upstreams -----------------------------------------------------------------------------------------


def two_rungs(folder: Path, first: str, second: str) -> str:
    """The policy of the examples with a stronger model to escalate to."""
    data = yaml.safe_load(scripted_policy(folder, first, "mine").read_text())
    data["upstreams"]["main"]["breaker"] = {
        "failures": 4,
        "errors": 4,
        "within": 0.01,
        "seconds": 600,
        "most_seconds": 600,
    }
    data["upstreams"]["large"] = {**data["upstreams"]["main"], "base_url": second}
    data |= {"ladder": ["main", "large"]}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


def ask(url: str, question: str = "Where is Lagos?") -> httpx.Response:
    said = {"model": "gate", "messages": [{"role": "user", "content": question}]}
    return httpx.post(f"{url}/v1/chat/completions", json=said, trust_env=False, timeout=30)


def test_a_stronger_model_that_fails_is_left_alone_and_questions_go_on_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_TEST_UPSTREAM_KEY", UPSTREAM_KEY)
    monkeypatch.setattr("gate.drivers.retrying._Wait._backoff", lambda self, state: 0.0)
    unsure = chat("Peru", "Chad", "Nepal", "Fiji", "Malta", "Gabon", "Oman")
    with FaultyServer.of(unsure) as small, FaultyServer.of(resets) as large:
        with live(app_of(two_rungs(tmp_path, small.url, large.url))) as url:
            replies = [ask(url, f"Where is Lagos? {number}") for number in range(5)]
            ready = httpx.get(f"{url}/readyz", trust_env=False)
            shown = httpx.get(f"{url}/metrics", trust_env=False).text
        assert len(large.asked) == 13, "four attempts of each question, and one of the fourth"
    assert [reply.status_code for reply in replies] == [200] * 5
    assert {reply.headers["x-gate-action"] for reply in replies} == {"abstain"}
    assert ready.status_code == 200
    left_alone = ready.json()["not_asked"]["large"]
    assert (ready.json()["status"], left_alone["state"]) == ("ready", "open")
    assert 400 < left_alone["seconds"] <= 600
    assert left_alone["why"].startswith("it failed 4 times in a row (last: ")
    assert ready.json()["not_asked"].keys() == {"large"}
    assert 'gate_upstream_breaker{upstream="large"} 2.0' in shown
    assert 'gate_upstream_breaker{upstream="main"} 0.0' in shown
    assert 'gate_upstream_breaker_opened_total{upstream="large"} 1.0' in shown


def test_where_the_first_model_fails_clients_are_told_at_once_when_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_TEST_UPSTREAM_KEY", UPSTREAM_KEY)
    monkeypatch.setattr("gate.drivers.retrying._Wait._backoff", lambda self, state: 0.0)
    with FaultyServer.of(status(500)) as server, live(app_of(two_rungs(tmp_path, server.url, server.url))) as url:
        replies = [ask(url, f"Where is Lagos? {number}") for number in range(6)]
    assert [reply.status_code for reply in replies] == [502, 502, 502, 503, 503, 503]
    for reply in replies[3:]:
        assert 400 < int(reply.headers["retry-after"]) <= 600
        error = reply.json()["error"]
        assert (error["type"], error["code"]) == ("upstream_error", "upstream_unavailable")
        assert "upstream 'main': is not asked for another" in error["message"]
        assert "4 different requests in a row failed (last: refused with status 500)" in error["message"]


def test_what_a_policy_counted_is_still_shown_once_it_is_served_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_TEST_UPSTREAM_KEY", UPSTREAM_KEY)
    service, gateway = service_of(), load_gateway(two_rungs(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9"))
    for health in gateway.world.health.values():
        if health.name == "main" and health.breaker is not None:
            for _ in range(4):
                health.breaker.failed(health.breaker.admit(), "no")
    for _ in range(2):
        service.note_upstreams(gateway)
    gateway.close()
    shown = service.metrics.render().decode()
    assert 'gate_upstream_breaker_opened_total{upstream="main"} 1.0' in shown
    assert 'gate_upstream_breaker{upstream="main"}' not in shown, "it is left alone no more"


def test_two_questions_that_the_model_cannot_stand_shut_it_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_TEST_UPSTREAM_KEY", UPSTREAM_KEY)
    monkeypatch.setattr("gate.drivers.retrying._Wait._backoff", lambda self, state: 0.0)

    def picky(handler: Any, asked: dict[str, Any]) -> None:
        (status(500) if "poison" in str(asked["messages"]) else chat("Nigeria"))(handler, asked)

    with FaultyServer.of(picky) as server, live(app_of(str(scripted_policy(tmp_path, server.url, "mine")))) as url:
        codes = [ask(url, f"{word} {number}").status_code for number in range(3) for word in ("poison", "Lagos?")]
    assert codes == [502, 200] * 3


def test_a_model_that_is_swapped_is_counted_and_told_in_readiness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_TEST_UPSTREAM_KEY", UPSTREAM_KEY)

    def another(handler: Any, asked: dict[str, Any]) -> None:
        choices = [{"index": n, "message": {"content": "Nigeria"}} for n in range(asked.get("n", 1))]
        handler.send(200, json.dumps({"model": "m-2", "choices": choices}).encode())

    with (
        FaultyServer.of(*[chat("Nigeria")] * 2, another) as server,
        live(app_of(two_rungs(tmp_path, server.url, server.url))) as url,
    ):
        assert [ask(url).status_code for _ in range(2)] == [200] * 2
        ready = httpx.get(f"{url}/readyz", trust_env=False).json()
        shown = httpx.get(f"{url}/metrics", trust_env=False).text
    assert ready["seen_void"] == ["the upstream 'main' says it is 'm-2', and was 'm-1'"]
    assert ready["certificate"] == "none"
    assert 'gate_upstream_other_model_total{upstream="main"} 2.0' in shown
