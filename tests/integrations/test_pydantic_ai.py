"""pydantic-ai's own agents, with a policy behind their model and as their model."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import FallbackExceptionGroup
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel as PydanticTestModel
from pydantic_ai.usage import RequestUsage

from gate.decorator.gate import Gate
from gate.errors import AnswerWithheld, MissingExtra
from gate.integrations.pydantic_ai import GateModel, GatePolicyModel
from tests.integrations.voting import REFUSAL, Calling, over, voting
from tests.scripted import Scripted, always

ASK = "Where is Nanjing?"
NOBODY_KNOWS = "Where is Qwxyz?"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with voting(tmp_path_factory.mktemp("policies")) as opened:
        yield opened


class City(BaseModel):
    country: str


def asked_last(messages: list[ModelMessage]) -> str:
    parts = [part for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
    return str(parts[-1].content)


def answers(answer: Callable[[str], str], seen: list[AgentInfo] | None = None) -> FunctionModel:
    async def said(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        await asyncio.sleep(0)
        if seen is not None:
            seen.append(info)
        text = answer(asked_last(messages))
        return ModelResponse(parts=[TextPart(text)], usage=RequestUsage(input_tokens=10, output_tokens=2))

    return FunctionModel(said)


def says(*texts: str) -> FunctionModel:
    listed = iter(texts)
    return answers(lambda text: next(listed))


def structured(*countries: str) -> FunctionModel:
    listed = iter(countries)

    def said(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, {"country": next(listed)})])

    return FunctionModel(said)


def ran(agent: Agent[None, Any], prompt: str) -> Any:
    """``run_sync`` would leave its event loop open."""
    return asyncio.run(agent.run(prompt))


# --- a policy behind a model -------------------------------------------------------------------------------------


def test_an_answer_that_samples_agree_with_goes_through(gate: Gate) -> None:
    result = ran(Agent(GateModel(says("China", *["China"] * 4, "Peru"), gate, gather=False)), ASK)
    assert result.output == "China"
    told = (result.response.metadata or {})["gate"]
    assert (told["action"], told["p"], told["cost"]["calls"]) == ("answer", pytest.approx(5 / 7), 6)


def test_usage_is_of_the_draft_and_the_samples(gate: Gate) -> None:
    result = ran(Agent(GateModel(says(*["China"] * 6), gate)), ASK)
    assert (result.usage.requests, result.usage.input_tokens, result.usage.output_tokens) == (1, 60, 12)


def test_samples_are_drawn_warm_and_limited(gate: Gate) -> None:
    seen: list[AgentInfo] = []
    agent = Agent(GateModel(answers(lambda text: "China", seen), gate, samples=4), model_settings={"temperature": 0.0})
    assert ran(agent, ASK).output == "China"
    assert [(info.model_settings or {}).get("temperature") for info in seen] == [0.0, *[0.9] * 4]


def test_a_wrong_answer_is_raised_as_withheld(gate: Gate) -> None:
    with pytest.raises(AnswerWithheld, match=REFUSAL) as raised:
        ran(Agent(GateModel(says("Brazil", *["China"] * 5), gate, gather=False)), ASK)
    assert raised.value.abstained.p == pytest.approx(1 / 7)


def test_or_it_is_a_refusal_where_that_is_wanted(gate: Gate) -> None:
    model = GateModel(says("Brazil", *["China"] * 5), gate, gather=False, on_abstention="refusal")
    result = ran(Agent(model), ASK)
    assert (result.output, (result.response.metadata or {})["gate"]["action"]) == (REFUSAL, "abstain")
    assert "Brazil" not in str(result.all_messages())
    assert result.usage.input_tokens == 60


def test_a_wrong_answer_is_replaced_where_the_policy_finds_another(gate: Gate) -> None:
    result = ran(Agent(GateModel(says("Brazil", *["China"] * 5), gate)), ASK)
    assert (result.output, result.response.model_name) == ("China", "pocket")
    assert result.usage.input_tokens > 60  # the policy's own model was asked too


def test_a_fallback_model_goes_on_to_the_next(gate: Gate) -> None:
    def doubtful() -> GateModel:
        return GateModel(says("Brazil", *["China"] * 5), gate, gather=False)

    model = FallbackModel(doubtful(), says("Peru"), fallback_on=AnswerWithheld)
    assert ran(Agent(model), ASK).output == "Peru"
    with pytest.raises(FallbackExceptionGroup):
        ran(Agent(FallbackModel(doubtful(), doubtful(), fallback_on=AnswerWithheld)), ASK)


def test_a_shipped_policy_finds_passages_and_asks_the_model_again_with_them() -> None:
    texts: list[str] = []

    def answer(text: str) -> str:
        texts.append(text)
        return "China" if text != ASK else "Brazil"

    result = ran(Agent(GateModel(answers(answer), "balanced", gather=True), instructions="Be brief."), ASK)
    assert result.output == "China"
    assert texts[-1] != ASK


def test_structured_output_is_judged(gate: Gate) -> None:
    result = ran(Agent(GateModel(structured(*["China"] * 6), gate), output_type=City), ASK)
    assert result.output == City(country="China")
    assert (result.response.metadata or {})["gate"]["action"] == "answer"


@pytest.mark.parametrize("on_abstention", ["raise", "refusal"])
def test_a_refusal_never_stands_for_structured_output(gate: Gate, on_abstention: Any) -> None:
    model = GateModel(structured("Brazil", *["China"] * 5), gate, gather=False, on_abstention=on_abstention)
    with pytest.raises(AnswerWithheld):
        ran(Agent(model, output_type=City), ASK)
    native = GateModel(says('{"country": "Brazil"}', *"abcde"), gate, gather=False, on_abstention=on_abstention)
    with pytest.raises(AnswerWithheld):
        ran(Agent(native, output_type=NativeOutput(City)), ASK)


def test_calls_of_tools_are_judged_on_the_way(gate: Gate) -> None:
    def said(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) == 1:
            return ModelResponse(parts=[ToolCallPart("find", {"city": "Nanjing"})])
        return ModelResponse(parts=[TextPart("China")])

    agent = Agent(GateModel(FunctionModel(said), gate))

    @agent.tool_plain
    def find(city: str) -> str:
        return f"{city} is in China"

    result = ran(agent, ASK)
    assert result.output == "China"
    decided = [m.metadata for m in result.all_messages() if isinstance(m, ModelResponse)]
    assert [(told or {})["gate"]["action"] for told in decided] == ["answer", "answer"]


def test_a_fault_of_the_model_is_raised_as_it_is(gate: Gate) -> None:
    class Broken(RuntimeError):
        pass

    def broken(text: str) -> str:
        raise Broken("no")

    with pytest.raises(Broken, match="no"):
        ran(Agent(GateModel(answers(broken), gate)), ASK)


def test_a_stream_is_held_back(gate: Gate) -> None:
    async def streamed(model: GateModel) -> tuple[list[str], int]:
        async with Agent(model).run_stream(ASK) as stream:
            return [text async for text in stream.stream_text(debounce_by=None)], stream.usage.input_tokens

    assert asyncio.run(streamed(GateModel(says(*["China"] * 6), gate))) == (["China"], 60)
    with pytest.raises(AnswerWithheld):
        asyncio.run(streamed(GateModel(says("Brazil", *["China"] * 5), gate, gather=False)))


def test_what_is_not_answered_yet_is_not_judged(gate: Gate) -> None:
    waiting = ModelResponse(parts=[], state="suspended")

    async def asked() -> ModelResponse:
        model = GateModel(FunctionModel(lambda messages, info: waiting), gate)
        return await model.request([ModelRequest(parts=[UserPromptPart(ASK)])], None, ModelRequestParameters())

    response = asyncio.run(asked())
    assert (response.state, response.metadata) == ("suspended", None)


def test_pydantic_ais_own_test_model_goes_through(gate: Gate) -> None:
    model = GateModel(PydanticTestModel(custom_output_text="China"), gate)
    assert ran(Agent(model), ASK).output == "China"
    assert (model.model_name, model.system) == ("test", "test")


def test_many_are_asked_at_once_and_none_is_mixed_up(gate: Gate) -> None:
    async def all_of_them() -> list[Any]:
        agent = Agent(GateModel(answers(lambda text: f"answer to {text}"), gate))
        return await asyncio.gather(*(agent.run(f"question {number}") for number in range(100)))

    results = asyncio.run(all_of_them())
    assert [result.output for result in results] == [f"answer to question {number}" for number in range(100)]
    assert {result.usage.input_tokens for result in results} == {60}


def test_cancelling_calls_everything_off(gate: Gate) -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def slow(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        begun.append(1)
        if len(begun) == 1:
            return ModelResponse(parts=[TextPart("China")])
        if len(begun) == 6:
            everything.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)
        return ModelResponse(parts=[TextPart("never")])

    async def cancelled() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(Agent(GateModel(FunctionModel(slow), gate)).run(ASK))
            await everything.wait()
            task.cancel()

    everything = asyncio.Event()
    asyncio.run(cancelled())
    assert (len(begun), len(ended)) == (6, 5)


# --- a policy as a model -----------------------------------------------------------------------------------------


def test_a_policy_answers_an_agent() -> None:
    result = ran(Agent(GatePolicyModel("balanced")), ASK)
    told = (result.response.metadata or {})["gate"]
    assert (result.output, told["action"], told["certified"]) == ("China", "answer", True)
    assert (result.response.model_name, result.response.provider_name) == ("balanced", "gate")
    assert result.usage.input_tokens == told["cost"]["prompt_tokens"]


def test_what_the_policy_does_not_know_is_withheld() -> None:
    with Gate("balanced") as balanced:
        with pytest.raises(AnswerWithheld):
            ran(Agent(GatePolicyModel(balanced)), NOBODY_KNOWS)
        said = ran(Agent(GatePolicyModel(balanced, on_abstention="refusal")), NOBODY_KNOWS)
        assert said.output == balanced.ask(NOBODY_KNOWS).text


def test_a_policys_answer_is_streamed_whole() -> None:
    async def streamed() -> list[str]:
        async with Agent(GatePolicyModel(over(Scripted("m", always("China"))))).run_stream(ASK) as stream:
            return [text async for text in stream.stream_text(debounce_by=None)]

    assert asyncio.run(streamed()) == ["China"]


def test_a_policys_upstream_is_given_tools_and_settings() -> None:
    upstream = Calling("m", call=("final_result", '{"country": "China"}'))
    agent = Agent(GatePolicyModel(over(upstream), settings={"temperature": 0.25}), output_type=City)
    assert ran(agent, ASK).output == City(country="China")
    draft = upstream.asked[0]
    assert (draft.temperature, draft.extra["tool_choice"]) == (0.25, "required")
    assert draft.extra["tools"][0]["function"]["name"] == "final_result"


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai.models", None)
    monkeypatch.delitem(sys.modules, "gate.integrations.pydantic_ai")
    with pytest.raises(MissingExtra, match=r"gate-llm\[pydantic-ai\]"):
        import gate.integrations.pydantic_ai  # noqa: F401
