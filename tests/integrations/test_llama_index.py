"""LlamaIndex's own engines and programs, with a policy as the LLM and behind an engine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core import Settings, SummaryIndex
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import ChatMessage, CompletionResponse, LLMMetadata
from llama_index.core.base.response.schema import PydanticResponse, Response
from llama_index.core.llms import CustomLLM, MockLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.schema import QueryBundle, TextNode
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from gate.decorator.gate import Gate
from gate.errors import AnswerWithheld, MissingExtra
from gate.integrations.llama_index import GateLLM, gated_query_engine
from tests.integrations.voting import REFUSAL, Calling, over, voting
from tests.scripted import Scripted, always

ASK = "Where is Nanjing?"
NOBODY_KNOWS = "Where is Qwxyz?"
NODES = [
    TextNode(id_="n1", text="Nanjing is a city in China."),
    TextNode(id_="n2", text="Lima is a city in Peru."),
]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with voting(tmp_path_factory.mktemp("policies")) as opened:
        yield opened


@pytest.fixture(scope="module")
def balanced() -> Iterator[Gate]:
    with Gate("balanced") as opened:
        yield opened


class Asked(CustomLLM):
    """Answers by a function of the prompt, and counts what it is asked."""

    answer: Callable[[str], str]
    prompts: list[str] = Field(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        self.prompts.append(prompt)
        return CompletionResponse(text=self.answer(prompt))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        whole = self.complete(prompt)
        return (CompletionResponse(text=whole.text[: end + 1], delta=whole.text[end]) for end in range(len(whole.text)))


def engine(*texts: str, **options: Any) -> BaseQueryEngine:
    listed = iter(texts)
    return SummaryIndex(NODES).as_query_engine(llm=Asked(answer=lambda prompt: next(listed)), **options)


def both_ways(asked: BaseQueryEngine, again: BaseQueryEngine) -> list[Any]:
    """The same asked with and without an event loop."""
    return [asked.query(ASK), asyncio.run(again.aquery(ASK))]


class City(BaseModel):
    """Where a city is."""

    country: str


# --- a policy as an LLM ------------------------------------------------------------------------------------------


def test_a_policy_completes_and_chats(balanced: Gate) -> None:
    llm, asked = GateLLM(balanced), [ChatMessage(content=ASK)]

    async def later() -> list[Any]:
        completed = [each async for each in await llm.astream_complete(ASK)]
        chatted = [each async for each in await llm.astream_chat(asked)]
        return [await llm.acomplete(ASK), *completed, await llm.achat(asked), *chatted]

    said: list[Any] = [llm.complete(ASK), *llm.stream_complete(ASK), llm.chat(asked), *llm.stream_chat(asked)]
    said += asyncio.run(later())
    texts = [each.text if isinstance(each, CompletionResponse) else each.message.content for each in said]
    assert texts == ["China"] * 8
    assert {each.raw["gate"]["action"] for each in said} == {"answer"}
    assert [each.delta for each in said] == [None, "China"] * 4


def test_a_policy_by_its_name() -> None:
    llm = GateLLM()
    said = llm.complete(ASK)
    assert said.additional_kwargs["gate"]["certified"] is True
    again = GateLLM.from_dict(llm.to_dict())
    assert (again.policy, again.metadata.model_name, again.class_name()) == ("balanced", "balanced", "GateLLM")


def test_what_the_policy_does_not_know_is_a_refusal_or_raised(balanced: Gate) -> None:
    refusal = balanced.ask(NOBODY_KNOWS).text
    assert GateLLM(balanced).complete(NOBODY_KNOWS).text == refusal
    withheld = GateLLM(balanced, on_abstention="raise")
    with pytest.raises(AnswerWithheld):
        withheld.complete(NOBODY_KNOWS)
    with pytest.raises(AnswerWithheld):
        list(withheld.stream_chat([ChatMessage(content=NOBODY_KNOWS)]))


def test_prompts_and_options_reach_the_policys_upstream() -> None:
    upstream = Scripted("m", always("China"))
    llm = GateLLM(over(upstream), completion_to_prompt=lambda prompt: f"<{prompt}>")
    llm.complete("Where?", temperature=0.25, max_tokens=9)
    llm.complete("Where?", formatted=True)
    drafts = [asked for asked in upstream.asked if asked.part_of is None]
    assert [asked.messages[0].content for asked in drafts] == ["<Where?>", "Where?"]
    assert (drafts[0].temperature, drafts[0].max_tokens) == (0.25, 9)


def find(city: str) -> str:
    """Find a city."""
    return f"found {city}"


def test_tools_are_called() -> None:
    upstream = Calling("m")
    llm, tool = GateLLM(over(upstream)), FunctionTool.from_defaults(find)
    said = llm.chat_with_tools([tool], ASK, tool_required=True)
    (call,) = llm.get_tool_calls_from_response(said)
    assert (call.tool_name, call.tool_kwargs) == ("find", {"city": "Nanjing"})
    extra = upstream.asked[0].extra
    assert (extra["tool_choice"], extra["tools"][0]["function"]["name"]) == ("required", "find")
    assert str(llm.predict_and_call([tool], ASK)) == "found Nanjing"
    assert str(asyncio.run(llm.apredict_and_call([tool], ASK))) == "found Nanjing"


def test_an_answer_that_calls_no_tool_is_told_as_such() -> None:
    llm = GateLLM(over(Scripted("m", always("China"))))
    said = llm.chat_with_tools(
        [FunctionTool.from_defaults(find)], ChatMessage(content=ASK), [ChatMessage(content="Hi")]
    )
    with pytest.raises(ValueError, match="calls no tool"):
        llm.get_tool_calls_from_response(said)
    assert llm.get_tool_calls_from_response(said, error_on_no_tool_call=False) == []


def test_structured_output_is_a_tool() -> None:
    prompt = PromptTemplate("Where is {city}?")
    llm = GateLLM(over(Calling("m", call=("City", '{"country": "China"}'))))
    assert llm.structured_predict(City, prompt, city="Nanjing") == City(country="China")
    guessing = GateLLM(over(Scripted("m", lambda effect, place: f"{effect.n} {place}")))
    with pytest.raises(AnswerWithheld):
        guessing.chat_with_tools([FunctionTool.from_defaults(find)], ASK, tool_required=True)
    with pytest.raises(ValueError, match="withheld: I do not know"):
        guessing.structured_predict(City, prompt, city="Nanjing")


def test_a_policy_is_the_llm_of_an_engine() -> None:
    upstream = Scripted("m", always("China"))
    said = SummaryIndex(NODES).as_query_engine(llm=GateLLM(over(upstream))).query(ASK)
    assert str(said) == "China"
    assert "Nanjing is a city in China." in upstream.asked[0].messages[-1].content


# --- a policy behind an engine -----------------------------------------------------------------------------------


def test_an_answer_that_samples_agree_with_goes_through(gate: Gate) -> None:
    def gated() -> BaseQueryEngine:
        return gated_query_engine(engine("China"), gate, sampler=engine(*["China"] * 4, "Peru"))

    for said in both_ways(gated(), gated()):
        assert (str(said), len(said.source_nodes)) == ("China", 2)
        told = said.metadata["gate"]
        assert (told["action"], told["p"], told["cost"]["calls"]) == ("answer", pytest.approx(5 / 7), 6)


def test_a_wrong_answer_is_withheld_and_its_nodes_stay(gate: Gate) -> None:
    def gated(**options: Any) -> BaseQueryEngine:
        return gated_query_engine(engine("Brazil"), gate, sampler=engine(*["China"] * 5), **options)

    for said in both_ways(gated(), gated()):
        assert (str(said), len(said.source_nodes), said.metadata["gate"]["action"]) == (REFUSAL, 2, "abstain")
    with pytest.raises(AnswerWithheld, match=REFUSAL):
        gated(on_abstention="raise").query(ASK)


def test_samples_are_written_from_the_same_nodes(gate: Gate) -> None:
    llm = Asked(answer=lambda prompt: "China")
    elsewhere = SummaryIndex([TextNode(text="Elsewhere.")]).as_query_engine(llm=llm)
    assert str(gated_query_engine(engine("China"), gate, sampler=elsewhere, samples=4).query(ASK)) == "China"
    assert len(llm.prompts) == 4
    assert all("Nanjing is a city in China." in prompt and "Elsewhere" not in prompt for prompt in llm.prompts)


class Plain(CustomQueryEngine):
    """An engine that can only be asked."""

    says: Callable[[str], Any]

    def custom_query(self, query_str: str) -> Any:
        return self.says(query_str)


def test_an_engine_that_can_only_be_asked_is_asked_again(gate: Gate) -> None:
    plain = Plain(says=lambda text: "China")
    for said in both_ways(*[gated_query_engine(plain, gate, sampler=plain)] * 2):
        assert (str(said), said.metadata["gate"]["cost"]["calls"]) == ("China", 6)


def test_none_are_drawn_without_a_sampler(gate: Gate) -> None:
    said = gated_query_engine(engine("China"), gate).query(ASK)
    assert (str(said), said.metadata["gate"]["cost"]["calls"]) == (REFUSAL, 1)


def test_an_answer_is_judged_by_its_nodes() -> None:
    with Gate("balanced") as balanced:
        right = gated_query_engine(engine("China"), balanced).query(ASK).metadata
        wrong = gated_query_engine(engine("Brazil"), balanced).query(ASK).metadata
    bearing = [told["gate"]["steps"][0]["signals"]["answer_in_passages"] for told in (right, wrong) if told]
    assert bearing == [0.5, 0.0]  # one of the two nodes bears the one, none the other


def test_another_answer_is_given_where_the_policy_finds_one(gate: Gate) -> None:
    gated = gated_query_engine(engine("Brazil"), gate, sampler=engine(*["China"] * 5), gather=True)
    said = gated.query(ASK)
    assert (str(said), said.source_nodes) == ("China", [])
    assert said.metadata is not None
    assert said.metadata["gate"]["steps"][-1]["stage"].startswith("pocket")


def test_streams_are_held_back(gate: Gate) -> None:
    def gated(text: str) -> BaseQueryEngine:
        return gated_query_engine(engine(text, streaming=True), gate, sampler=engine(*["China"] * 5, streaming=True))

    said = gated("China").query(ASK)
    assert isinstance(said, Response)
    assert (said.response, gated("Brazil").query(ASK).response) == ("China", REFUSAL)


def test_objects_are_judged_as_json(gate: Gate) -> None:
    plain = Plain(says=lambda text: PydanticResponse(City(country="China")))
    said = gated_query_engine(plain, gate, sampler=plain).query(ASK)
    assert isinstance(said, PydanticResponse)
    assert said.response == City(country="China")


def test_an_engine_that_finds_nothing_has_no_answer(gate: Gate) -> None:
    empty = SummaryIndex([]).as_query_engine(llm=MockLLM())
    for said in both_ways(*[gated_query_engine(empty, gate, sampler=empty)] * 2):
        assert str(said) == REFUSAL


def test_nodes_are_found_and_prompts_shown_as_before(gate: Gate) -> None:
    inner = engine("China")
    gated = gated_query_engine(inner, gate)
    assert [node.node_id for node in gated.retrieve(QueryBundle(ASK))] == ["n1", "n2"]
    shown = {f"query_engine:{name}" for name in inner.get_prompts()}
    assert set(gated.get_prompts()) == shown


def test_a_fault_of_the_engine_is_raised_as_it_is(gate: Gate) -> None:
    class Broken(RuntimeError):
        pass

    def broken(text: str) -> str:
        raise Broken("no")

    gated = gated_query_engine(Plain(says=broken), gate)
    with pytest.raises(Broken, match="no"):
        gated.query(ASK)
    with pytest.raises(Broken, match="no"):
        asyncio.run(gated.aquery(ASK))


def test_many_are_asked_at_once_and_none_is_mixed_up(gate: Gate) -> None:
    plain = Plain(says=lambda text: f"answer to {text}")

    async def all_of_them() -> list[Any]:
        gated = gated_query_engine(plain, gate, sampler=plain)
        return await asyncio.gather(*(gated.aquery(f"question {number}") for number in range(100)))

    said = asyncio.run(all_of_them())
    assert [str(response) for response in said] == [f"answer to question {number}" for number in range(100)]


def test_nothing_of_llama_index_is_set_for_good() -> None:
    assert Settings._llm is None


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_index.core.base.base_query_engine", None)
    monkeypatch.delitem(sys.modules, "gate.integrations.llama_index")
    with pytest.raises(MissingExtra, match=r"gate-llm\[llama-index\]"):
        import gate.integrations.llama_index  # noqa: F401
