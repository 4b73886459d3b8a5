"""gate as a guardrail inside LiteLLM's proxy, a process of its own, and inside its Python calls."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import litellm
import openai
import pytest

from gate.errors import ConfigError
from gate.integrations.litellm_guardrail import GateGuardrail
from tests.integrations.litellm_servers import (
    BEARING_KEY,
    KEY,
    UNSURE,
    UPSTREAM_KEY,
    Proxy,
    _swept,  # noqa: F401
    closed,
    judging,
    litellm_proxy,  # noqa: F401
    quiet,
)
from tests.proxy.scripted_upstream import ANSWER, scripted
from tests.upstreams.faulty_server import FaultyServer

pytestmark = [*quiet, pytest.mark.usefixtures("_swept")]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture
def client(litellm_proxy: Proxy) -> openai.OpenAI:  # noqa: F811
    return openai.OpenAI(base_url=litellm_proxy.url, api_key=KEY, max_retries=0)


def ask(client: openai.OpenAI, text: str, guardrail: str, model: str = "plain", **more: Any) -> Any:
    return client.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": text}],
        extra_body={"guardrails": [guardrail]} if guardrail else {},
        **more,
    )


def streamed(client: openai.OpenAI, text: str, guardrail: str, **more: Any) -> list[Any]:
    return list(ask(client, text, guardrail, stream=True, **more).parse())


def said(chunks: list[Any], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def told(chunks: list[Any]) -> dict[str, Any]:
    (found,) = [
        choice.delta.provider_specific_fields["gate"]
        for chunk in chunks
        for choice in chunk.choices
        if getattr(choice.delta, "provider_specific_fields", None)
    ]
    return dict(found)


# --- behind the proxy --------------------------------------------------------------------------------------------


def test_an_answer_whose_samples_agree_goes_out_untouched_and_the_headers_say_so(
    client: openai.OpenAI,
    litellm_proxy: Proxy,  # noqa: F811
) -> None:
    before = len(litellm_proxy.upstream.asked)
    reply = ask(client, "Where is Lagos?", "refusing", temperature=0.3, max_tokens=30)
    message = reply.parse().choices[0].message
    assert (message.content, message.refusal) == (ANSWER, None)
    assert reply.headers["x-gate-action"] == "answer"
    assert float(reply.headers["x-gate-confidence"]) == pytest.approx(0.8)
    assert reply.headers["x-litellm-applied-guardrails"] == "refusing"
    draft, *samples = litellm_proxy.upstream.asked[before:]
    assert len(samples) == 3  # of the same deployment, with the same parameters but the temperature, and nothing more
    assert all(sample == {**draft, "temperature": 1.0} for sample in samples)
    assert litellm_proxy.upstream.headers[-1]["authorization"] == f"Bearer {UPSTREAM_KEY}"


def test_an_answer_whose_samples_differ_is_replaced_by_the_refusal(client: openai.OpenAI) -> None:
    reply = ask(client, "unsure", "refusing")
    choice = reply.parse().choices[0]
    assert (choice.message.content, choice.message.refusal, choice.finish_reason) == (UNSURE, UNSURE, "stop")
    assert (reply.headers["x-gate-action"], reply.headers["x-gate-reason"]) == ("abstain", "uncertain")


def keys_since(proxy: Proxy, before: int) -> list[str]:
    return [headers["authorization"].removeprefix("Bearer ") for headers in proxy.upstream.headers[before:]]


@pytest.mark.parametrize(("text", "wanted"), [("Where is Lagos?", ANSWER), ("unsure", UNSURE)])
@pytest.mark.parametrize("how", ["whole", "streamed", "fallen back on"])
def test_a_deployment_that_names_it_itself_is_judged_once_and_asked_again_itself(
    client: openai.OpenAI,
    litellm_proxy: Proxy,  # noqa: F811
    how: str,
    text: str,
    wanted: str,
) -> None:
    """Another deployment has the same model, and another key."""
    before = len(litellm_proxy.upstream.asked)
    if how == "streamed":
        assert said(streamed(client, text, "", model="bearing")) == wanted
    else:
        reply = ask(client, text, "", model="bearing" if how == "whole" else "falling")
        assert reply.parse().choices[0].message.content == wanted
        if how == "whole":
            assert reply.headers["x-gate-action"] == ("answer" if wanted == ANSWER else "abstain")
    assert keys_since(litellm_proxy, before) == [BEARING_KEY] * 4


def test_what_it_blocks_is_no_fault_for_which_the_router_asks_again(
    client: openai.OpenAI,
    litellm_proxy: Proxy,  # noqa: F811
) -> None:
    before = len(litellm_proxy.upstream.asked)
    with pytest.raises(openai.UnprocessableEntityError, match=UNSURE):
        ask(client, "unsure", "", model="bearing-hard")
    assert keys_since(litellm_proxy, before) == [BEARING_KEY] * 4
    assert ask(client, "unsure", "", model="falling-hard").parse().choices[0].message.content == UNSURE


def test_nobody_is_asked_for_samples_where_the_deployment_is_not_known(
    guardrail: GateGuardrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = SimpleNamespace(acompletion=lambda **asked: pytest.fail("somebody else was asked"))
    monkeypatch.setitem(sys.modules, "litellm.proxy.proxy_server", SimpleNamespace(llm_router=router))  # type: ignore[arg-type]
    choice = {"message": {"content": ANSWER, "role": "assistant"}, "finish_reason": "stop"}
    reply = litellm.ModelResponse(model="m", choices=[choice])
    data: dict[str, Any] = {
        "model": "a",
        "messages": [{"role": "user", "content": "Where is Lagos?"}],
        "proxy_server_request": {},
    }
    judged = asyncio.run(guardrail.async_post_call_success_hook(data, None, reply))
    assert judged.choices[0].message.content == UNSURE
    assert asyncio.run(guardrail.async_post_call_success_hook(data, None, reply)) is None, "it is judged already"
    assert data["metadata"]["gate_headers"]["x-gate-action"] == "abstain"


def test_or_is_an_error_that_blocks(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as blocked:
        ask(client, "unsure", "failing")
    assert blocked.value.response.json()["error"]["message"] == UNSURE
    assert blocked.value.response.headers["x-gate-action"] == "abstain"
    assert ask(client, "Where is Lagos?", "failing").parse().choices[0].message.content == ANSWER


def test_or_goes_out_marked(client: openai.OpenAI) -> None:
    reply = ask(client, "unsure", "noting")
    assert reply.parse().choices[0].message.content != UNSURE
    assert reply.headers["x-gate-action"] == "abstain"


def test_no_samples_are_drawn_where_none_may_be_and_then_nothing_is_known(
    client: openai.OpenAI,
    litellm_proxy: Proxy,  # noqa: F811
) -> None:
    before = len(litellm_proxy.upstream.asked)
    reply = ask(client, "Where is Lagos?", "drawing-none")
    assert len(litellm_proxy.upstream.asked) == before + 1
    assert reply.parse().choices[0].message.content == UNSURE


def test_each_of_several_answers_is_judged(client: openai.OpenAI) -> None:
    reply = ask(client, "unsure", "refusing", n=2)
    assert [choice.message.content for choice in reply.parse().choices] == [UNSURE, UNSURE]
    assert reply.headers["x-gate-action"] == "abstain, abstain"
    alike = ask(client, "Where is Lagos?", "refusing", n=2)
    assert [choice.message.content for choice in alike.parse().choices] == [ANSWER, ANSWER]


def test_calls_of_tools_are_judged_as_they_are(client: openai.OpenAI) -> None:
    message = ask(client, "weather in Lagos?", "refusing", tools=TOOLS).parse().choices[0].message
    assert message.tool_calls[0].function.name == "weather"


def test_whoever_does_not_ask_for_the_guardrail_is_served_as_before(
    client: openai.OpenAI,
    litellm_proxy: Proxy,  # noqa: F811
) -> None:
    before = len(litellm_proxy.upstream.asked)
    reply = ask(client, "unsure", "")
    assert reply.parse().choices[0].message.content != UNSURE
    assert not [name for name in reply.headers if name.startswith("x-gate")]
    assert len(litellm_proxy.upstream.asked) == before + 1


def test_nobody_writes_these_headers_by_the_metadata_of_a_call(client: openai.OpenAI) -> None:
    reply = client.chat.completions.with_raw_response.create(
        model="plain",
        messages=[{"role": "user", "content": "Where is Lagos?"}],
        extra_body={"metadata": {"gate_headers": {"x-gate-action": "answer"}}},
    )
    assert "x-gate-action" not in reply.headers


def test_a_stream_is_held_until_it_is_judged_and_then_goes_out_as_it_came(client: openai.OpenAI) -> None:
    chunks = streamed(client, "Where is Lagos?", "refusing")
    assert said(chunks) == ANSWER
    assert sum(bool(said([chunk])) for chunk in chunks) > 1
    assert (told(chunks)["action"], told(chunks)["certificate"]) == ("answer", "none")


def test_a_stream_that_may_not_go_out_says_the_refusal_alone(client: openai.OpenAI) -> None:
    chunks = streamed(client, "unsure", "refusing", stream_options={"include_usage": True})
    assert said(chunks) == UNSURE
    assert chunks[0].choices[0].delta.refusal == UNSURE
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]
    assert told(chunks)["action"] == "abstain"
    assert chunks[-1].usage.prompt_tokens == 7


def test_of_a_stream_of_several_each_is_judged(client: openai.OpenAI) -> None:
    chunks = streamed(client, "unsure", "refusing", n=2)
    assert [said(chunks, index) for index in (0, 1)] == [UNSURE, UNSURE]
    assert [choice["action"] for choice in told(chunks)["choices"]] == ["abstain", "abstain"]


def test_a_stream_is_blocked_before_its_first_word(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=UNSURE):
        streamed(client, "unsure", "failing")


def test_what_says_something_in_another_form_is_refused_rather_than_let_through_unseen(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="chat completions alone"):
        client.completions.create(model="plain", prompt="Lagos is in", extra_body={"guardrails": ["refusing"]})


def test_no_key_is_in_what_the_proxy_logs(litellm_proxy: Proxy) -> None:  # noqa: F811
    logged = litellm_proxy.log.read_text()
    assert KEY not in logged
    assert UPSTREAM_KEY not in logged


# --- in Python ---------------------------------------------------------------------------------------------------


@pytest.fixture
def guardrail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GateGuardrail:
    made = GateGuardrail(policy=str(judging(tmp_path)), samples=3)
    monkeypatch.setattr(litellm, "callbacks", [made])
    return made


def call(text: str, server: FaultyServer, **more: Any) -> Any:
    async def main() -> Any:
        try:
            return await litellm.acompletion(
                model="openai/m",
                api_base=server.url,
                api_key=UPSTREAM_KEY,
                messages=[{"role": "user", "content": text}],
                guardrails=["gate"],
                **more,
            )
        finally:
            await closed()

    return asyncio.run(main())


def test_a_python_call_is_judged_too_with_samples_from_the_same_place(guardrail: GateGuardrail) -> None:
    with FaultyServer.of(scripted) as server:
        reply = call("Where is Lagos?", server, metadata={"app": "mine"})
        assert reply.choices[0].message.content == ANSWER
        assert reply._hidden_params["gate"]["action"] == "answer"
        assert reply._hidden_params["gate"]["cost"]["calls"] == 3
        assert len(server.asked) == 4
        assert call("unsure", server).choices[0].message.content == UNSURE
        assert {each["authorization"] for each in server.headers} == {f"Bearer {UPSTREAM_KEY}"}
        guardrail.on_abstention = "error"
        with pytest.raises(litellm.exceptions.GuardrailRaisedException, match=UNSURE) as blocked:
            call("unsure", server)
        assert blocked.value.status_code == 422


def test_samples_are_drawn_anew_where_litellm_caches(guardrail: GateGuardrail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "cache", litellm.Cache())
    with FaultyServer.of(scripted) as server:
        call("Where is Lagos?", server, caching=True)
        assert len(server.asked) == 4


def test_a_deployment_may_bring_the_guardrail_itself_and_its_samples_are_not_judged_again(
    guardrail: GateGuardrail,
) -> None:
    async def main() -> Any:
        where = {"api_base": server.url, "api_key": UPSTREAM_KEY}
        deployment = {"model_name": "a", "litellm_params": {"model": "openai/m", "guardrails": ["gate"], **where}}
        router = litellm.Router(model_list=[deployment])
        try:
            return await router.acompletion(model="a", messages=[{"role": "user", "content": "unsure"}])
        finally:
            await closed()

    with FaultyServer.of(scripted) as server:
        assert asyncio.run(main()).choices[0].message.content == UNSURE
        assert len(server.asked) == 4
        assert all("api_key" not in json.dumps(each) for each in server.asked)


@pytest.mark.parametrize("options", [{"on_abstention": "shrug"}, {"samples": -1}, {"samples": "3"}, {"policy": "no"}])
def test_what_cannot_be_is_refused_when_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        GateGuardrail(**options)


def test_it_runs_after_calls_alone() -> None:
    with pytest.raises(ValueError, match="pre_call"):
        GateGuardrail(event_hook="pre_call")
