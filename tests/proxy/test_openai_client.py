"""The OpenAI client pointed at a running gate: chat, with pocket models and with a scripted upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest
from pydantic import BaseModel

from gate.assemble import load_gateway
from gate.cli import demo_facts
from gate.types import Action, Question
from tests.proxy.gate_process import Serving
from tests.proxy.live_server import live
from tests.proxy.scripted_upstream import ANSWER, RED, SUNNY
from tests.proxy.served import app_of
from tests.upstreams.faulty_server import FaultyServer
from tests.upstreams.faulty_server import chat as fake_chat

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


UNSURE = "I am unsure: where is Lagos?"
REFUSAL = "I am not sure enough of an answer to give you one."


class City(BaseModel):
    city: str
    country: str


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def url(house: Serving) -> str:
    return f"{house.url}/v1"


@pytest.fixture
def client(house: Serving) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=house.keys["app"], max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def one_of_each() -> dict[Action, str]:
    """A question that is answered and one that is declined."""
    gateway, found = load_gateway("balanced"), dict[Action, str]()
    for fact in demo_facts(60):
        found.setdefault(gateway.ask(Question.from_text(fact.question))[0].action, fact.question)
    return found


# --- pocket models -----------------------------------------------------------------------------------------------


def test_answers_and_refusals(client: openai.OpenAI, one_of_each: dict[Action, str]) -> None:
    for action, question in one_of_each.items():
        raw = client.chat.completions.with_raw_response.create(model="balanced", messages=said(question))
        reply = raw.parse()
        message = reply.choices[0].message
        assert raw.headers["x-gate-action"] == action
        assert raw.headers["x-gate-certificate"] == "certified"
        assert bool(message.content) == (action is Action.ANSWER)
        assert bool(message.refusal) == (action is Action.ABSTAIN)
        assert reply.usage is not None
        assert reply.usage.total_tokens > 0
    assert one_of_each.keys() == {Action.ANSWER, Action.ABSTAIN}


def test_streams_say_the_same(client: openai.OpenAI, one_of_each: dict[Action, str]) -> None:
    for question in one_of_each.values():
        whole = client.chat.completions.create(model="balanced", messages=said(question)).choices[0].message
        written = {"content": "", "refusal": ""}
        for chunk in client.chat.completions.create(model="balanced", messages=said(question), stream=True):
            for key in written:
                written[key] += getattr(chunk.choices[0].delta, key) or ""
        assert written == {"content": whole.content or "", "refusal": whole.refusal or ""}


def test_an_abstention_is_an_error_where_that_is_preferred(
    client: openai.OpenAI, one_of_each: dict[Action, str]
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.chat.completions.create(
            model="balanced",
            messages=said(one_of_each[Action.ABSTAIN]),
            extra_body={"gate": {"abstention": "error"}},
        )
    assert caught.value.type == "gate_abstention"
    assert caught.value.response.headers["x-gate-action"] == "abstain"


def test_the_async_client_with_explanation_and_logprobs(
    house: Serving, url: str, one_of_each: dict[Action, str]
) -> None:
    async def main() -> openai.types.chat.ChatCompletion:
        async with openai.AsyncOpenAI(base_url=url, api_key=house.keys["app"], max_retries=0) as openai_client:
            return await openai_client.chat.completions.create(
                model="balanced",
                messages=said(one_of_each[Action.ANSWER]),
                logprobs=True,
                top_logprobs=2,
                extra_body={"gate": {"explain": True}},
            )

    reply = anyio.run(main)
    assert reply.model_extra is not None
    explained = reply.model_extra["gate"]
    assert explained["action"] == "answer"
    assert explained["confidence"]["p"] >= explained["threshold"]
    assert reply.choices[0].logprobs is not None
    assert reply.choices[0].logprobs.content


def test_a_draft_cut_short_is_declined_and_says_so(client: openai.OpenAI) -> None:
    for limit in ({"max_tokens": 1}, {"max_completion_tokens": 1}):
        reply = client.chat.completions.create(
            model="balanced",
            messages=said("Where is Rustenburg?"),
            extra_body={"gate": {"explain": True}},
            **limit,
        )
        assert reply.choices[0].message.content is None
        assert reply.model_extra is not None
        assert reply.model_extra["gate"]["reason"] == "cut_short"


IMAGE: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def test_an_image_is_refused_by_a_model_that_sees_none(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="text only"):
        client.chat.completions.create(
            model="balanced",
            messages=[{"role": "user", "content": [IMAGE, {"type": "text", "text": "Where is it?"}]}],
        )


def test_a_reply_with_half_a_surrogate_pair_is_read_once_and_comes_through(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "examples" / "openai_compatible" / "policy.yaml"
    policy = tmp_path / "policy.yaml"
    with FaultyServer.of(fake_chat("Ni\ud800geria")) as server:
        policy.write_text(source.read_text().replace("http://127.0.0.1:8000/v1", server.url))
        with (
            live(app_of(str(policy))) as address,
            openai.OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0) as openai_client,
        ):
            for stream in (False, True):
                reply = openai_client.chat.completions.create(
                    model="gate", messages=said("Where is Lagos?"), stream=stream
                )
                if stream:
                    text = "".join(chunk.choices[0].delta.content or "" for chunk in reply)
                else:
                    text = reply.choices[0].message.content
                assert text == "Ni?geria"
        assert len(server.asked) == 4, "a draft and its samples, twice"


# --- a scripted upstream -----------------------------------------------------------------------------------------


def test_several_answers_with_logprobs_and_usage_of_them_all(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="gate", messages=said("Where is Lagos?"), n=3, seed=5, logprobs=True, top_logprobs=1, user="someone"
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert {choice.message.content for choice in reply.choices} == {ANSWER}
    for choice in reply.choices:
        assert choice.logprobs is not None
        assert "".join(token.token for token in choice.logprobs.content or ()) == ANSWER
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 3 * 2 * 7, "a draft and its samples for each"
    assert reply.usage.completion_tokens == 3 * 6 * 5, "one draft and five samples for each"


def test_several_answers_stream_side_by_side(client: openai.OpenAI) -> None:
    written = {0: "", 1: ""}
    counted = None
    for chunk in client.chat.completions.create(
        model="gate", messages=said("Where is Lagos?"), n=2, stream=True, stream_options={"include_usage": True}
    ):
        for choice in chunk.choices:
            written[choice.index] += choice.delta.content or ""
        counted = chunk.usage or counted
    assert written == {0: ANSWER, 1: ANSWER}
    assert counted is not None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("cities", [["Lagos"], ["Lagos", "Abuja"]], ids=len)
def test_tools_are_called_and_their_results_answered_from(
    client: openai.OpenAI, cities: list[str], stream: bool
) -> None:
    messages = said(f"How is the weather in {' and '.join(cities)}?")
    if stream:
        with client.chat.completions.stream(model="gate", messages=messages, tools=[WEATHER]) as events:
            choice = events.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(model="gate", messages=messages, tools=[WEATHER]).choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls or []
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        ("weather", f'{{"city": "{city}"}}') for city in cities
    ]
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
    called = choice.message.to_dict(exclude_none=True)
    called = {key: value for key, value in called.items() if key in ("role", "content", "tool_calls")}
    again = client.chat.completions.create(model="gate", messages=[*messages, called, *results], tools=[WEATHER])
    assert again.choices[0].message.content == SUNNY


def test_structured_outputs_are_parsed_whole_and_streamed(client: openai.OpenAI) -> None:
    wanted: dict[str, Any] = {"model": "gate", "messages": said("Where is Lagos?"), "response_format": City}
    parsed = client.chat.completions.parse(**wanted).choices[0].message.parsed
    assert parsed == City(city="Lagos", country="Nigeria")
    with client.chat.completions.stream(**wanted) as events:
        assert events.get_final_completion().choices[0].message.parsed == parsed


def test_a_refusal_of_structured_outputs_is_a_refusal_to_the_client(client: openai.OpenAI) -> None:
    completion = client.chat.completions.parse(model="gate", messages=said(UNSURE), response_format=City)
    message = completion.choices[0].message
    assert message.parsed is None
    assert message.refusal == REFUSAL
    with client.chat.completions.stream(model="gate", messages=said(UNSURE), response_format=City) as events:
        kinds = {event.type for event in events}
        assert events.get_final_completion().choices[0].message.refusal == REFUSAL
    assert "refusal.done" in kinds


def test_an_image_reaches_a_model_that_sees(client: openai.OpenAI, upstream: FaultyServer) -> None:
    content: Any = [IMAGE, {"type": "text", "text": "What is it?"}]
    reply = client.chat.completions.create(model="gate", messages=[{"role": "user", "content": content}])
    assert reply.choices[0].message.content == RED
    assert upstream.asked[-1]["messages"][-1]["content"] == content


def test_unknown_fields_reach_the_upstream_and_gates_own_do_not(client: openai.OpenAI, upstream: FaultyServer) -> None:
    before = len(upstream.asked)
    client.chat.completions.create(
        model="gate",
        messages=said("Where is Lagos?"),
        extra_body={"tone": 7, "top_k": 3, "gate": {"explain": True}},
        extra_headers={"x-something": "of the client"},
    )
    draft, *samples = upstream.asked[before:]
    assert draft["top_k"] == 3
    assert samples
    assert not any("top_k" in asked for asked in samples), "they would agree for the asking"
    for asked, headers in zip(upstream.asked[before:], upstream.headers[before:], strict=True):
        assert asked["tone"] == 7
        assert "gate" not in asked
        assert asked["model"] == "my-model"
        assert "x-something" not in headers
        assert client.api_key not in str(headers)


def test_an_annotated_stream_comes_at_once_and_is_withdrawn_where_it_may_not_stand(client: openai.OpenAI) -> None:
    told = {}
    for asked in ("Where is Lagos?", UNSURE):
        chunks = list(client.chat.completions.create(model="early", messages=said(asked), stream=True))
        told[asked] = (
            "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
            "".join(chunk.choices[0].delta.refusal or "" for chunk in chunks),
            chunks[-1].choices[0].finish_reason,
            (chunks[-1].model_extra or {}).get("gate", {}).get("retracted"),
        )
    stands, withdrawn = told.values()
    assert stands == (ANSWER, "", "stop", None)
    assert withdrawn[0], "it was sent"
    assert withdrawn[1:] == (REFUSAL, "content_filter", True)


def test_a_policy_that_observes_answers_what_it_would_refuse(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="observing", messages=said(UNSURE))
    assert raw.parse().choices[0].message.content
    assert (raw.headers["x-gate-mode"], raw.headers["x-gate-action"]) == ("observe", "answer")


# --- models and errors -------------------------------------------------------------------------------------------


def test_the_clients_own_error_classes_are_raised(client: openai.OpenAI, house: Serving, url: str) -> None:
    def create(text: str = "Where is Lagos?", **more: Any) -> None:
        client.chat.completions.create(**{"model": "gate", "messages": said(text), **more})

    with pytest.raises(openai.NotFoundError, match="there is no model"):
        create(model="gpt-9")
    with pytest.raises(openai.BadRequestError, match="less than or equal to 8"):
        create(n=9)
    with pytest.raises(openai.BadRequestError, match="context length"):
        create("x" * 20_000, model="balanced")
    with pytest.raises(openai.BadRequestError, match="no user message"):
        create(messages=[{"role": "system", "content": "Be kind."}])
    with pytest.raises(openai.BadRequestError, match="base_url cannot be given"):
        create(extra_body={"base_url": "http://127.0.0.1:1/v1"})
    with pytest.raises(openai.BadRequestError, match="upstream says 422"):
        create("status 422")
    with pytest.raises(openai.APIStatusError, match="main") as caught:
        create("status 401")
    assert caught.value.status_code == 502, "it is gate's key that was refused, not the client's"
    with pytest.raises(openai.APIStatusError, match="upstream says 418"):
        create("status 418")
    with pytest.raises(openai.PermissionDeniedError):
        client.get("/../metrics", cast_to=object, options={"headers": house.bearer("tenant")})
    with openai.OpenAI(base_url=url, api_key="gate-unknown", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as refused:
            stranger.models.list()
        assert refused.value.code == "invalid_api_key"


def test_a_known_model_is_found_by_its_name_and_no_other(client: openai.OpenAI) -> None:
    for name in ("gate", "balanced"):
        found = client.models.retrieve(name)
        assert (found.id, found.object) == (name, "model")
        assert found in client.models.list().data
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-9'; there is: gate, scripted") as caught:
        client.models.retrieve("gpt-9")
    assert caught.value.code == "model_not_found"
