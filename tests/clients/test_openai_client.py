"""The real client of the ``openai`` library, wrapped, against real servers."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI, Stream
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import gate
from gate.clients import decision_of, decisions_of
from gate.decorator.decided import Abstained
from tests.clients.policies import gateway
from tests.proxy.live_server import live
from tests.proxy.scripted_upstream import ANSWER, CITY, scripted
from tests.upstreams.faulty_server import Behaviour, FaultyServer, chat, refuses, silent, status

_NUMBERS = count(1000)
REFUSAL = "I am not sure."
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class City(BaseModel):
    city: str
    country: str


def asks(text: str) -> Any:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def client_of(server: FaultyServer, **more: Any) -> OpenAI:
    return OpenAI(base_url=server.url, api_key="sk-mine", max_retries=0, **more)


def async_client_of(server: FaultyServer) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=server.url, api_key="sk-mine", max_retries=0)


async def says_it_back(request: Request) -> JSONResponse:
    """What it is told, or of an unsure question another number each time."""
    asked = await request.json()
    text = asked["messages"][-1]["content"]
    texts = [str(next(_NUMBERS)) if "unsure" in text else text for _ in range(asked.get("n", 1))]
    choices = [
        {"index": place, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        for place, said in enumerate(texts)
    ]
    return JSONResponse({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices})


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with FaultyServer.of(scripted) as running:
        yield running


@pytest.fixture
def client(server: FaultyServer, tmp_path: Path) -> Iterator[OpenAI]:
    server.asked.clear()
    server.headers.clear()
    with gate.wrap(client_of(server), gateway(tmp_path)) as wrapped:
        yield wrapped


def test_an_answer_that_samples_agree_on_is_the_servers_own(server: FaultyServer, client: OpenAI) -> None:
    reply = client.chat.completions.create(**asks("Where is Lagos?"), temperature=0.1, user="u")
    assert isinstance(client, OpenAI)
    assert reply.choices[0].message.content == ANSWER
    assert reply.choices[0].logprobs is None
    assert reply.model == "m-1"
    assert reply.usage is not None
    assert reply.usage.total_tokens == 12
    decided = decision_of(reply)
    assert (decided.answered, decided.reason, decided.value) == (True, "confident", reply)
    assert (decided.cost.calls, decided.cost.tokens) == (2, 12 + 7 + 25)
    assert decisions_of(client) == (decided,)
    draft, samples = server.asked
    assert (draft["temperature"], draft["user"], draft["logprobs"]) == (0.1, "u", True)
    assert (samples["n"], samples["temperature"], samples["user"], samples["model"]) == (5, 1.0, "u", "m")
    assert {headers["authorization"] for headers in server.headers} == {"Bearer sk-mine"}


def test_an_answer_that_samples_disagree_on_is_withheld(client: OpenAI) -> None:
    reply = client.chat.completions.create(**asks("unsure"))
    assert (reply.choices[0].message.content, reply.choices[0].message.refusal) == (None, REFUSAL)
    decided = decision_of(reply)
    assert isinstance(decided.value, Abstained)
    assert decided.reason == "uncertain"
    assert decided.trace.tape[0].generations is not None  # what was withheld is there for the log
    with pytest.raises(gate.AnswerWithheld, match=REFUSAL):
        client.chat.completions.create(**asks("unsure"), extra_body={"gate": {"abstention": "error"}})
    assert len(decisions_of(client)) == 2


def test_an_abstention_may_be_an_error(server: FaultyServer, tmp_path: Path) -> None:
    with gate.wrap(client_of(server), gateway(tmp_path), on_abstention="raise") as client:
        assert client.chat.completions.create(**asks("Where is Lagos?")).choices[0].message.content == ANSWER
        with pytest.raises(gate.AnswerWithheld, match=REFUSAL) as caught:
            client.chat.completions.create(**asks("unsure"), stream=True)
        assert caught.value.abstained.p is not None


def test_a_larger_model_answers_in_its_likeness(server: FaultyServer, tmp_path: Path) -> None:
    with (
        FaultyServer.of(chat("Nepal", model="its-own")) as larger,
        gate.wrap(client_of(server), gateway(tmp_path, larger=larger.url)) as client,
    ):
        reply = client.chat.completions.create(**asks("unsure"), logprobs=True)
        assert reply.choices[0].message.content == "Nepal"
        assert (reply.choices[0].logprobs.content or [])[0].token == "Nepal"  # type: ignore[union-attr]
        assert reply.model == "its-own"
        decided = decision_of(reply)
        assert (decided.outcome.upstream, decided.value) == ("large", reply)
        assert [step.decision.action.value for step in decided.outcome.steps] == ["escalate", "answer"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_a_gate_with_a_log_decides_is_kept(server: FaultyServer, tmp_path: Path, kind: str) -> None:
    address = f"sqlite:///{tmp_path / 'kept.db'}"
    with gate.Gate(gateway(tmp_path), log=address) as judging:
        if kind == "sync":
            with gate.wrap(client_of(server), judging) as client:
                decided = decision_of(client.chat.completions.create(**asks("Where is Lagos?")))
        else:

            async def main() -> Any:
                async with gate.wrap(async_client_of(server), judging) as client:
                    return decision_of(await client.chat.completions.create(**asks("Where is Lagos?")))

            decided = asyncio.run(main())
        assert judging.label(decided, right=True), "it is there to be labelled"
        assert not judging.label("another", right=True)


def test_a_wrapped_client_is_copied_and_neither_pickled_nor_captured(client: OpenAI) -> None:
    copied = copy.copy(client)
    assert copied.chat.completions.create(**asks("unsure")).choices[0].message.refusal == REFUSAL
    assert len(decisions_of(client)) == len(decisions_of(copied)) == 1
    with pytest.raises(TypeError, match="a wrapped client cannot be pickled"):
        pickle.dumps(client)
    with pytest.raises(TypeError, match=r"client: gate\.wrap judges what this one answers"):
        gate.capture(client)


def test_a_budget_that_is_none_is_refused_by_name(server: FaultyServer, tmp_path: Path) -> None:
    with client_of(server) as client, pytest.raises(TypeError, match=r"budget: a gate\.Budget was expected, not a int"):
        gate.wrap(client, gateway(tmp_path), budget=5)  # type: ignore[arg-type]


def test_only_what_is_given_is_judged_where_nothing_may_be_gathered(server: FaultyServer, tmp_path: Path) -> None:
    with (
        FaultyServer.of(chat("Nepal")) as larger,
        gate.wrap(client_of(server), gateway(tmp_path, larger=larger.url), gather=False) as client,
    ):
        assert client.chat.completions.create(**asks("unsure")).choices[0].message.refusal == REFUSAL
        assert not larger.asked


def test_tools_are_called(client: OpenAI) -> None:
    reply = client.chat.completions.create(**asks("How is the weather in Lagos?"), tools=[WEATHER])
    [call] = reply.choices[0].message.tool_calls or []
    assert (call.type, reply.choices[0].finish_reason) == ("function", "tool_calls")
    followed = client.chat.completions.create(
        model="m",
        messages=[
            {"role": "user", "content": "How is the weather in Lagos?"},
            reply.choices[0].message,  # type: ignore[list-item]
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ],
        tools=[WEATHER],
    )
    assert followed.choices[0].message.content == "It is sunny there."


def test_log_probabilities_are_given_to_who_asks_for_them(server: FaultyServer, client: OpenAI) -> None:
    reply = client.chat.completions.create(**asks("Where is Lagos?"), logprobs=True)
    assert reply.choices[0].logprobs is not None
    tokens = reply.choices[0].logprobs.content or []
    assert "".join(token.token for token in tokens) == ANSWER
    assert all(token.top_logprobs == [] for token in tokens)
    assert server.asked[0]["top_logprobs"] == 5


def test_answers_are_parsed(client: OpenAI) -> None:
    reply = client.chat.completions.parse(**asks("Where?"), response_format=City)
    assert reply.choices[0].message.parsed == City(**CITY)
    assert decision_of(reply).answered
    refused = client.beta.chat.completions.parse(**asks("unsure where"), response_format=City)
    assert (refused.choices[0].message.parsed, refused.choices[0].message.refusal) == (None, REFUSAL)


def test_each_of_several_answers_has_its_verdict(client: OpenAI) -> None:
    reply = client.chat.completions.create(**asks("Where is Lagos?"), n=2)
    assert [choice.message.content for choice in reply.choices] == [ANSWER, ANSWER]
    decided = [decision_of(choice) for choice in reply.choices]
    whole = decision_of(reply)
    assert whole.id == decided[0].id
    assert whole.cost.calls == whole.explain()["cost"]["calls"] == sum(each.cost.calls for each in decided)
    assert whole.cost.tokens == sum(each.cost.tokens for each in decided)
    assert whole.cost.calls > decided[0].cost.calls
    assert list(decisions_of(client)) == decided
    assert decided[0].id != decided[1].id
    assert sum(each.cost.calls for each in decided) == 3  # one for both drafts


@pytest.mark.parametrize(("text", "field", "said"), [("Lagos?", "content", ANSWER), ("unsure", "refusal", REFUSAL)])
def test_a_stream_is_held_until_it_is_judged(client: OpenAI, text: str, field: str, said: str) -> None:
    stream = client.chat.completions.create(**asks(text), stream=True, stream_options={"include_usage": True})
    assert isinstance(stream, Stream)
    assert decision_of(stream) in decisions_of(client)
    with stream:
        made = list(stream)
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in made)
    told = [getattr(chunk.choices[0].delta, field) or "" for chunk in made if chunk.choices]
    assert "".join(told) == said
    assert made[-2].choices[0].finish_reason == "stop"
    assert made[-1].usage is not None
    assert made[-1].usage.total_tokens == 12


def test_the_librarys_own_helper_streams_what_is_judged(client: OpenAI) -> None:
    with client.chat.completions.stream(**asks("Where?"), response_format=City) as stream:
        events = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in events
    assert final.choices[0].message.parsed == City(**CITY)
    with client.chat.completions.stream(**asks("unsure"), tools=[WEATHER]) as stream:
        assert stream.get_final_completion().choices[0].message.refusal == REFUSAL


def test_everything_else_is_the_clients_own(server: FaultyServer, tmp_path: Path) -> None:
    original = client_of(server)
    attributes = {**vars(original)}
    with gate.wrap(original, gateway(tmp_path)) as client:
        assert client.embeddings.create(model="e", input="Lagos").data[0].embedding == [5.0, 1.0]
        assert client.embeddings is original.embeddings
        assert client.api_key == "sk-mine"
        client.api_key = "sk-new"
        assert original.api_key == "sk-new"
        raw = client.chat.completions.with_raw_response.create(**asks("unsure"))
        assert raw.parse().choices[0].message.refusal is None
        assert not decisions_of(client)
        assert original.chat.completions.create(**asks("unsure")).choices[0].message.refusal is None
    assert original.is_closed()
    assert vars(original).keys() - attributes.keys() <= {"embeddings", "chat"}  # which it makes itself, when asked


def test_clients_made_of_it_are_gated_too(client: OpenAI) -> None:
    for made in (client.with_options(timeout=9), client.copy(max_retries=1)):
        assert type(made) is type(client)
        assert made.chat.completions.create(**asks("unsure")).choices[0].message.refusal == REFUSAL
        assert len(decisions_of(made)) == 1
    assert client.with_options(timeout=9).timeout == 9
    assert not decisions_of(client)


def test_azures_client_is_one_too(tmp_path: Path) -> None:
    with FaultyServer.of(chat("Nigeria")) as theirs:
        endpoint = theirs.url.removesuffix("/v1")
        original = AzureOpenAI(azure_endpoint=endpoint, api_key="k", api_version="2024-10-21", max_retries=0)
        with gate.wrap(original, gateway(tmp_path)) as client:
            assert isinstance(client, AzureOpenAI)
            for azure in (client, client.with_options(timeout=9)):
                assert decision_of(azure.chat.completions.create(**asks("Lagos?"))).answered
        assert {asked["path"].partition("?")[0] for asked in theirs.asked} == {"/openai/deployments/m/chat/completions"}


def test_a_field_that_the_server_refuses_is_asked_for_once(tmp_path: Path) -> None:
    with FaultyServer.of(refuses("logprobs")) as picky, gate.wrap(client_of(picky), gateway(tmp_path)) as client:
        for _ in range(2):
            assert client.chat.completions.create(**asks("Lagos?")).choices[0].message.content == "Nigeria"
        assert ["logprobs" in asked for asked in picky.asked] == [True, *[False] * (len(picky.asked) - 1)]
        assert [decided.cost.calls for decided in decisions_of(client)] == [3, 2]


def test_several_answers_are_asked_for_one_by_one_where_they_must_be(tmp_path: Path) -> None:
    with FaultyServer.of(refuses("n")) as picky, gate.wrap(client_of(picky), gateway(tmp_path)) as client:
        for _ in range(2):
            decided = decision_of(client.chat.completions.create(**asks("Lagos?")))
            assert decided.answered
            assert decided.outcome.steps[-1].signals.value("vote_share") == 1.0
        assert sum("n" in asked for asked in picky.asked) == 1
        assert decided.cost.calls == 6


@pytest.mark.parametrize(
    ("code", "kind"),
    [(429, openai.RateLimitError), (401, openai.AuthenticationError), (500, openai.InternalServerError)],
)
def test_an_error_at_the_draft_is_the_callers_to_see(client: OpenAI, code: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"upstream says {code}"):
        client.chat.completions.create(**asks(f"status {code}"))
    assert not decisions_of(client)


def test_an_error_at_the_samples_means_that_there_are_none(tmp_path: Path) -> None:
    first: list[Behaviour] = [chat("Nigeria"), status(500)]
    with FaultyServer.of(*first) as failing, gate.wrap(client_of(failing), gateway(tmp_path)) as client:
        reply = client.chat.completions.create(**asks("Lagos?"))
        assert reply.choices[0].message.refusal == REFUSAL
        [reading] = [r for r in decision_of(reply).outcome.steps[-1].signals.readings if r.signal == "vote_share"]
        assert "InternalServerError" in (reading.missing or "")


def test_a_question_that_is_none_is_refused_before_anything_is_asked(server: FaultyServer, client: OpenAI) -> None:
    with pytest.raises(gate.RequestError, match="no user message"):
        client.chat.completions.create(model="m", messages=[{"role": "system", "content": "Be brief."}])
    assert not server.asked


def test_it_is_shared_between_threads(client: OpenAI) -> None:
    told: dict[int, str | None] = {}

    def ask(number: int) -> None:
        told[number] = client.chat.completions.create(**asks(f"echo {number}")).choices[0].message.content

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == {number: f"echo {number}" for number in range(16)}
    assert len(decisions_of(client)) == 16


def test_two_hundred_calls_on_one_loop_are_not_mixed_up(tmp_path: Path) -> None:
    async def main(url: str) -> None:
        original = AsyncOpenAI(base_url=url, api_key="k", max_retries=0)
        async with gate.wrap(original, gateway(tmp_path), remember=200) as client:

            async def ask(number: int) -> None:
                text = f"unsure {number}" if number % 4 == 0 else f"echo {number}"
                reply = await client.chat.completions.create(**asks(text))
                message = reply.choices[0].message
                assert (message.content, message.refusal) == ((None, REFUSAL) if number % 4 == 0 else (text, None))
                question = decision_of(reply).trace.question
                assert question is not None
                assert question.text == text

            async with asyncio.TaskGroup() as group:
                for number in range(200):
                    group.create_task(ask(number))
            assert len({decided.id for decided in decisions_of(client)}) == 200

    with live(Starlette(routes=[Route("/chat/completions", says_it_back, methods=["POST"])])) as url:
        asyncio.run(main(url))


def test_on_an_event_loop_all_is_as_it_is_without(server: FaultyServer, tmp_path: Path) -> None:
    async def main() -> None:
        original = async_client_of(server)
        async with gate.wrap(original, gateway(tmp_path)) as client:
            assert isinstance(client, AsyncOpenAI)
            create = client.chat.completions.create
            assert [c.message.content for c in (await create(**asks("Lagos?"), n=2)).choices] == [ANSWER, ANSWER]
            stream = await create(**asks("unsure"), stream=True)
            told = [chunk.choices[0].delta.refusal or "" async for chunk in stream]
            assert "".join(told) == REFUSAL
            parsed = await client.beta.chat.completions.parse(**asks("Where?"), response_format=City)
            assert parsed.choices[0].message.parsed == City(**CITY)
            async with client.chat.completions.stream(**asks("Lagos?")) as events:
                assert (await events.get_final_completion()).choices[0].message.content == ANSWER
            shorter = client.with_options(timeout=9)
            assert (await shorter.chat.completions.create(**asks("unsure"))).choices[0].message.refusal == REFUSAL
            assert len(decisions_of(client)) == 5
            with pytest.raises(openai.RateLimitError):
                await create(**asks("status 429"))
        assert original.is_closed()

    asyncio.run(main())


@pytest.mark.parametrize("behaviours", [[silent()], [chat("Nigeria"), silent()]], ids=["draft", "samples"])
def test_whoever_goes_away_calls_off_what_is_under_way(tmp_path: Path, behaviours: list[Behaviour]) -> None:
    async def main(slow: FaultyServer) -> None:
        async with gate.wrap(async_client_of(slow), gateway(tmp_path)) as client:
            task = asyncio.get_running_loop().create_task(client.chat.completions.create(**asks("Lagos?")))
            while len(slow.asked) < len(behaviours):
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(slow.gone.wait, 5)
            assert not decisions_of(client)

    with FaultyServer.of(*behaviours) as slow:
        asyncio.run(main(slow))


def test_a_certificate_holds_only_for_who_is_vouched_for(server: FaultyServer) -> None:
    """The shipped policy is certified for its own models: whose answer this is, only the caller can say."""
    balanced = gate.Gate("balanced")
    for written_by, certified in (("", False), ("small", True)):
        with gate.wrap(client_of(server), balanced, written_by=written_by) as client:
            assert decision_of(client.chat.completions.create(**asks("Where is Nanjing?"))).certified is certified
    balanced.close()


def test_what_is_no_client_of_the_library_is_refused(client: OpenAI) -> None:
    for other in (object(), OpenAI, "client", openai):
        with pytest.raises(TypeError, match=r"gate\.wrap takes an openai\.OpenAI or openai\.AsyncOpenAI"):
            gate.wrap(other)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="wrapped already"):
        gate.wrap(client)
    with pytest.raises(gate.ConfigError, match="balancd"):
        gate.wrap(OpenAI(api_key="k"), "balancd")
    with pytest.raises(TypeError, match="no wrapped client gave it"):
        decision_of(object())
    with pytest.raises(TypeError, match="is not wrapped"):
        decisions_of(object())
