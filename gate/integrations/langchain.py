"""LangChain: a chat model that is a policy, and any chat model of LangChain with a policy behind it.

::

    chain = prompt | gated(ChatOpenAI(model="…"), "balanced") | StrOutputParser()

`GateChatModel` asks a policy's own upstreams, in this process. `gated` judges what another model says, which it asks
again for samples. Either way the decision stands in the message's ``response_metadata["gate"]``, and an answer that is
not let through is a message that holds the refusal, or raises `gate.AnswerWithheld`, for ``with_fallbacks`` to catch.

Nothing is shown before it is decided: what is streamed comes in one piece, and callbacks that stream (those of
``astream_events`` and of LangGraph) are told of the decided answer alone, not of the drafts and samples before it.
Other callbacks hear of each call when it begins and ends, with what it said, for tracers and counters; but of no token.

Needs the package ``langchain-core``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from gate.answer_shapes import Read
from gate.decorator.decided import Decided
from gate.decorator.gate import Gate
from gate.effects import Generate
from gate.errors import MissingExtra
from gate.integrations.judging import Draft, Judge, OnAbstain, Policy, Samples, Stopwatch, Verdict, opened, or_raise
from gate.integrations.langchain_messages import (
    ai_message,
    chunk_of,
    deciding,
    drawing,
    held,
    hushed,
    message_of,
    messages_of,
    object_in,
    question_of,
    question_to,
    read_off,
    tool_choice_of,
)
from gate.proxy.spoken import finish
from gate.types import Budget

try:
    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
    from langchain_core.runnables import (
        Runnable,
        RunnableConfig,
        RunnableLambda,
        RunnableParallel,
        RunnablePassthrough,
        RunnableSequence,
        RunnableSerializable,
    )
    from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
except ModuleNotFoundError as error:
    raise MissingExtra("langchain-core", "langchain") from error


class GateChatModel(BaseChatModel):
    """A policy as a chat model: its own upstreams are asked. Arguments of a call are options as on the OpenAI wire."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    policy: str = "balanced"
    """A shipped one by name, or a file by path."""
    on_abstention: OnAbstain = "refusal"
    gate: Gate | None = Field(default=None, exclude=True, repr=False)
    """The policy, where it is loaded already: who loaded it closes it. Answers of it are not kept in LangChain's cache,
    which would know it by its name alone."""
    _opened: Gate = PrivateAttr()

    @model_validator(mode="after")
    def _open(self) -> Self:
        self._opened = self.gate or Gate(self.policy)
        if self.gate is not None:
            self.policy = self.gate.gateway.name
            self.cache = False if self.cache is None else self.cache
        return self

    @property
    def _llm_type(self) -> str:
        return "gate"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        gateway = self._opened.gateway
        return {"policy": gateway.name, "policy_fingerprint": gateway.policy_fingerprint}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {**super()._get_ls_params(stop, **kwargs), "ls_provider": "gate", "ls_model_name": self.policy}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(self._opened.ask(question_of(messages, {**kwargs, "stop": stop})))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(await self._opened.aask(question_of(messages, {**kwargs, "stop": stop})))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        yield _whole(self._generate(messages, stop, run_manager, **kwargs))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        yield _whole(await self._agenerate(messages, stop, run_manager, **kwargs))

    def _result(self, made: Decided[str]) -> ChatResult:
        or_raise(made, self.on_abstention)
        message = message_of(made)
        message.usage_metadata = {
            "input_tokens": made.cost.prompt_tokens,
            "output_tokens": made.cost.completion_tokens,
            "total_tokens": made.cost.tokens,
        }
        message.response_metadata |= {"finish_reason": finish(made.outcome), "model_name": self.policy}
        return ChatResult(generations=[ChatGeneration(message=message)])

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | Mapping[str, Any] | bool | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """``tool_choice``: ``auto``, ``none``, ``required`` or ``any``, or the name of a tool."""
        listed = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=listed, **tool_choice_of(tool_choice, listed), **kwargs)

    def with_structured_output(
        self, schema: Any, *, include_raw: bool = False, method: str = "function_calling", **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """``method``: ``function_calling``, or ``json_schema`` for a ``response_format``.

        A refusal is no such object: without ``include_raw`` an answer that is withheld raises `AnswerWithheld`. An
        answer that is no such object raises LangChain's ``OutputParserException``.
        """
        model = self if include_raw else self.model_copy(update={"on_abstention": "raise"})
        if method == "function_calling":
            return BaseChatModel.with_structured_output(model, schema, include_raw=include_raw, **kwargs)
        if method != "json_schema":
            raise ValueError(f"method: 'function_calling' or 'json_schema', not {method!r}")
        wanted = convert_to_json_schema(schema)
        named = {"name": str(wanted.get("title") or "answer"), "schema": wanted, **kwargs}
        is_model = isinstance(schema, type) and issubclass(schema, BaseModel)
        parser: Any = RunnableLambda(partial(object_in, model=schema if is_model else None))
        asked = model.bind(response_format={"type": "json_schema", "json_schema": named})
        if not include_raw:
            parsed: Runnable[LanguageModelInput, Any] = asked | parser
            return parsed
        whole: Any = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        broken = RunnablePassthrough.assign(parsed=lambda _: None)
        both: Runnable[LanguageModelInput, Any] = RunnableParallel(raw=asked) | whole.with_fallbacks(
            [broken], exception_key="parsing_error"
        )
        return both


class GatedModel(RunnableSerializable[LanguageModelInput, AIMessage]):
    """What `gated` makes: asks the model, and lets its answer through or not."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: Runnable[LanguageModelInput, Any]
    sampler: Runnable[LanguageModelInput, Any] | None = None
    judge: Judge = Field(exclude=True, repr=False)
    on_abstention: OnAbstain = "refusal"

    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:  # noqa: A002
        answer: Any = self._answer
        return self._call_with_config(answer, input, config, **kwargs)

    async def ainvoke(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        answer: Any = self._aanswer
        return await self._acall_with_config(answer, input, config, **kwargs)

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessage]:
        yield chunk_of(self.invoke(input, config, **kwargs))

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessage]:
        yield chunk_of(await self.ainvoke(input, config, **kwargs))

    def _answer(self, given: LanguageModelInput, config: RunnableConfig, **kwargs: Any) -> AIMessage:
        question = question_to(self.model, given, kwargs)
        with Stopwatch() as watch:
            said = ai_message(hushed(self.model).invoke(given, held(config, "gate:draft"), **kwargs))

        def again(effect: Generate) -> Read:
            asked = given if effect.messages == question.messages else messages_of(effect.messages)
            return read_off(self._sampler(effect).invoke(asked, held(config, "gate:sample"), **kwargs))

        return self._decided(said, self.judge.judge(question, Draft(read_off(said), watch.seconds), again))

    async def _aanswer(self, given: LanguageModelInput, config: RunnableConfig, **kwargs: Any) -> AIMessage:
        question = question_to(self.model, given, kwargs)
        with Stopwatch() as watch:
            said = ai_message(await hushed(self.model).ainvoke(given, held(config, "gate:draft"), **kwargs))

        async def again(effect: Generate) -> Read:
            asked = given if effect.messages == question.messages else messages_of(effect.messages)
            return read_off(await self._sampler(effect).ainvoke(asked, held(config, "gate:sample"), **kwargs))

        return self._decided(said, await self.judge.ajudge(question, Draft(read_off(said), watch.seconds), again))

    def _sampler(self, effect: Generate) -> Runnable[LanguageModelInput, Any]:
        return hushed(self.sampler or drawing(self.model, effect.temperature))

    def _decided(self, said: AIMessage, verdict: Verdict) -> AIMessage:
        or_raise(verdict.decided, self.on_abstention)
        return deciding(said, verdict.decided) if verdict.kept else message_of(verdict.decided, said)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> GatedModel:
        """The same with tools, where the model can take tools."""
        return self._with(lambda model: cast("Any", model).bind_tools(tools, **kwargs))

    def with_structured_output(
        self, schema: Any, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """As the model makes it, with what it says judged before it is parsed.

        A refusal is no such object: without ``include_raw`` an answer that is withheld raises `AnswerWithheld`.
        """

        def structured(model: Any) -> RunnableSequence[Any, Any]:
            made = model.with_structured_output(schema, include_raw=include_raw, **kwargs)
            if not isinstance(made, RunnableSequence):
                raise TypeError(f"cannot judge inside a {type(made).__qualname__}: put gated() before what parses")
            return made

        def speaker(model: Any) -> Any:
            first = structured(model).first
            return first.steps__["raw"] if isinstance(first, RunnableParallel) else first

        judged = self._with(speaker)
        rest = structured(self.model).steps[1:]
        if include_raw:
            return RunnableSequence(RunnableParallel(raw=judged), *rest)
        return RunnableSequence(judged.model_copy(update={"on_abstention": "raise"}), *rest)

    def _with(self, change: Callable[[Runnable[LanguageModelInput, Any]], Any]) -> GatedModel:
        sampler = None if self.sampler is None else change(self.sampler)
        return self.model_copy(update={"model": change(self.model), "sampler": sampler})


def gated(
    model: Runnable[LanguageModelInput, Any],
    policy: Policy,
    *,
    samples: Samples = "again",
    sampler: Runnable[LanguageModelInput, Any] | None = None,
    on_abstention: OnAbstain = "refusal",
    gather: bool | None = None,
    written_by: str = "",
    budget: Budget | None = None,
) -> GatedModel:
    """A chat model, or anything that gives an ``AIMessage``, whose answers a policy lets through or not.

    ``samples`` are drawn from the model itself: at the policy's temperature where it is set to another, and past any
    cache of LangChain's; or from ``sampler``. At most so many, or as many as the policy wants. Each is a call.

    ``gather``: whether the policy's own upstreams and routes are there too; else only what the model says is judged. By
    default they are where the policy is about this model: by ``written_by``, or an upstream of ``kind: caller``.
    ``written_by``: the upstream of the policy's ladder that the model is, if it is one: else no certificate holds.

    Faults of the model are raised as they are; a sample with a fault is left out. Raises `ConfigError` for the policy.
    """
    judge = Judge(opened(policy), samples, gather, written_by, budget)
    return GatedModel(model=model, sampler=sampler, judge=judge, on_abstention=on_abstention)


def _whole(result: ChatResult) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=chunk_of(cast("AIMessage", result.generations[0].message)))
