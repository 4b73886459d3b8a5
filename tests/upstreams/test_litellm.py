"""litellm as an upstream, over a stand-in for it: `tests/integrations/test_litellm_upstream.py` has the real one."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gate.assemble import load_gateway
from gate.effects import Generate
from gate.errors import ConfigError, MissingExtra, UpstreamError, UpstreamTimeout
from gate.live_ports import is_awaitable, is_live
from gate.ports import Price
from gate.types import Generations, Message, Question, ToolCall
from gate.upstreams import litellm as module
from gate.upstreams.litellm import LiteLLMOptions, LiteLLMUpstream
from gate.upstreams.openai_wire import refused_field, without
from tests.upstreams.fake_litellm import (
    FakeLitellm,
    UnsupportedParamsError,
    fails,
    says,
    status_error,
    timed_out,
)

ASKED = Generate("up", (Message("user", "Where is Lagos?"),))
KEY = "sk-wK3vQ9xTz5RbNc81LmPj"
Answers = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(autouse=True)
def _set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in module._OFFLINE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "listed_price", {"openai/m": Price(1.0, 2.0)}.get)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeLitellm]:
    def put(answers: Answers | None = None, supported: list[str] | None = None) -> FakeLitellm:
        fake = FakeLitellm(answers or says("Nigeria"), supported)
        monkeypatch.setitem(sys.modules, "litellm", fake)
        return fake

    return put


def upstream(price: Price | None = None, **options: Any) -> LiteLLMUpstream:
    return LiteLLMUpstream.from_options("up", LiteLLMOptions(**{"model": "openai/m", **options}), price)


def ask(asked: LiteLLMUpstream, effect: Generate = ASKED) -> Generations:
    """By both ways, which must come to the same."""
    reply = asked.complete(effect, lambda: False)
    assert asyncio.run(asked.acomplete(effect)) == reply
    return reply


def refusal(asked: LiteLLMUpstream, effect: Generate = ASKED) -> UpstreamError:
    with pytest.raises(UpstreamError) as refused:
        asked.complete(effect, lambda: False)
    with pytest.raises(UpstreamError) as again:
        asyncio.run(asked.acomplete(effect))
    assert (str(again.value), again.value.said) == (str(refused.value), refused.value.said)
    return refused.value


# --- what it is asked --------------------------------------------------------------------------------------------


def test_a_request_says_what_is_asked_and_that_nothing_is_asked_again_or_dropped(
    install: Callable[..., FakeLitellm], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = install()
    monkeypatch.setenv("LITELLM_TEST_KEY", KEY)
    asked = upstream(
        api_base="http://127.0.0.1:9/v1", api_key_env="LITELLM_TEST_KEY", parameters={"top_k": 3, "temperature": 0.1}
    )
    tools = [{"type": "function", "function": {"name": "weather"}}]
    effect = replace(ASKED, n=2, temperature=0.7, top_p=0.9, max_tokens=20, cap=9, stop=("\n",), seed=4, logprobs=9)
    ask(asked, replace(effect, extra={"tools": tools}))
    assert fake.asked[0] == fake.asked[1]
    assert fake.asked[0] == {
        "model": "openai/m",
        "messages": [{"role": "user", "content": "Where is Lagos?"}],
        "n": 2,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 3,
        "max_tokens": 9,
        "stop": ["\n"],
        "seed": 4,
        "logprobs": True,
        "top_logprobs": 5,
        "tools": tools,
        "timeout": 3600.0,
        "num_retries": 0,
        "max_retries": 0,
        "drop_params": False,
        "api_base": "http://127.0.0.1:9/v1",
        "api_key": KEY,
    }
    assert KEY not in repr(asked)


def test_what_is_not_asked_is_not_sent(install: Callable[..., FakeLitellm]) -> None:
    fake = install()
    ask(upstream())
    own = {"timeout", "num_retries", "max_retries", "drop_params"}
    assert fake.asked[0].keys() - own == {"model", "messages"}


def test_litellm_may_write_into_what_it_is_given(install: Callable[..., FakeLitellm]) -> None:
    def scribbling(asked: dict[str, Any]) -> dict[str, Any]:
        asked["messages"][0]["content"].append({"type": "text", "text": "more"})
        return says("Nigeria")(asked)

    install(scribbling)
    wire = {"role": "user", "content": [{"type": "text", "text": "Where?"}]}
    ask(upstream(), replace(ASKED, messages=(Message("user", "Where?", wire),)))
    assert len(wire["content"]) == 1


@pytest.mark.parametrize("name", ["api_base", "api_key", "base_url", "callbacks", "mock_response", "metadata"])
def test_a_caller_passes_through_fields_of_the_chat_dialect_alone(
    name: str, install: Callable[..., FakeLitellm]
) -> None:
    fake = install()
    error = refusal(upstream(), replace(ASKED, extra={name: "http://127.0.0.1:1"}))
    assert (error.status, error.param, error.retryable) == (400, name, False)
    assert fake.asked == []


def test_fields_of_gates_own_that_a_provider_does_not_take_are_refused_one_by_one_and_never_dropped_unseen(
    install: Callable[..., FakeLitellm],
) -> None:
    fake = install(supported=["temperature", "n"])
    fake.drop_params = True  # as an application may have set it for itself
    effect, refused = replace(ASKED, n=2, seed=1, logprobs=2), []
    while fake.asked == []:
        try:
            upstream().complete(effect, lambda: False)
        except UpstreamError as error:
            name = refused_field(error)
            assert name is not None
            refused.append(name)
            effect = without(effect, name)
    assert refused == ["logprobs", "seed"]
    assert fake.asked[0].keys() >= {"n"}
    assert fake.drop_params is True


def test_a_field_that_the_policy_says_is_allowed_is_not_refused(install: Callable[..., FakeLitellm]) -> None:
    fake = install(supported=["temperature"])
    ask(upstream(parameters={"allowed_openai_params": ["seed"]}), replace(ASKED, seed=3))
    assert fake.asked[0]["seed"] == 3


def test_it_is_imported_with_its_look_ups_off_and_prints_nothing(
    install: Callable[..., FakeLitellm], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, asked = install(), upstream()
    monkeypatch.delitem(sys.modules, "litellm")
    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda name: fake if name == "litellm" else real(name))
    monkeypatch.delenv("LITELLM_LOCAL_MODEL_COST_MAP", raising=False)
    monkeypatch.setenv("LITELLM_LOCAL_BLOG_POSTS", "False")  # what an operator has set stands
    ask(asked)
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    assert os.environ["LITELLM_LOCAL_BLOG_POSTS"] == "False"
    assert fake.suppress_debug_info is True
    assert fake.drop_params is None


# --- what it answers ---------------------------------------------------------------------------------------------


def test_a_reply_is_read_as_one_of_an_openai_compatible_server(install: Callable[..., FakeLitellm]) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    token = {"token": "Peru", "logprob": -0.5, "top_logprobs": [{"token": "Peru", "logprob": -0.5}]}
    choices = [
        {"message": {"content": "Peru"}, "finish_reason": "length", "logprobs": {"content": [token]}},
        {"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"},
        {"message": {"content": None, "refusal": "I cannot"}, "finish_reason": "stop"},
        {"message": {"content": None, "reasoning_content": "hm"}, "finish_reason": "stop"},
    ]
    install(lambda _: {"model": "m-1", "choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 4}})
    reply = ask(upstream())
    text, called, declined, thought = reply.choices
    assert (text.text, text.finish_reason) == ("Peru", "length")
    assert text.tokens is not None
    assert text.tokens[0].top == (("Peru", -0.5),)
    assert called.tool_calls == (ToolCall("c1", "weather", "{}"),)
    assert declined.refusal == "I cannot"
    assert (thought.text, thought.tokens) == ("", None)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.model) == (3, 4, "m-1")


@pytest.mark.parametrize("data", [{}, {"choices": []}, {"choices": None}, {"choices": [{}]}])
def test_a_reply_that_holds_nothing_is_an_error_that_may_pass(
    data: dict[str, Any], install: Callable[..., FakeLitellm]
) -> None:
    install(lambda _: data)
    assert refusal(upstream()).retryable


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (401, False), (404, False), (429, True), (503, True)])
def test_what_a_server_refused_keeps_its_status_and_its_words_apart(
    status: int, retryable: bool, install: Callable[..., FakeLitellm], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_TEST_KEY", "my-own-gate")
    install(fails(status_error(status, f"no to: Where is Lagos? with my-own-gate and {KEY}", {"retry-after": "7"})))
    error = refusal(upstream(api_key_env="LITELLM_TEST_KEY"))
    assert str(error) == f"upstream 'up': refused with status {status}"
    assert (error.status, error.retryable, error.retry_after) == (status, retryable, 7.0)
    assert error.said == "no to: Where is Lagos? with *** and sk-***"
    assert error.__cause__ is None


def test_the_field_that_a_server_blames_is_known(install: Callable[..., FakeLitellm]) -> None:
    install(fails(status_error(400, "no", {}, {"message": "no", "param": "logprobs"})))
    assert refused_field(refusal(upstream())) == "logprobs"


def test_a_field_of_the_callers_that_litellm_refuses_is_named_and_not_dropped(
    install: Callable[..., FakeLitellm],
) -> None:
    said = "ollama does not support parameters: ['tool_choice'], for model=m. To drop these, set `litellm.drop_params"
    install(fails(UnsupportedParamsError(said)))
    error = refusal(upstream(), replace(ASKED, extra={"tool_choice": "auto"}))
    assert (error.status, error.param, refused_field(error)) == (400, "tool_choice", None)


def test_where_no_server_has_said_anything_no_status_is_made_up(install: Callable[..., FakeLitellm]) -> None:
    trace = "Traceback (most recent call last):\n  File x\nKeyError: secret"
    install(fails(status_error(500, f"Connection error.\n{trace}")))
    error = refusal(upstream())
    assert (error.status, error.retryable, error.said) == (None, True, "Connection error.")
    assert "cannot be reached" in str(error)


def test_an_answer_that_takes_too_long_is_a_time_out(install: Callable[..., FakeLitellm]) -> None:
    install(fails(timed_out()))
    error = refusal(upstream())
    assert isinstance(error, UpstreamTimeout)
    assert error.retryable


# --- what a policy may say of it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {"aws_secret_access_key": "x"},
        {"aws_session_token": "x"},
        {"vertex_credentials": "x"},
        {"extra_headers": {"Authorization": "x"}},
        {"extra_body": {"deep": [{"api_key": "x"}]}},
        {"success_callback": ["x"]},
        {"logger_fn": "x"},
        {"n": 3},
        {"stream": True},
        {"num_retries": 3},
        {"drop_params": True},
        {"fallbacks": ["x"]},
        {"caching": True},
        {"api_base": "http://127.0.0.1:1"},
    ],
)
def test_parameters_hold_no_secrets_no_callbacks_and_nothing_that_is_gates(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"secret|callbacks|gate's to set|holds a key"):
        LiteLLMOptions(model="openai/m", parameters=parameters)


def test_what_is_no_secret_is_taken_although_it_sounds_like_one() -> None:
    tool = {"function": {"name": "login", "parameters": {"properties": {"password": {"type": "string"}}}}}
    made = {
        "thinking": {"budget_tokens": 5},
        "prompt_cache_key": "x",
        "tools": [tool],
        "extra_headers": {"x-team": "a"},
    }
    assert LiteLLMOptions(model="openai/m", parameters=made).parameters == made


def test_an_address_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(ValidationError, match="user name or password"):
        LiteLLMOptions(model="openai/m", api_base="http://me:secret@host/v1")


def test_it_is_awaited_and_not_streamed(install: Callable[..., FakeLitellm]) -> None:
    install()
    made = upstream(capabilities={"n": 4, "logprobs": False})
    assert is_awaitable(made)
    assert not is_live(made)
    assert (made.profile.n, made.profile.logprobs, made.profile.stream) == (4, False, False)


def test_it_is_another_one_at_another_address_or_of_another_model(install: Callable[..., FakeLitellm]) -> None:
    install()
    made = [upstream(), upstream(api_base="http://127.0.0.1:9"), upstream(model="openai/o"), upstream(Price(9, 9))]
    assert len({each.fingerprint for each in made}) == 3
    assert made[0].fingerprint == made[3].fingerprint


def test_a_price_is_the_policys_or_the_tables_and_where_there_is_none_that_is_said_once(
    install: Callable[..., FakeLitellm], caplog: pytest.LogCaptureFixture
) -> None:
    install()
    assert (upstream().price, upstream().priced) == (Price(1.0, 2.0), True)
    assert (upstream(Price()).price, upstream(Price()).priced) == (Price(), True)
    assert caplog.records == []
    unknown = upstream(model="openai/mine")
    assert (unknown.price, unknown.priced) == (Price(), False)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "openai/mine" in record.getMessage()


# --- in a policy -------------------------------------------------------------------------------------------------

POLICY = """
name: mine
promise: {max_error: 0.05}
upstreams:
  up: {kind: litellm, model: MODEL, parameters: {top_k: 3}PRICE}
ladder: [up]
tiers: [[draft, samples, meanings]]
evidence: {samples: {n: 5}, meanings: {judge: lexical}}
signals: [vote_share, token_logprob_mean]
calibrator: vote_share
rule: {answer_at: 0.8}
BUDGET
"""


def policy(folder: Path, *, model: str = "openai/m", price: str = "", budget: str = "") -> str:
    path = folder / "mine.yaml"
    path.write_text(POLICY.replace("MODEL", model).replace("PRICE", price).replace("BUDGET", budget))
    return str(path)


def test_a_policy_over_litellm_answers_and_counts_what_the_table_says_it_costs(
    tmp_path: Path, install: Callable[..., FakeLitellm]
) -> None:
    fake = install(supported=["temperature"])
    gateway = load_gateway(policy(tmp_path))
    outcome, trace = gateway.ask(Question.from_text("Where is Lagos?"))
    gateway.close()
    assert (outcome.text, outcome.answered) == ("Nigeria", True)
    assert len(fake.asked) == 6  # a draft and five samples: n is not taken, and was found out
    assert trace.cost.money == pytest.approx(6 * (7 * 1.0 + 5 * 2.0) / 1e6)
    missing = {r.signal: r.missing for step in outcome.steps for r in step.signals.readings}
    assert missing["token_logprob_mean"]


def test_a_policy_whose_extra_is_not_installed_is_refused_when_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"mine.yaml:5: .*gate-llm\[litellm\]"):
        load_gateway(policy(tmp_path))
    with pytest.raises(MissingExtra):
        upstream()


def test_a_policy_is_loaded_without_importing_litellm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("imported")

    monkeypatch.setattr(module, "library", fail)
    monkeypatch.setattr(module, "find_spec", lambda name: importlib.util.find_spec("json"))
    assert load_gateway(policy(tmp_path)).plan.prices["up"] == Price(1.0, 2.0)


def test_a_budget_of_money_needs_a_price(tmp_path: Path, install: Callable[..., FakeLitellm]) -> None:
    install()
    budget = "budget: {money: 0.01}"
    with pytest.raises(ConfigError, match=r"mine.yaml:5: nobody knows what 'up' charges"):
        load_gateway(policy(tmp_path, model="openai/mine", budget=budget))
    priced = policy(tmp_path, model="openai/mine", budget=budget, price=", price: {prompt: 0, completion: 0}")
    assert load_gateway(priced).plan.prices["up"] == Price()
    assert load_gateway(policy(tmp_path, budget=budget)).plan.prices["up"] == Price(1.0, 2.0)
