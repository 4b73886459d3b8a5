"""LlamaIndex: an LLM that is a policy, and any query engine of LlamaIndex with a policy behind it.

::

    engine = gated_query_engine(index.as_query_engine(), "rag")

`GateLLM` asks a policy's own upstreams, in this process. `gated_query_engine` judges what an engine answers by the
nodes it was written from. The decision stands in what is returned: in an LLM's response under ``raw["gate"]``
and ``additional_kwargs["gate"]``, in an engine's under ``metadata["gate"]``. An answer that is not let through is the
text of the refusal, or raises `gate.AnswerWithheld`. What is streamed comes in one piece, once it is decided.

Needs the package ``llama-index-core``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import PrivateAttr

from gate.answer_shapes import Read
from gate.decorator.decided import Decided
from gate.decorator.gate import Gate, question_of
from gate.effects import Generate
from gate.errors import MissingExtra
from gate.integrations.judging import (
    Draft,
    Judge,
    OnAbstain,
    Policy,
    Samples,
    Stopwatch,
    Verdict,
    opened,
    or_raise,
    told,
)
from gate.integrations.llama_index_messages import (
    chat_response,
    completion_response,
    engine_response,
    passages_of,
    question_to,
    response_of,
    tool_selections,
)
from gate.types import Budget, Generation, Question

try:
    from llama_index.core.base.base_query_engine import BaseQueryEngine
    from llama_index.core.base.llms.types import (
        ChatMessage,
        ChatResponse,
        ChatResponseAsyncGen,
        ChatResponseGen,
        CompletionResponse,
        CompletionResponseAsyncGen,
        CompletionResponseGen,
        LLMMetadata,
    )
    from llama_index.core.base.response.schema import RESPONSE_TYPE, Response
    from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW, DEFAULT_NUM_OUTPUTS
    from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
    from llama_index.core.llms.function_calling import FunctionCallingLLM
    from llama_index.core.llms.llm import ToolSelection
    from llama_index.core.schema import NodeWithScore, QueryBundle
    from llama_index.core.tools.types import BaseTool
except ModuleNotFoundError as error:
    raise MissingExtra("llama-index-core", "llama-index") from error


_FOUND_NOTHING = "Empty Response"


class GateLLM(FunctionCallingLLM):
    """A policy as an LLM: its own upstreams are asked. Arguments of a call are options as on the OpenAI wire."""

    policy: str
    on_abstention: OnAbstain
    context_window: int = DEFAULT_CONTEXT_WINDOW
    """Tokens that a prompt may have: LlamaIndex packs as many nodes into one as it allows."""
    num_output: int = DEFAULT_NUM_OUTPUTS
    _gate: Gate = PrivateAttr()

    def __init__(self, policy: Policy = "balanced", *, on_abstention: OnAbstain = "refusal", **fields: Any) -> None:
        """``fields``: those of any LLM of LlamaIndex. Raises `ConfigError` for the policy."""
        gate = opened(policy)
        named = gate.gateway.name if isinstance(policy, Gate | type(gate.gateway)) else str(policy)
        super().__init__(policy=named, on_abstention=on_abstention, **fields)
        self._gate = gate

    @classmethod
    def class_name(cls) -> str:
        return "GateLLM"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            context_window=self.context_window,
            num_output=self.num_output,
            is_chat_model=True,
            is_function_calling_model=True,
            model_name=self.policy,
        )

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return chat_response(self._decided(self._gate.ask(question_to(messages, kwargs)), kwargs))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return chat_response(self._decided(await self._gate.aask(question_to(messages, kwargs)), kwargs))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        def whole() -> ChatResponseGen:
            made = self._gate.ask(question_to(messages, kwargs))
            yield chat_response(self._decided(made, kwargs), streamed=True)

        return whole()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def whole() -> ChatResponseAsyncGen:
            made = await self._gate.aask(question_to(messages, kwargs))
            yield chat_response(self._decided(made, kwargs), streamed=True)

        return whole()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return completion_response(self._decided(self._gate.ask(self._prompted(prompt, formatted, kwargs)), kwargs))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        made = await self._gate.aask(self._prompted(prompt, formatted, kwargs))
        return completion_response(self._decided(made, kwargs))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        def whole() -> CompletionResponseGen:
            made = self._gate.ask(self._prompted(prompt, formatted, kwargs))
            yield completion_response(self._decided(made, kwargs), streamed=True)

        return whole()

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        async def whole() -> CompletionResponseAsyncGen:
            made = await self._gate.aask(self._prompted(prompt, formatted, kwargs))
            yield completion_response(self._decided(made, kwargs), streamed=True)

        return whole()

    def _prompted(self, prompt: str, formatted: bool, kwargs: dict[str, Any]) -> Question:
        text = prompt if formatted else self.completion_to_prompt(prompt)
        return question_to([ChatMessage(content=text)], kwargs)

    def _decided(self, made: Decided[str], kwargs: dict[str, Any]) -> Decided[str]:
        """Raises `AnswerWithheld` where it is wanted, and where a tool must be called: a refusal cannot stand there."""
        or_raise(made, "raise" if kwargs.get("tool_choice") == "required" else self.on_abstention)
        return made

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        asked = [ChatMessage(content=user_msg)] if isinstance(user_msg, str) else [user_msg] if user_msg else []
        named = {"tools": [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]} if tools else {}
        choice = {"tool_choice": "required"} if tools and tool_required else {}
        return {"messages": [*(chat_history or ()), *asked], **named, **choice, **kwargs}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        found = tool_selections(response)
        if error_on_no_tool_call and not found:
            refusal = response.message.additional_kwargs.get("refusal")
            raise ValueError(f"the answer was withheld: {refusal}" if refusal else "the answer calls no tool")
        return found


class GatedQueryEngine(BaseQueryEngine):
    """What `gated_query_engine` makes: asks the engine, and lets its answer through or not."""

    def __init__(
        self, engine: BaseQueryEngine, judge: Judge, on_abstention: OnAbstain, sampler: BaseQueryEngine | None
    ) -> None:
        super().__init__(engine.callback_manager)
        self._engine, self._judge, self._on_abstain, self._sampler = engine, judge, on_abstention, sampler

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {"query_engine": self._engine}

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found: list[NodeWithScore] = self._engine.retrieve(query_bundle)
        return found

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with Stopwatch() as watch:
            response = response_of(self._engine.query(query_bundle))

        def again(effect: Generate) -> Read:
            sampler, nodes = self._sampler, response.source_nodes
            if sampler is None or not nodes or not _overrides(sampler, "synthesize"):
                return _read(response_of((sampler or self._engine).query(query_bundle)))
            return _read(response_of(sampler.synthesize(query_bundle, nodes)))

        draft = Draft(_read(response), watch.seconds)
        verdict = self._judge.judge(question_of(query_bundle.query_str), draft, again, passages_of(response))
        return self._decided(response, verdict)

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with Stopwatch() as watch:
            response = await engine_response(await self._engine.aquery(query_bundle))

        async def again(effect: Generate) -> Read:
            sampler, nodes = self._sampler, response.source_nodes
            if sampler is None or not nodes or not _overrides(sampler, "asynthesize"):
                return _read(await engine_response(await (sampler or self._engine).aquery(query_bundle)))
            return _read(await engine_response(await sampler.asynthesize(query_bundle, nodes)))

        draft = Draft(_read(response), watch.seconds)
        verdict = await self._judge.ajudge(question_of(query_bundle.query_str), draft, again, passages_of(response))
        return self._decided(response, verdict)

    def _decided(self, response: RESPONSE_TYPE, verdict: Verdict) -> RESPONSE_TYPE:
        made = verdict.decided
        or_raise(made, self._on_abstain)
        if not verdict.kept:
            shown = {passage.id for passage in made.outcome.passages}
            nodes = [node for node in response.source_nodes if node.node_id in shown or not made.answered]
            response = Response(made.text, nodes, response.metadata)
        response.metadata = {**(response.metadata or {}), "gate": told(made)}
        return response


def gated_query_engine(
    engine: BaseQueryEngine,
    policy: Policy,
    *,
    sampler: BaseQueryEngine | None = None,
    samples: Samples = "again",
    on_abstention: OnAbstain = "refusal",
    gather: bool = False,
    written_by: str = "",
    budget: Budget | None = None,
) -> GatedQueryEngine:
    """A query engine whose answers a policy lets through or not, by the nodes they were written from.

    ``sampler`` draws the samples: an engine whose LLM has a temperature, answering from the same nodes where it can.
    Without one none are drawn, for an engine's LLM is not seen, and at a temperature of 0 it says the same each time.
    ``samples``: at most so many, or as many as the policy wants.

    ``gather``: whether the policy's own upstreams and routes are there too; else only what the engine says is judged.
    ``written_by``: the upstream of the policy's ladder that the LLM is, if it is one: else no certificate holds.

    Faults of the engine are raised as they are; a sample with a fault is left out. Raises `ConfigError` for the policy.
    """
    most = 0 if sampler is None else samples
    judge = Judge(opened(policy), most, gather, written_by, budget, anything=False)
    return GatedQueryEngine(engine, judge, on_abstention, sampler)


def _overrides(engine: BaseQueryEngine, method: str) -> bool:
    return getattr(type(engine), method) is not getattr(BaseQueryEngine, method)


def _read(response: RESPONSE_TYPE) -> Read:
    """An engine that found nothing says so in words of its own: that is no answer."""
    nothing = response.response is None or (response.response == _FOUND_NOTHING and not response.source_nodes)
    return Read(Generation("" if nothing else str(response)))
