"""LangChain's own prompts, parsers, callbacks and fallbacks, with a policy as the model and behind one."""

from __future__ import annotations

import asyncio
import runpy
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    BaseCallbackHandler,
    StreamingStdOutCallbackHandler,
    get_usage_metadata_callback,
)
from langchain_core.exceptions import OutputParserException
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel, FakeListChatModel, GenericFakeChatModel
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel, Field, ValidationError

from gate.decorator.gate import Gate
from gate.errors import AnswerWithheld, ConfigError, MissingExtra, RequestError
from gate.integrations.langchain import GateChatModel, GatedModel, gated
from tests.integrations.voting import REFUSAL, Calling, over, voting
from tests.scripted import Scripted, always

ASK = "Where is Nanjing?"
NOBODY_KNOWS = "Where is Qwxyz?"
PROMPT = ChatPromptTemplate.from_messages([("user", "Where is {city}?")])


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with voting(tmp_path_factory.mktemp("policies")) as opened:
        yield opened


@pytest.fixture(scope="module")
def balanced() -> Iterator[Gate]:
    with Gate("balanced") as opened:
        yield opened


def says(*texts: str | AIMessage) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter(texts))


class Asked(BaseChatModel):
    """Answers by a function of what it is asked; streams character by character."""

    answer: Callable[[str], str]
    temperature: float | None = None
    calls: list[tuple[str, float | None]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "asked"

    def _said(self, messages: Sequence[BaseMessage]) -> AIMessage:
        text = str(messages[-1].text)
        self.calls.append((text, self.temperature))
        usage: Any = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
        return AIMessage(self.answer(text), usage_metadata=usage, response_metadata={"model_name": "asked"})

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._said(messages))])

    async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        await asyncio.sleep(0)
        return self._generate(messages)

    async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for character in str(self._said(messages).text):
            yield ChatGenerationChunk(message=AIMessageChunk(character))


class Country(BaseModel):
    """Where a city is."""

    country: str


# --- a policy as a chat model ------------------------------------------------------------------------------------


def test_a_policy_answers_in_a_chain(balanced: Gate) -> None:
    chain = PROMPT | GateChatModel(gate=balanced) | StrOutputParser()
    assert chain.invoke({"city": "Nanjing"}) == "China"
    assert asyncio.run(chain.ainvoke({"city": "Nanjing"})) == "China"
    assert list(chain.stream({"city": "Nanjing"})) == ["China"]
    assert chain.batch([{"city": "Nanjing"}, {"city": "Leicester"}]) == ["China", "United Kingdom"]


def test_the_decision_stands_in_the_message() -> None:
    message = GateChatModel(policy="balanced").invoke(ASK)
    told = message.response_metadata["gate"]
    assert (told["action"], told["certified"], told["policy"]) == ("answer", True, "balanced")
    assert told["p"] == told["confidence"]["p"] > told["threshold"]
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.usage_metadata is not None
    cost = told["cost"]
    assert message.usage_metadata["total_tokens"] == cost["prompt_tokens"] + cost["completion_tokens"]


def test_what_the_policy_does_not_know_is_a_refusal(balanced: Gate) -> None:
    message = GateChatModel(gate=balanced).invoke(NOBODY_KNOWS)
    assert message.additional_kwargs["refusal"] == message.content == balanced.ask(NOBODY_KNOWS).text
    assert message.response_metadata["gate"]["action"] == "abstain"


def test_a_refusal_that_is_raised_is_caught_by_fallbacks(balanced: Gate) -> None:
    model = GateChatModel(gate=balanced, on_abstention="raise")
    with pytest.raises(AnswerWithheld) as raised:
        model.invoke(NOBODY_KNOWS)
    assert raised.value.abstained.p is not None
    assert model.with_fallbacks([says("Nowhere.")]).invoke(NOBODY_KNOWS).content == "Nowhere."
    assert asyncio.run(model.with_fallbacks([says("Nowhere.")]).ainvoke(NOBODY_KNOWS)).content == "Nowhere."


def test_a_stream_is_one_whole_chunk(balanced: Gate) -> None:
    model = GateChatModel(gate=balanced)
    (chunk,) = model.stream(ASK)
    assert isinstance(chunk, AIMessageChunk)
    assert (chunk.content, chunk.response_metadata["gate"]["action"]) == ("China", "answer")

    async def streamed() -> list[Any]:
        return [each.content async for each in model.astream(ASK)]

    assert asyncio.run(streamed()) == ["China"]


def test_options_reach_the_policys_upstream() -> None:
    upstream = Scripted("m", always("China"))
    model = GateChatModel(gate=over(upstream)).bind(temperature=0.25, max_tokens=9, user="ada")
    model.invoke(ASK, stop=["\n"])
    draft = upstream.asked[0]
    assert (draft.temperature, draft.max_tokens, draft.stop, draft.extra) == (0.25, 9, ("\n",), {"user": "ada"})


def test_options_no_model_takes_are_refused(balanced: Gate) -> None:
    with pytest.raises(RequestError, match="temperature"):
        GateChatModel(gate=balanced).invoke(ASK, temperature="hot")


def find(city: str) -> str:
    """Find a city."""
    return city


def test_tools_are_bound_and_called() -> None:
    upstream = Calling("m")
    model = GateChatModel(gate=over(upstream)).bind_tools([find], tool_choice="find")
    message = model.invoke(ASK)
    assert message.tool_calls == [{"name": "find", "args": {"city": "Nanjing"}, "id": "c1", "type": "tool_call"}]
    extra = upstream.asked[0].extra
    assert extra["tools"][0]["function"]["name"] == "find"
    assert extra["tool_choice"]["function"] == {"name": "find"}
    (chunk,) = model.stream(ASK)
    assert isinstance(chunk, AIMessageChunk)
    assert chunk.tool_calls[0]["args"] == {"city": "Nanjing"}


def test_structured_output_by_a_tool() -> None:
    upstream = Calling("m", call=("Country", '{"country": "China"}'))
    model = GateChatModel(gate=over(upstream))
    assert model.with_structured_output(Country).invoke(ASK) == Country(country="China")
    assert model.with_structured_output(Country, include_raw=True).invoke(ASK)["parsed"] == Country(country="China")


def test_structured_output_by_a_response_format() -> None:
    upstream = Scripted("m", always('{"country": "China"}'))
    model = GateChatModel(gate=over(upstream))
    assert model.with_structured_output(Country, method="json_schema").invoke(ASK) == Country(country="China")
    assert upstream.asked[0].extra["response_format"]["json_schema"]["name"] == "Country"
    schema = Country.model_json_schema()
    said = model.with_structured_output(schema, method="json_schema", include_raw=True).invoke(ASK)
    assert (said["parsed"], said["parsing_error"]) == ({"country": "China"}, None)
    with pytest.raises(ValueError, match="'magic'"):
        model.with_structured_output(Country, method="magic")


@pytest.mark.parametrize("text", ["China", '{"country": "Chi', "[1]", '{"city": 1}'])
def test_what_is_no_such_object_is_not_taken_for_one(text: str) -> None:
    """Also where it breaks off: nobody completes it."""
    model = GateChatModel(gate=over(Scripted("m", always(text))))
    with pytest.raises(OutputParserException, match="is no JSON of the schema") as caught:
        model.with_structured_output(Country, method="json_schema").invoke(ASK)
    assert caught.value.llm_output == text
    said = model.with_structured_output(Country, method="json_schema", include_raw=True).invoke(ASK)
    assert (said["parsed"], type(said["parsing_error"])) == (None, OutputParserException)


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_a_refusal_is_never_taken_for_structured_output(method: str) -> None:
    guessing = Scripted("m", lambda effect, place: f'{{"country": "{effect.n} {place}"}}')
    model = GateChatModel(gate=over(guessing))
    with pytest.raises(AnswerWithheld):
        model.with_structured_output(Country, method=method).invoke(ASK)
    said = model.with_structured_output(Country, method=method, include_raw=True).invoke(ASK)
    assert (said["parsed"], said["raw"].response_metadata["gate"]["action"]) == (None, "abstain")


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_a_model_is_written_as_json_and_read_again() -> None:
    model = GateChatModel(policy="balanced", on_abstention="raise")
    again = loads(dumps(model), allowed_objects=[GateChatModel], valid_namespaces=["gate"])
    assert isinstance(again, GateChatModel)
    assert (again.policy, again.on_abstention) == ("balanced", "raise")


def test_a_word_misspelt_is_refused() -> None:
    with pytest.raises(ValidationError, match="on_abstian"):
        GateChatModel(on_abstian="raise")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="balanced"):
        GateChatModel(policy="balancd")


# --- any chat model with a policy behind it ----------------------------------------------------------------------


def test_an_answer_that_samples_agree_with_goes_through(gate: Gate) -> None:
    model = says(AIMessage("China", response_metadata={"mine": 1}), "China", "China", "China", "Peru", "China")
    message = gated(model, gate, gather=False).invoke(ASK)
    assert (message.content, message.response_metadata["mine"]) == ("China", 1)
    told = message.response_metadata["gate"]
    assert (told["action"], told["cost"]["calls"], told["p"]) == ("answer", 6, pytest.approx(5 / 7))


def test_a_chain_goes_through_a_gated_model(gate: Gate) -> None:
    chain = PROMPT | gated(says("China", *["China"] * 5), gate) | StrOutputParser()
    assert chain.invoke({"city": "Nanjing"}) == "China"


def test_a_wrong_answer_is_withheld(gate: Gate) -> None:
    message = gated(says("Brazil", *["China"] * 5), gate, gather=False).invoke(ASK)
    assert (message.content, message.additional_kwargs["refusal"]) == (REFUSAL, REFUSAL)
    assert "Brazil" not in str(message)


def test_a_wrong_answer_is_replaced_where_the_policy_finds_another(gate: Gate) -> None:
    message = gated(says("Brazil", *["China"] * 5), gate).invoke(ASK)
    assert (message.content, message.response_metadata["gate"]["steps"][-1]["stage"]) == (
        "China",
        "pocket/closed_book/tier0",
    )


def test_a_shipped_policy_finds_passages_and_asks_the_model_again_with_them() -> None:
    model = Asked(answer=lambda text: "China" if "\n" in text else "Brazil")
    message = gated(model, "balanced", gather=True).invoke(ASK)
    told = message.response_metadata["gate"]
    assert (message.content, told["action"], told["certified"]) == ("China", "answer", False)
    assert [text == ASK for text, _ in model.calls][-1] is False


def test_a_withheld_answer_is_raised_for_fallbacks(gate: Gate) -> None:
    def model() -> GatedModel:
        return gated(says("Brazil", *["China"] * 5), gate, gather=False, on_abstention="raise")

    with pytest.raises(AnswerWithheld, match=REFUSAL):
        model().invoke(ASK)
    assert model().with_fallbacks([says("Peru")]).invoke(ASK).content == "Peru"


def test_samples_are_limited_and_counted(gate: Gate) -> None:
    model = Asked(answer=lambda text: "China")
    message = gated(model, gate, samples=4, gather=False).invoke(ASK)
    assert len(model.calls) == 5
    cost = message.response_metadata["gate"]["cost"]
    assert (cost["calls"], cost["prompt_tokens"], cost["completion_tokens"]) == (5, 50, 10)


def test_samples_are_drawn_warm_and_past_the_cache(gate: Gate) -> None:
    model = Asked(answer=lambda text: "China", temperature=0.0)
    set_llm_cache(InMemoryCache())
    try:
        for _ in range(2):
            assert gated(model, gate).invoke(ASK).content == "China"
    finally:
        set_llm_cache(None)
    assert [temperature for _, temperature in model.calls] == [0.0, *[0.9] * 5, *[0.9] * 5]


def test_samples_are_drawn_from_a_sampler_where_there_is_one(gate: Gate) -> None:
    drafts, samples = Asked(answer=lambda text: "China"), Asked(answer=lambda text: "China")
    gated(drafts, gate, sampler=samples).invoke(ASK)
    assert (len(drafts.calls), len(samples.calls)) == (1, 5)


def test_a_fault_of_the_model_is_raised_as_it_is(gate: Gate) -> None:
    class Broken(RuntimeError):
        pass

    def broken(given: Any) -> AIMessage:
        raise Broken("no")

    model = gated(RunnableLambda(broken), gate)
    with pytest.raises(Broken, match="no"):
        model.invoke(ASK)
    with pytest.raises(Broken, match="no"):
        asyncio.run(model.ainvoke(ASK))
    assert isinstance(model.batch([ASK], return_exceptions=True)[0], Broken)


def test_what_is_no_chat_model_is_refused(gate: Gate) -> None:
    with pytest.raises(TypeError, match="parse behind it"):
        gated(says("China") | StrOutputParser(), gate).invoke(ASK)


class Heard(BaseCallbackHandler):
    """Notes what ran, under which tags."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    def on_chat_model_start(self, *args: Any, tags: list[str] | None = None, **kwargs: Any) -> None:
        with self.lock:
            self.ran += [("model", tag) for tag in tags or () if tag.startswith("gate:")]

    def on_chain_start(self, *args: Any, name: str | None = None, **kwargs: Any) -> None:
        self.ran.append(("chain", name or ""))


def test_callbacks_hear_of_every_call(gate: Gate) -> None:
    heard = Heard()
    gated(says(*["China"] * 6), gate).invoke(ASK, {"callbacks": [heard]})
    assert heard.ran == [("chain", "GatedModel"), ("model", "gate:draft"), *[("model", "gate:sample")] * 5]


class Chatty(Asked):
    """Tells callbacks what it says while it says it."""

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        said = self._said(messages)
        for character in str(said.text):
            run_manager.on_llm_new_token(character)
        return ChatResult(generations=[ChatGeneration(message=said)])

    async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        said = self._said(messages)
        for character in str(said.text):
            await run_manager.on_llm_new_token(character)
        return ChatResult(generations=[ChatGeneration(message=said)])


class Listens(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.ended = 0

    async def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.tokens.append(str(token))

    async def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.ended += 1


@pytest.mark.parametrize("where", ["call", "model", "bound", "sampler"])
def test_no_callback_is_shown_a_token_of_a_draft_or_a_sample(
    gate: Gate, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listens = Listens()
    callbacks: list[BaseCallbackHandler] = [StreamingStdOutCallbackHandler(), listens]
    own = Chatty(answer=lambda text: "Brazil", callbacks=callbacks if where == "model" else None)
    model: Any = own.with_config(callbacks=callbacks) if where == "bound" else own
    sampler = Chatty(answer=lambda text: "Peru", callbacks=callbacks) if where == "sampler" else None
    judged = gated(model, gate, sampler=sampler, gather=False)
    config: Any = {"callbacks": callbacks} if where == "call" else {}
    refused = [judged.invoke(ASK, config).response_metadata, asyncio.run(judged.ainvoke(ASK, config)).response_metadata]
    assert {each["gate"]["cost"]["calls"] for each in refused} == {6}
    assert (capsys.readouterr().out, listens.tokens) == ("", [])
    assert listens.ended == 10 if where == "sampler" else 12
    asyncio.run(own.ainvoke(ASK, {"callbacks": [listens]}))
    assert listens.tokens, "it is shown them where nothing is judged"


def test_usage_is_counted_once_by_langchains_own_counter(gate: Gate) -> None:
    with get_usage_metadata_callback() as counter:
        gated(Asked(answer=lambda text: "China"), gate).invoke(ASK)
    assert counter.usage_metadata["asked"]["total_tokens"] == 6 * 12


def test_streams_are_held_back(gate: Gate) -> None:
    model = FakeListChatModel(responses=["Brazil", "China", "China", "China", "China", "China"])
    (chunk,) = gated(model, gate, gather=False).stream(ASK)
    assert (chunk.content, chunk.response_metadata["gate"]["action"]) == (REFUSAL, "abstain")
    chain = PROMPT | gated(says(*["China"] * 6), gate) | StrOutputParser()
    assert list(chain.stream({"city": "Nanjing"})) == ["China"]


def test_events_tell_nothing_of_drafts(gate: Gate) -> None:
    chain = PROMPT | gated(Asked(answer=lambda text: "Brazil"), gate, samples=0, gather=False)

    async def events() -> list[Any]:
        return [event async for event in chain.astream_events({"city": "Nanjing"}, version="v2")]

    told = asyncio.run(events())
    assert REFUSAL in str(told[-1]["data"])
    assert "Brazil" not in str(told)


def test_many_are_asked_at_once_and_none_is_mixed_up(gate: Gate) -> None:
    async def all_of_them() -> list[AIMessage]:
        model = gated(Asked(answer=lambda text: f"answer to {text}"), gate)
        return await model.abatch([f"question {number}" for number in range(100)])

    said = asyncio.run(all_of_them())
    assert [message.content for message in said] == [f"answer to question {number}" for number in range(100)]
    assert len({message.response_metadata["gate"]["id"] for message in said}) == 100


def test_a_batch_on_threads_is_not_mixed_up(gate: Gate) -> None:
    model = gated(Asked(answer=lambda text: f"answer to {text}"), gate)
    said = model.batch([f"question {number}" for number in range(20)])
    assert [message.content for message in said] == [f"answer to question {number}" for number in range(20)]


def test_cancelling_calls_everything_off(gate: Gate) -> None:
    begun, ended = [], []

    async def slow(given: Any) -> AIMessage:
        begun.append(given)
        if len(begun) == 1:
            return AIMessage("China")
        if len(begun) == 6:
            everything.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(given)
        return AIMessage("never")

    async def cancelled() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(gated(RunnableLambda(slow), gate).ainvoke(ASK))
            await everything.wait()
            task.cancel()

    everything = asyncio.Event()
    asyncio.run(cancelled())
    assert (len(begun), len(ended)) == (6, 5)


class ToolModel(Asked):
    """Calls the first tool it is given with what its answer says."""

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        text = self.answer(str(self._said(messages).text))
        name = kwargs["tools"][0]["function"]["name"]
        call: Any = {"name": name, "args": {"country": text}, "id": "c1"}
        return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=[call]))])

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        from langchain_core.utils.function_calling import convert_to_openai_tool

        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools])


def test_calls_of_tools_are_judged(gate: Gate) -> None:
    model = gated(ToolModel(answer=lambda text: "China"), gate).bind_tools([Country])
    message = model.invoke(ASK)
    assert message.tool_calls[0]["args"] == {"country": "China"}
    assert message.response_metadata["gate"]["action"] == "answer"


def test_structured_output_is_judged_before_it_is_parsed(gate: Gate) -> None:
    says = iter(["Brazil", *["China"] * 20])
    model = gated(ToolModel(answer=lambda text: "China"), gate, gather=False)
    assert model.with_structured_output(Country).invoke(ASK) == Country(country="China")
    said = model.with_structured_output(Country, include_raw=True).invoke(ASK)
    assert (said["parsed"], said["raw"].response_metadata["gate"]["action"]) == (Country(country="China"), "answer")
    doubtful = gated(ToolModel(answer=lambda text: next(says)), gate, gather=False, samples=1)
    with pytest.raises(AnswerWithheld):
        doubtful.with_structured_output(Country).invoke(ASK)


def test_structured_output_that_cannot_be_looked_into_is_refused(gate: Gate) -> None:
    class Opaque(Asked):
        def with_structured_output(self, *args: Any, **kwargs: Any) -> Any:
            return RunnableLambda(lambda given: Country(country="China"))

    with pytest.raises(TypeError, match="put gated\\(\\) before what parses"):
        gated(Opaque(answer=str), gate).with_structured_output(Country)


# --- beside ------------------------------------------------------------------------------------------------------


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(Path(__file__).parents[2] / "examples/langchain/chain.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "Nanjing: China" in said
    assert "not sure" in said


def test_the_example_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_core.language_models", None)
    monkeypatch.delitem(sys.modules, "gate.integrations.langchain")
    with pytest.raises(MissingExtra, match=r"gate-llm\[langchain\]"):
        runpy.run_path(str(Path(__file__).parents[2] / "examples/langchain/chain.py"))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_core.language_models", None)
    monkeypatch.delitem(sys.modules, "gate.integrations.langchain")
    with pytest.raises(MissingExtra, match=r"gate-llm\[langchain\]"):
        import gate.integrations.langchain  # noqa: F401
