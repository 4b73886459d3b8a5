"""The OpenAI client pointed at the real gate, with the pocket model behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import openai
import pytest

from gate.assemble import load_gateway
from gate.cli import demo_facts
from gate.gateway import Gateway
from gate.proxy.app import create_app
from gate.types import Action, Question
from tests.proxy.live_server import live
from tests.upstreams.faulty_server import FaultyServer
from tests.upstreams.faulty_server import chat as fake_chat


@pytest.fixture(scope="module")
def gateway() -> Gateway:
    return load_gateway("balanced")


@pytest.fixture(scope="module")
def url(gateway: Gateway) -> Iterator[str]:
    with live(create_app(gateway)) as address:
        yield f"{address}/v1"


@pytest.fixture(scope="module")
def one_of_each(gateway: Gateway) -> dict[Action, str]:
    """A question that is answered and one that is declined."""
    found: dict[Action, str] = {}
    for fact in demo_facts(60):
        found.setdefault(gateway.ask(Question.from_text(fact.question))[0].action, fact.question)
    return found


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="unused", max_retries=0)


def test_answers_and_refusals(url: str, one_of_each: dict[Action, str]) -> None:
    with client(url) as openai_client:
        for action, question in one_of_each.items():
            raw = openai_client.chat.completions.with_raw_response.create(
                model="gate", messages=[{"role": "user", "content": question}]
            )
            reply = raw.parse()
            message = reply.choices[0].message
            assert raw.headers["x-gate-action"] == action
            assert raw.headers["x-gate-certificate"] == "certified"
            assert bool(message.content) == (action is Action.ANSWER)
            assert bool(message.refusal) == (action is Action.ABSTAIN)
            assert reply.usage is not None
            assert reply.usage.total_tokens > 0
    assert one_of_each.keys() == {Action.ANSWER, Action.ABSTAIN}


def test_streams_say_the_same(url: str, one_of_each: dict[Action, str]) -> None:
    with client(url) as openai_client:
        for question in one_of_each.values():
            messages = [{"role": "user", "content": question}]
            whole = openai_client.chat.completions.create(model="gate", messages=messages).choices[0].message
            said = {"content": "", "refusal": ""}
            for chunk in openai_client.chat.completions.create(model="gate", messages=messages, stream=True):
                for key in said:
                    said[key] += getattr(chunk.choices[0].delta, key) or ""
            assert said == {"content": whole.content or "", "refusal": whole.refusal or ""}


def test_the_async_client_with_explanation_and_logprobs(url: str, one_of_each: dict[Action, str]) -> None:
    async def main() -> openai.types.chat.ChatCompletion:
        async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0) as openai_client:
            return await openai_client.chat.completions.create(
                model="balanced",
                messages=[{"role": "user", "content": one_of_each[Action.ANSWER]}],
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


def test_a_draft_cut_short_is_declined_and_says_so(url: str) -> None:
    with client(url) as openai_client:
        for limit in ({"max_tokens": 1}, {"max_completion_tokens": 1}):
            reply = openai_client.chat.completions.create(
                model="gate",
                messages=[{"role": "user", "content": "Where is Rustenburg?"}],
                extra_body={"gate": {"explain": True}},
                **limit,
            )
            assert reply.choices[0].message.content is None
            assert reply.model_extra is not None
            assert reply.model_extra["gate"]["reason"] == "cut_short"


def test_an_image_is_refused_by_a_model_that_sees_none(url: str) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with client(url) as openai_client, pytest.raises(openai.BadRequestError, match="text only"):
        openai_client.chat.completions.create(
            model="gate", messages=[{"role": "user", "content": [image, {"type": "text", "text": "Where is it?"}]}]
        )


def test_a_reply_with_half_a_surrogate_pair_is_read_once_and_comes_through(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "examples" / "openai_compatible" / "policy.yaml"
    policy = tmp_path / "policy.yaml"
    with FaultyServer.of(fake_chat("Ni\ud800geria")) as server:
        policy.write_text(source.read_text().replace("http://127.0.0.1:8000/v1", server.url))
        with live(create_app(load_gateway(str(policy)))) as address, client(f"{address}/v1") as openai_client:
            for stream in (False, True):
                asked = {"model": "gate", "messages": [{"role": "user", "content": "Where is Lagos?"}]}
                reply = openai_client.chat.completions.create(**asked, stream=stream)
                if stream:
                    said = "".join(chunk.choices[0].delta.content or "" for chunk in reply)
                else:
                    said = reply.choices[0].message.content
                assert said == "Ni?geria"
        assert len(server.asked) == 4, "a draft and its samples, twice"


def test_the_clients_own_error_classes_are_raised(url: str) -> None:
    with client(url) as openai_client:
        ask = [{"role": "user", "content": "Where is Lagos?"}]
        with pytest.raises(openai.NotFoundError, match="there is no model"):
            openai_client.chat.completions.create(model="gpt-9", messages=ask)
        with pytest.raises(openai.BadRequestError, match="n must be 1"):
            openai_client.chat.completions.create(model="gate", messages=ask, n=2)
        with pytest.raises(openai.BadRequestError, match="context length"):
            openai_client.chat.completions.create(model="gate", messages=[{"role": "user", "content": "x" * 20_000}])
        with pytest.raises(openai.BadRequestError, match="no user message"):
            openai_client.chat.completions.create(model="gate", messages=[{"role": "system", "content": "Be kind."}])
        assert "gate" in {model.id for model in openai_client.models.list()}


def test_a_known_model_is_found_by_its_name_and_no_other(url: str) -> None:
    with client(url) as openai_client:
        for name in ("gate", "balanced"):
            found = openai_client.models.retrieve(name)
            assert (found.id, found.object) == (name, "model")
            assert found in openai_client.models.list().data
        with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-9'; there is: gate, balanced") as caught:
            openai_client.models.retrieve("gpt-9")
        assert caught.value.code == "model_not_found"
