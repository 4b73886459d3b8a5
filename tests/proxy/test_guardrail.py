"""The guardrail's door over a real server: whose call, which question, what is kept, and that nothing slips through."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gate.proxy.counters import Counters
from gate.proxy.guardrail import GUARDRAIL
from gate.proxy.limits import Limiter
from gate.proxy.metrics import Metrics
from gate.serving_settings import ServingSettings
from gate.types import Generation
from tests.proxy.asking import USER
from tests.proxy.fake_gateway import GENERATION, FakeGateway, outcome_of
from tests.proxy.live_server import live
from tests.proxy.reading import Noted, sent_and_open, until
from tests.proxy.served import app_of, key_of, keys_of

OPTIONS = "additional_provider_specific_params"
OBSERVES = ServingSettings(mode="observe")
NONE = {"action": "NONE"}
JUDGED = {**NONE, "stream_holdback_chars": [len(GENERATION.text)]}
EXAMPLE = Path(__file__).parents[2] / "examples" / "litellm" / "policy.yaml"


class LiteLLM:
    """As its proxy calls: with its key, if it has one, in ``x-api-key``."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def ask(self, call: str | None = "call-1", key: str = "", **more: Any) -> httpx.Response:
        return self._post({"input_type": "request", "structured_messages": [USER], **more}, call, key)

    def tell(self, call: str | None = "call-1", *texts: str, key: str = "", **more: Any) -> httpx.Response:
        return self._post({"input_type": "response", "texts": texts or [GENERATION.text], **more}, call, key)

    def _post(self, shown: dict[str, Any], call: str | None, key: str) -> httpx.Response:
        headers = {"x-api-key": key_of(key)} if key else {}
        body = {"litellm_call_id": call, "request_data": {}, **shown}
        return self._client.post(GUARDRAIL.path, json=body, headers=headers)


@contextmanager
def serving(*gateways: Any, **more: Any) -> Iterator[LiteLLM]:
    with (
        live(app_of(*gateways, **more)) as url,
        httpx.Client(base_url=url, verify=False, trust_env=False, timeout=20) as client,
    ):
        yield LiteLLM(client)


# --- what is judged ----------------------------------------------------------------------------------------------


def test_a_request_goes_on_at_once_and_its_answer_is_judged_as_one_to_it() -> None:
    gateway, log, metrics = FakeGateway(), Noted(), Metrics()
    with serving(gateway, log=log, metrics=metrics) as litellm:
        asked = litellm.ask()
        assert (asked.status_code, asked.json()) == (200, NONE)
        assert not gateway.asked
        told = litellm.tell()
    assert (told.status_code, told.json()) == (200, JUDGED)
    assert (told.headers["x-gate-action"], told.headers["x-gate-confidence"]) == ("answer", "0.9123")
    assert told.headers["x-gate-policy"] == "balanced@0123456789ab"
    ((question, _),) = gateway.asked
    assert question.text == "Where is Lagos?"
    assert [given.draft for given in gateway.judged] == [Generation(GENERATION.text)]
    entry = log.next()
    assert (entry.door, entry.request_id, entry.status, entry.mode) == ("guardrail", "call-1", 200, "enforce")
    assert entry.record.id == told.headers["x-gate-decision-id"]
    assert log.empty, "of a request nothing is decided"
    assert b'door="guardrail",mode="enforce",policy="balanced",status="200"} 1.0' in metrics.render()


def test_the_conversation_may_come_with_the_answer() -> None:
    gateway = FakeGateway()
    with serving(gateway) as litellm:
        assert litellm.tell(None, structured_messages=[USER]).json() == JUDGED
    assert gateway.asked[0][0].text == "Where is Lagos?"


@pytest.mark.parametrize("abstention", ["completion", "error"])
def test_a_refusal_is_a_reply_also_where_the_policy_has_it_be_an_error(abstention: Any) -> None:
    gateway = FakeGateway(lambda question: outcome_of(None), serving=ServingSettings(abstention=abstention))
    with serving(gateway) as litellm:
        litellm.ask()
        told = litellm.tell()
    assert (told.status_code, told.json()["action"], told.headers["x-gate-action"]) == (200, "BLOCKED", "abstain")


def test_each_text_has_its_decision() -> None:
    gateway, log = FakeGateway(), Noted()
    with serving(gateway, log=log) as litellm:
        litellm.ask()
        told = litellm.tell("call-1", GENERATION.text, GENERATION.text)
    assert told.json()["stream_holdback_chars"] == [len(GENERATION.text)] * 2
    assert len(gateway.judged) == 2
    ids = {log.next().record.id for _ in range(2)}
    assert {*told.headers["x-gate-decision-id"].split(", ")} == ids


@pytest.mark.parametrize("shown", [{"texts": None}, {"texts": []}, {"texts": None, "images": ["data:,"]}], ids=str)
def test_an_answer_of_which_nothing_is_shown_does_not_go_out(shown: Any, caplog: pytest.LogCaptureFixture) -> None:
    with serving(gateway := FakeGateway()) as litellm, caplog.at_level(logging.WARNING, "gate.proxy"):
        litellm.ask()
        told = litellm.tell(**{"call": "call-1", **shown})
        assert (told.status_code, told.json()["action"]) == (200, "BLOCKED")
        assert "neither text nor calls of tools" in told.json()["blocked_reason"]
        assert told.headers["x-gate-reason"] == "unseen"
    assert "neither text nor calls of tools" in caplog.text
    assert not gateway.asked


def test_or_it_does_where_the_policy_only_observes() -> None:
    with serving(gateway := FakeGateway(serving=OBSERVES)) as litellm:
        told = litellm.tell("call-9", texts=None)
        assert (told.json(), told.headers["x-gate-mode"]) == (NONE, "observe")
    assert not gateway.asked


def test_by_the_policys_own_models() -> None:
    with serving(str(EXAMPLE)) as litellm:
        litellm.ask(structured_messages=[{"role": "user", "content": "Where is Nanjing?"}])
        assert litellm.tell("call-1", "China").json()["action"] == "NONE"
        blocked = litellm.tell("call-1", "Japan")
        assert (blocked.json()["action"], blocked.headers["x-gate-reason"]) == ("BLOCKED", "uncertain")
        better = litellm.tell("call-1", "Japan", **{OPTIONS: {"gather": True, "on_abstention": "replace"}})
        assert (better.json()["action"], better.json()["texts"]) == ("GUARDRAIL_INTERVENED", ["China"])
        alone = litellm.tell("call-1", "China", **{OPTIONS: {"gather": False}})
        assert alone.json()["action"] == "BLOCKED", "there is nothing that bears it out"


# --- which question ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["call-2", "", None])
def test_an_answer_to_nobody_knows_what_is_refused(call: str | None) -> None:
    gateway = FakeGateway()
    with serving(gateway) as litellm:
        litellm.ask()
        told = litellm.tell(call)
    assert (told.status_code, told.json()["error"]["code"]) == (409, "conversation_unknown")
    assert "pre_call" in told.json()["error"]["message"]
    assert "action" not in told.json()
    assert not gateway.asked


def test_an_id_of_two_conversations_is_nobodys() -> None:
    with serving(gateway := FakeGateway()) as litellm:
        litellm.ask()
        litellm.ask(structured_messages=[{"role": "user", "content": "Where is Accra?"}])
        told = litellm.tell()
    assert (told.status_code, told.json()["error"]["code"]) == (409, "conversation_ambiguous")
    assert not gateway.asked


def test_what_another_client_was_asked_is_not_known_to_this_one() -> None:
    with serving(FakeGateway(), keys=keys_of(app={}, other={})) as litellm:
        litellm.ask(key="app")
        assert litellm.tell(key="other").status_code == 409
        assert litellm.tell(key="app").json() == JUDGED


@pytest.mark.parametrize("messages", [[{"role": "user", "content": ""}], [{"role": "robot", "content": "x"}]])
def test_a_conversation_that_is_none_costs_its_answer(messages: Any) -> None:
    with serving(FakeGateway()) as litellm:
        assert litellm.ask(structured_messages=messages).json() == NONE
        assert litellm.tell().status_code == 400


# --- who may, how much, and which policy -------------------------------------------------------------------------


def test_it_takes_a_key_and_a_policy_the_key_may_use() -> None:
    strict, own = FakeGateway(name="strict"), FakeGateway()
    keys = keys_of(app={"policies": ["balanced"]}, boss={}, reader={"roles": ["metrics"]})
    with serving(own, strict, keys=keys) as litellm:
        assert [litellm.ask(key=key).status_code for key in ("", "nobody", "reader")] == [401, 401, 403]
        wanted = {OPTIONS: {"policy": "strict"}}
        for reply in (litellm.ask(key="app", **wanted), litellm.tell(key="app", **wanted)):
            assert (reply.status_code, reply.json()["error"]["param"]) == (404, f"{OPTIONS}.policy")
        litellm.ask(key="boss")
        assert litellm.tell(key="boss", **wanted).headers["x-gate-policy"].startswith("strict@")
    assert (len(strict.asked), len(own.asked)) == (1, 0)


def test_who_is_said_to_have_written_it_must_be_of_the_ladder() -> None:
    gateway = FakeGateway()
    with serving(gateway) as litellm:
        wrong = litellm.ask(**{OPTIONS: {"written_by": "large"}})
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, f"{OPTIONS}.written_by")
        litellm.ask()
        assert litellm.tell(**{OPTIONS: {"written_by": "small"}}).json() == JUDGED
    assert [(given.upstream, given.vouched) for given in gateway.judged] == [("small", True)]


def test_each_call_counts_and_what_was_spent_is_charged() -> None:
    counters = Counters.open(None, 1)
    keys = keys_of(app={"rate": {"requests_per_minute": 2, "tokens_per_minute": 10_000}})
    with serving(FakeGateway(), keys=keys, limiter=Limiter(counters)) as litellm:
        assert litellm.ask(key="app").headers["x-ratelimit-remaining-requests"] == "1"
        assert litellm.tell(key="app").json() == JUDGED
        late = [litellm.ask("call-2", key="app"), litellm.tell(key="app")]
    assert [(reply.status_code, reply.json()["error"]["code"]) for reply in late] == [(429, "rate_limit_exceeded")] * 2
    assert "retry-after" in late[0].headers
    used = counters.usage("app")
    assert (used.day.requests, used.day.tokens, used.under_way) == (2, outcome_of(GENERATION).cost.tokens, 0)


def test_nothing_is_decided_while_it_could_not_be_logged() -> None:
    log = Noted()
    with serving(FakeGateway(), log=log) as litellm:
        log.full = True
        replies = [litellm.ask(), litellm.tell()]
    assert [(reply.status_code, reply.json()["error"]["code"]) for reply in replies] == [(503, "log_unavailable")] * 2


# --- where it only observes --------------------------------------------------------------------------------------


def test_all_goes_out_at_once_and_is_judged_behind_it() -> None:
    judging = threading.Event()
    gateway = FakeGateway(lambda question: outcome_of(None), serving=OBSERVES, judging=judging)
    log = Noted()
    with serving(gateway, log=log) as litellm:
        litellm.ask()
        told = litellm.tell()
        assert told.json() == JUDGED
        assert (told.headers["x-gate-mode"], told.headers["x-gate-certificate"]) == ("observe", "none")
        assert log.empty
        judging.set()
        entry = log.next()
    assert (entry.mode, entry.door, entry.sent) == ("observe", "guardrail", Generation(GENERATION.text))
    assert (entry.record.action, gateway.observing) == ("abstain", [True])


def test_what_cannot_be_judged_goes_out_too_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with serving(FakeGateway(serving=OBSERVES)) as litellm, caplog.at_level(logging.WARNING, "gate.proxy"):
        litellm.ask("call-2")
        litellm.ask("call-2", structured_messages=[{"role": "user", "content": "Where is Accra?"}])
        for call in ("call-9", "call-2"):
            told = litellm.tell(call)
            assert (told.status_code, told.json(), told.headers["x-gate-mode"]) == (200, NONE, "observe")
        assert caplog.text.count("cannot be judged") == 1
        litellm.ask()
        assert litellm.tell().json() == JUDGED
        litellm.tell("call-9")
    assert caplog.text.count("pre_call") == 2, "it is worth saying again"


def test_what_observes_is_limited_all_the_same() -> None:
    keys = keys_of(app={"rate": {"requests_per_minute": 1}})
    with serving(FakeGateway(serving=OBSERVES), keys=keys) as litellm:
        assert [litellm.ask(key="app").status_code for _ in range(2)] == [200, 429]


# --- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input_type": "answer"}, "input_type"),
        ({"texts": "Nigeria."}, "texts"),
        ({"tool_calls": [{}]}, "tool_calls.0"),
        ({OPTIONS: {"on_abstention": "let it"}}, f"{OPTIONS}.on_abstention"),
    ],
    ids=str,
)
def test_what_is_wrong_gets_an_openai_error(more: dict[str, Any], param: str) -> None:
    with serving(FakeGateway()) as litellm:
        reply = litellm.tell(**more)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert reply.json()["error"].keys() == {"message", "type", "param", "code"}


def test_a_fault_is_answered_with_an_error_and_logged() -> None:
    log = Noted()
    with serving(FakeGateway(lambda question: KeyError("secret")), log=log) as litellm:  # type: ignore[arg-type]
        litellm.ask()
        told = litellm.tell()
    assert (told.status_code, told.json()["error"]["code"]) == (500, "internal_error")
    assert log.next().status == 500


def test_a_client_that_leaves_ends_the_judging() -> None:
    gateway, log = FakeGateway(seconds=20), Noted()
    with live(app_of(gateway, log=log)) as url:
        shown = {"input_type": "response", "texts": ["Ghana."], "structured_messages": [USER]}
        with sent_and_open(url, shown, GUARDRAIL.path):
            until(gateway.started.is_set)
        until(gateway.cancelled.is_set)
        assert log.next().status == 499
