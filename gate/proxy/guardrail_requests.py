"""``POST /beta/litellm_basic_guardrail_api``: what a LiteLLM proxy shows a guardrail, read.

A request (``input_type: request``) brings the conversation, an answer (``response``) brings no more than its texts and
calls of tools, of all its choices one after the other. Fields that gate has no use for are passed over: what LiteLLM
tells of its own users, say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gate.errors import RequestError
from gate.given import Given
from gate.proxy.chat_requests import message_of
from gate.proxy.json_wire import dumps, loads
from gate.proxy.request_fields import MOST_ANSWERS, ChatRequest, GateFields, Objects, question_of, validated
from gate.types import Budget, Generation, Question, ToolCall

OPTIONS = "additional_provider_specific_params"
OnAbstention = Literal["block", "replace"]
_MODEL = "gate"
"""No model is named here that is a policy's name: an option names the policy."""


class GuardrailOptions(BaseModel):
    """What is asked of gate itself, in LiteLLM's settings of the guardrail."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    policy: str | None = Field(default=None, min_length=1, max_length=64)
    """Another policy that the client's key may use."""
    gather: bool | Literal["evidence"] | None = None
    """``evidence``, which it is by default: the policy's own models are asked to bear the answer out. true: its routes
    may be taken too, and a better answer come of that. false: nobody is asked anything."""
    on_abstention: OnAbstention | None = None
    """What becomes of an answer that is not let through. ``block``, which it is by default: LiteLLM is told to send an
    error. ``replace``: to send the refusal, or the better answer, in its place, which it does with streams only where
    its ``streaming_transform_mode`` is ``incremental_diff``."""
    written_by: str | None = Field(default=None, min_length=1, max_length=64)
    """The upstream of the policy's ladder that LiteLLM had the answer from: whoever says so vouches for it."""
    budget: GateFields.BudgetFields | None = None
    explain: bool | None = None


class GuardrailFields(BaseModel):
    """What gate itself looks at."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    input_type: Literal["request", "response"]
    litellm_call_id: str | None = Field(default=None, max_length=256)
    structured_messages: Objects | None = None
    texts: list[str] | None = None
    tools: Objects | None = None
    tool_calls: Objects | None = None
    model: str | None = Field(default=None, max_length=256)
    additional_provider_specific_params: GuardrailOptions | None = None


@dataclass(frozen=True, slots=True)
class Brought:
    """Answers to be judged."""

    answers: tuple[Given, ...]
    """The texts, each an answer of its own. Calls of tools belong to the text where there is no more than one; beside
    several they are an answer by themselves, for nobody says whose they are."""
    texts: int
    """How many of the answers are texts: the first ones."""
    on_abstention: OnAbstention = "block"


@dataclass(frozen=True, slots=True)
class Shown:
    """One call of the guardrail."""

    call: str
    """Its id, which a request and its answer have in common; "" where LiteLLM has none."""
    asked: ChatRequest
    """Of an answer; its question is empty until it is known. Of a request its policy alone is of use."""
    conversation: bytes | None
    """What came with it, as it is kept; None where nothing did."""
    answers: bool
    """Whether it shows an answer, and not a request."""
    written_by: str = ""


def parse_guardrail_request(body: bytes) -> Shown:
    """Raises `RequestError` for anything that is none, and nothing else."""
    fields = validated(GuardrailFields, loads(body), GuardrailOptions)
    options = fields.additional_provider_specific_params or GuardrailOptions()
    answers = fields.input_type == "response"
    asked = ChatRequest(
        _MODEL,
        Question(()),
        Budget(**options.budget.model_dump()) if options.budget else Budget(),
        explain=bool(options.explain),
        policy=options.policy,
        abstention="completion",  # what an abstention is, the reply says
    )
    if answers:
        brought = _brought(fields, options)
        asked = replace(asked, n=max(1, len(brought.answers)), brought=brought)
    conversation = _conversation(fields, answers=answers)
    return Shown(fields.litellm_call_id or "", asked, conversation, answers, options.written_by or "")


def question_in(conversation: bytes) -> Question:
    """What was asked. Raises `RequestError` where that is no conversation that can be answered."""
    kept = loads(conversation)
    name = "structured_messages"
    messages = [message_of(raw, place, name) for place, raw in enumerate(kept["messages"])]
    return question_of(messages, {"tools": kept["tools"]} if kept["tools"] else {}, name)


def _conversation(fields: GuardrailFields, *, answers: bool) -> bytes | None:
    messages: Sequence[Mapping[str, Any]] | None = fields.structured_messages
    if not messages and fields.texts and not answers:  # a prompt that is no conversation
        messages = [{"role": "user", "content": text} for text in fields.texts]
    return dumps({"messages": messages, "tools": fields.tools or []}) if messages else None


def _brought(fields: GuardrailFields, options: GuardrailOptions) -> Brought:
    texts, calls = fields.texts or [], tuple(_call(raw, place) for place, raw in enumerate(fields.tool_calls or ()))
    said = [Generation(text) for text in texts]
    if calls and len(said) <= 1:
        said = [Generation(texts[0] if texts else "", "tool_calls", tool_calls=calls)]
    elif calls:
        said.append(Generation("", "tool_calls", tool_calls=calls))
    if len(said) > MOST_ANSWERS:
        raise RequestError(f"texts: {len(said)} answers in one reply are more than {MOST_ANSWERS}", param="texts")
    gather = "evidence" if options.gather is None else options.gather
    upstream, model = options.written_by or "", fields.model or ""
    answers = (Given(each, gather=gather, upstream=upstream, model=model) for each in said)
    return Brought(tuple(answers), len(texts), options.on_abstention or "block")


def _call(raw: Mapping[str, Any], place: int) -> ToolCall:
    match raw:
        case {"function": {"name": str(name), "arguments": str(arguments)}}:
            call = raw.get("id")
            return ToolCall(call if isinstance(call, str) else "", name, arguments)
        case _:
            said = f"tool_calls.{place} must be a function with a name and arguments as text"
            raise RequestError(said, param=f"tool_calls.{place}")
