"""Captured clients, real ones against a real server: what they ask in a guarded call is noted, and asked again."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

import gate
from gate.decorator.capturing import Noting, Request, capture
from gate.effects import Generate
from gate.types import Message
from tests.decorator.policies import POLICY, by_draft, by_votes
from tests.upstreams.faulty_server import FaultyServer, chat, status

SYSTEM, USER = {"role": "system", "content": "Be short."}, {"role": "user", "content": "Where is Nanjing?"}
P_TRUE = """\
tiers: [[draft, p_true]]
signals: [p_true]
calibrator: p.calibrator.json
rule: {answer_at: 0.5}
"""


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_votes(tmp_path_factory.mktemp("votes"))


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_draft(tmp_path_factory.mktemp("sure"))


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(chat("China")) as running:
        yield running


@pytest.fixture
def client(server: FaultyServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url, api_key="sk-test", max_retries=0) as made:
        yield made


def missing(decided: gate.Decided[Any]) -> str:
    return decided.outcome.steps[-1].signals.readings[0].missing or ""


# --- what is repeated --------------------------------------------------------------------------------------------


def test_the_very_request_is_repeated_at_gates_temperature(votes: Path, server: FaultyServer, client: OpenAI) -> None:
    captured = gate.capture(client)

    @gate.guard(policy=votes, samples="captured")
    def answer(topic: str, style: str) -> str:
        made = captured.chat.completions.create(
            model="small-1",
            messages=[SYSTEM, {"role": "user", "content": f"Where is {topic}?"}],  # type: ignore[list-item]
            temperature=0.2,
            top_p=0.5,
            max_completion_tokens=20,
            extra_headers={"x-tenant": "a"},
            extra_body={"vendor": 1},
        )
        return made.choices[0].message.content or ""

    assert answer("Nanjing", "short") == "China"
    first, *others = server.asked
    assert len(others) == 10
    assert first == {**first, "temperature": 0.2, "top_p": 0.5, "max_completion_tokens": 20, "vendor": 1}
    unlike = {name: value for name, value in first.items() if name != "top_p"}
    assert all(each == {**unlike, "temperature": 1.0} for each in others)
    assert all(headers["x-tenant"] == "a" for headers in server.headers)
    (decided,) = answer.decisions
    question = decided.trace.question
    assert question is not None
    assert [message.content for message in question.messages] == ["Be short.", "Where is Nanjing?"]
    assert question.options == {"temperature": 0.2, "top_p": 0.5, "max_completion_tokens": 20}
    assert "x-tenant" not in str(decided.trace)
    assert decided.cost.calls == 11
    assert decided.cost.prompt_tokens > 0, "the captured reply tells of it"
    assert (answer.calls.total, answer.calls.again, answer.calls.repeated) == (1, 0, 10)


def test_it_is_repeated_on_a_loop_side_by_side(votes: Path, server: FaultyServer) -> None:
    async def main() -> None:
        async with AsyncOpenAI(base_url=server.url, api_key="sk-test", max_retries=0) as plain:
            captured = gate.capture(plain)

            @gate.guard(policy=votes, samples="captured")
            async def answer(question: str) -> Any:
                return await captured.chat.completions.create(
                    model="small-1",
                    messages=[{"role": "user", "content": question}],
                )

            said = await answer("Where is Nanjing?")
            assert said.choices[0].message.content == "China"
            assert answer.calls.repeated == 10

    asyncio.run(main())
    assert len(server.asked) == 11


def test_a_client_that_blocks_is_asked_beside_the_loop(votes: Path, server: FaultyServer, client: OpenAI) -> None:
    captured = gate.capture(client)

    @gate.guard(policy=votes, samples="captured")
    async def answer(question: str) -> str:
        made = captured.chat.completions.create(model="small-1", messages=[USER])  # type: ignore[list-item]
        return made.choices[0].message.content or ""

    assert asyncio.run(answer("Where is Nanjing?")) == "China"
    assert len(server.asked) == 11


def test_a_client_that_is_awaited_is_no_help_to_a_plain_function(votes: Path) -> None:
    async def complete(model: str, messages: list[Any]) -> dict[str, Any]:
        return {"choices": [{"message": {"role": "assistant", "content": "China"}}]}

    captured = gate.capture(complete)

    @gate.guard(policy=votes, samples="captured", on_abstention="return")
    def answer(question: str) -> Any:
        return asyncio.run(captured("small-1", [USER]))

    answer("Where is Nanjing?")
    assert "the captured client is asynchronous, and the guarded function is not" in missing(answer.decisions[0])


def test_a_stream_is_repeated_whole(votes: Path, server: FaultyServer, client: OpenAI) -> None:
    asked: list[Any] = []

    def create(*, model: str, messages: list[Any], stream: bool = False, **more: Any) -> Any:
        asked.append(stream)
        if not stream:
            return client.chat.completions.create(model=model, messages=messages, **more)
        return iter(["Chi", "na"])

    streaming = gate.capture(create)

    @gate.guard(policy=votes, samples="captured")
    def pieces(question: str) -> Iterator[str]:
        yield from streaming(model="small-1", messages=[USER], stream=True)

    assert list(pieces("Where is Nanjing?")) == ["Chi", "na"]
    assert asked == [True] + [False] * 10


def test_it_can_be_asked_anything(tmp_path: Path) -> None:
    one = {"mean": 0.5, "scale": 1.0, "weight": 1.0, "low": 0.0, "high": 1.0}
    by_draft(tmp_path)
    made = (tmp_path / "sure.calibrator.json").read_text(encoding="utf-8")
    (tmp_path / "p.calibrator.json").write_text(
        made.replace('"token_logprob_sum", "token_logprob_min"', '"p_true"').replace(
            made[made.index('"signals": {') : made.index("}}", made.index('"signals": {')) + 2],
            f'"signals": {{"p_true": {str(one).replace(chr(39), chr(34))}}}',
        ),
        encoding="utf-8",
    )
    path = tmp_path / "checked.yaml"
    path.write_text((tmp_path / "by_draft.yaml").read_text(encoding="utf-8").partition("tiers:")[0] + P_TRUE, "utf-8")
    prompts: list[str] = []

    def complete(model: str, messages: list[Any], **more: Any) -> dict[str, Any]:
        prompts.append(messages[-1]["content"])
        token = {"token": "A", "logprob": -0.1, "top_logprobs": [{"token": "B", "logprob": -2.5}]}
        said = "China" if len(prompts) == 1 else "A"
        shown = {"content": [token]} if more.get("logprobs") else None
        return {"choices": [{"message": {"role": "assistant", "content": said}, "logprobs": shown}]}

    captured = gate.capture(complete, logprobs=True)

    @gate.guard(policy=path, samples="captured")
    def answer(question: str) -> str:
        return str(captured("small-1", [USER])["choices"][0]["message"]["content"])

    decided = answer.decided("Where is Nanjing?")
    assert decided.outcome.steps[-1].signals.value("p_true") is not None, missing(decided)
    assert len(prompts) == 2
    assert "China" in prompts[1]


def test_several_answers_are_asked_of_one_request_where_the_policy_knows_that_it_can(
    tmp_path: Path, server: FaultyServer, client: OpenAI
) -> None:
    captured = gate.capture(client)
    able = POLICY.replace("identity: model-1", "identity: model-1, capabilities: {n: 8}")

    @gate.guard(policy=by_votes(tmp_path, upstream=able), samples="captured", written_by="mine")
    def answer(question: str) -> Any:
        return captured.chat.completions.create(model="small-1", messages=[USER])  # type: ignore[list-item]

    answer("Where is Nanjing?")
    assert sorted(each.get("n", 1) for each in server.asked) == [1, 2, 8]
    assert answer.calls.repeated == 2


# --- where nothing is repeated -----------------------------------------------------------------------------------


def test_only_one_request_can_be_repeated_and_only_where_its_words_are_returned(
    votes: Path, server: FaultyServer, client: OpenAI
) -> None:
    captured = gate.capture(client)

    @gate.guard(policy=votes, samples="captured", on_abstention="return")
    def answer(question: str, requests: int, before: str = "") -> str:
        said = before
        for _ in range(requests):
            made = captured.chat.completions.create(model="small-1", messages=[USER])  # type: ignore[list-item]
            said = before + (made.choices[0].message.content or "")
        return said or "China"

    for arguments, reason in (
        ((0,), "its call made no request through a client that gate.capture gave"),
        ((2,), "its call made 2 requests through captured clients, and only one can be repeated"),
        ((1, "It is in "), "it returned something else than the captured reply says; use samples='again'"),
    ):
        decided = answer.decided("Where is Nanjing?", *arguments)
        assert reason in missing(decided)
        assert decided.trace.question is not None
        assert decided.trace.question.text == "Where is Nanjing?"
    assert len(server.asked) == 3
    assert answer.decisions[1].cost.calls == 2
    assert answer.decisions[1].cost.tokens == 2 * answer.decisions[2].cost.tokens > 0


def test_without_a_request_and_a_parameter_there_is_no_question(votes: Path) -> None:
    @gate.guard(policy=votes, samples="captured")
    def answer(topic: str, style: str) -> str:
        return "China"

    with pytest.raises(gate.ConfigError, match=r"answer made no request through a client .* question=") as raised:
        answer("Nanjing", "short")
    assert raised.value.value == "China"  # type: ignore[attr-defined]

    @gate.guard(policy=votes, samples="captured")
    def odd(question: int) -> str:
        return "China"

    with pytest.raises(TypeError, match="the argument 'question' is a int"):
        odd(3)


def test_requests_that_failed_are_the_functions_own_business(votes: Path) -> None:
    with (
        FaultyServer.of(status(500), chat("China")) as server,
        OpenAI(base_url=server.url, api_key="sk-test", max_retries=0) as client,
    ):
        captured = gate.capture(client)

        @gate.guard(policy=votes, samples="captured")
        def answer(question: str) -> str:
            try:
                return ask()
            except openai.InternalServerError:
                return ask()

        def ask() -> str:
            made = captured.chat.completions.create(model="small-1", messages=[USER])  # type: ignore[list-item]
            return made.choices[0].message.content or ""

        assert answer("Where is Nanjing?") == "China"
        assert len(server.asked) == 12


def test_guarded_functions_inside_keep_their_own_requests(votes: Path, server: FaultyServer, client: OpenAI) -> None:
    captured = gate.capture(client)

    @gate.guard(policy=votes, samples="captured")
    def inner(question: str) -> str:
        made = captured.chat.completions.create(model="small-1", messages=[USER])  # type: ignore[list-item]
        return made.choices[0].message.content or ""

    @gate.guard(policy=votes, samples="captured", on_abstention="return")
    def outer(question: str) -> str:
        return inner(question)

    outer("Where is Nanjing?")
    assert inner.decisions[0].answered
    assert "made no request" in missing(outer.decisions[0])
    assert len(server.asked) == 11


def test_a_request_on_another_thread_is_not_seen_and_that_is_said_once(
    votes: Path, client: OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    captured = gate.capture(client)

    def ask() -> str:
        made = captured.chat.completions.create(model="small-1", messages=[USER])  # type: ignore[list-item]
        return made.choices[0].message.content or ""

    @gate.guard(policy=votes, samples="captured", on_abstention="return")
    def answer(question: str, inside: bool) -> str:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(copy_context().run, ask).result() if inside else pool.submit(ask).result()

    with caplog.at_level("WARNING", logger="gate.decorator.guard"):
        for _ in range(2):
            assert isinstance(answer("Where is Nanjing?", inside=False), gate.Abstained)
    [said] = caplog.messages
    assert "answer made no request that gate.capture could see" in said
    assert "copy_context().run" in said
    assert answer("Where is Nanjing?", inside=True) == "China"


# --- what else a captured client is ------------------------------------------------------------------------------


def test_log_probabilities_are_asked_for_in_guarded_calls_alone(
    sure: Path, server: FaultyServer, client: OpenAI
) -> None:
    captured = gate.capture(client, logprobs=True)

    def ask() -> str:
        made = captured.chat.completions.create(model="small-1", messages=[USER])  # type: ignore[list-item]
        return made.choices[0].message.content or ""

    @gate.guard(policy=sure, on_abstention="return")
    def answer(question: str) -> str:
        return ask()

    ask()
    answer("Where is Nanjing?")
    assert "logprobs" not in server.asked[0]
    assert (server.asked[1]["logprobs"], server.asked[1]["top_logprobs"]) == (True, 5)
    decided = answer.decisions[0]
    assert decided.outcome.steps[-1].signals.value("token_logprob_sum") is not None


def test_a_captured_client_is_the_plain_one_elsewhere(server: FaultyServer, client: OpenAI) -> None:
    captured = capture(client)
    assert isinstance(captured, OpenAI)
    assert type(captured.chat.completions) is type(client.chat.completions)
    made = captured.chat.completions.create(model="small-1", messages=[USER])  # type: ignore[list-item]
    assert made.choices[0].message.content == "China"
    assert server.asked == [{"path": "/v1/chat/completions", "model": "small-1", "messages": [USER]}]
    assert client.chat.completions.create is not captured.chat.completions.create
    assert "create" not in vars(client.chat.completions)
    assert captured.models is not None
    assert inspect.signature(captured.chat.completions.create) == inspect.signature(client.chat.completions.create)


def test_functions_are_captured_by_place_and_by_name() -> None:
    def complete(model: str, messages: list[Any], **more: Any) -> tuple[str, Any]:
        return model, more

    async def complete_later(model: str, messages: list[Any]) -> str:
        return model

    async def streamed(model: str, messages: list[Any]) -> AsyncIterator[str]:
        yield model

    captured = capture(complete)
    assert captured("small-1", [USER], top_k=2) == ("small-1", {"top_k": 2})
    requests: list[Request] = []
    with Noting(requests):
        captured("small-1", [USER], top_k=2, timeout=3)
    assert requests[0].fields == {"model": "small-1", "messages": [USER], "top_k": 2, "timeout": 3}
    assert requests[0].options == {"top_k": 2}
    assert requests[0].question().text == "Where is Nanjing?"
    assert capture(complete).__name__ == "complete"
    captured_later = capture(complete_later)
    assert inspect.iscoroutinefunction(captured_later)
    assert asyncio.run(captured_later("small-1", [USER])) == "small-1"
    captured(model="small-1", messages=[])
    assert len(requests) == 1


@pytest.mark.parametrize("thing", [None, 3, OpenAI, "litellm"])
def test_what_asks_no_model_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"gate\.capture takes a client with chat\.completions\.create, or a function"):
        capture(thing)


def test_a_request_is_put_together_anew_for_each_effect() -> None:
    tool = {"type": "function", "function": {"name": "look"}}
    fields = {
        "model": "small-1",
        "messages": [USER],
        "api_key": "sk-secret",
        "tools": [tool],
        "max_tokens": 9,
        "response_format": dict,
        "stream": True,
        "stream_options": {},
        "n": 3,
        "logprobs": True,
    }
    request = Request(dict, fields, logprobs=False)
    assert request.options == {"tools": [tool], "max_tokens": 9}
    other = Generate("mine", (Message("user", "Is it so?"),), n=2, seed=4, stop=("\n",), max_tokens=5, logprobs=3)
    assert request.like(other) == {
        "model": "small-1",
        "messages": [{"role": "user", "content": "Is it so?"}],
        "api_key": "sk-secret",
        "response_format": dict,
        "n": 2,
        "seed": 4,
        "stop": ["\n"],
        "max_tokens": 5,
    }
    with_logprobs = Request(dict, fields, logprobs=True).like(other)
    assert (with_logprobs["logprobs"], with_logprobs["top_logprobs"]) == (True, 3)
    assert Request(dict, {}, logprobs=False, reply=object()).read() is None


def test_a_context_that_is_gone_needs_no_reset() -> None:
    noting = Noting([])
    thread = threading.Thread(target=noting.__enter__)
    thread.start()
    thread.join()
    noting.__exit__()
    with Noting(requests := []):
        capture(lambda model: "China")(model="small-1")
    assert len(requests) == 1
