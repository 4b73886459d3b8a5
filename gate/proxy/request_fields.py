"""What every door asks of a request alike: the ``gate`` object, JSON types taken strictly, and what no request may say.

Known fields must have their JSON type: ``"1"``, ``true`` and ``2.0`` are no integers. A null is a field that was left
out. Strict, because fields are forwarded as they came too: what a lax reading would convert, nothing converts later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.errors import RequestError, UnknownName
from gate.types import Budget, JsonObject, Message, Question

if TYPE_CHECKING:
    from gate.proxy.guardrail_requests import Brought

Abstention = Literal["completion", "error"]
Streaming = Literal["hold", "prefix", "annotate"]
MOST_ANSWERS = 8
"""Of one request."""
_SEEDS = 2**63
_ADDRESSES = frozenset(
    {"api_base", "api_key", "api_url", "azure_endpoint", "base_url", "default_headers", "extra_headers", "headers"}
    | {"kv_transfer_params"}
)
"""What libraries call the place of a server and what opens it; and what tells a server to fetch from another."""
_CONTENT = frozenset(
    {"messages", "input", "prompt", "tools", "functions", "response_format", "text", "metadata", "gate"}
)
Temperature = Annotated[float, Field(ge=0, le=2)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Alternatives = Annotated[int, Field(ge=0, le=20)]
Objects = list[dict[str, Any]]
F = TypeVar("F", bound=BaseModel)


class GateFields(BaseModel):
    """The ``gate`` object of a request: what is asked of gate itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    class BudgetFields(BaseModel):
        """The most this question may cost; it may tighten the policy's budget, never loosen it."""

        model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

        calls: int | None = Field(default=None, ge=1)
        tokens: int | None = Field(default=None, ge=1)
        seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
        money: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="US dollars.")

    policy: str | None = Field(default=None, min_length=1, max_length=64)
    """Another policy that the client's key may use."""
    budget: BudgetFields | None = None
    explain: bool | None = None
    """Whether the reply tells the whole decision."""
    abstention: Abstention | None = None
    """What an abstention is: a normal completion, or HTTP 422."""
    streaming: Streaming | None = None


class SamplingFields(BaseModel):
    """What gate itself reads of the chat dialect's options, whichever door they come in by: elsewhere they are fields
    of nobody's, which are forwarded, and read all the same."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    temperature: Temperature | None = None
    top_p: Probability | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Alternatives | None = None


_PLAIN = GateFields()
_NO_BUDGET = Budget()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What was asked, whichever door it came in by. None leaves a thing to the policy."""

    model: str
    question: Question
    budget: Budget
    stream: bool = False
    include_usage: bool = False
    explain: bool = False
    logprobs: int | None = None
    """Alternatives a token the caller wants to see; None = no log-probabilities."""
    n: int = 1
    """Answers wanted, each a question of its own."""
    policy: str | None = None
    abstention: Abstention | None = None
    streaming: Streaming | None = None
    repeated: JsonObject = field(default_factory=dict)
    """Fields of the request that the door's reply repeats."""
    brought: Brought | None = None
    """The answers themselves, where they are brought along and only to be judged: ``n`` of them."""

    @property
    def questions(self) -> tuple[Question, ...]:
        """The ``n`` questions: the same, but that each has a seed of its own where the caller gave one."""
        seed = self.question.options.get("seed")
        if self.n == 1 or seed is None:
            return (self.question,) * self.n
        options = self.question.options
        return tuple(
            replace(self.question, options={**options, "seed": seed + place if seed + place < _SEEDS else seed - place})
            for place in range(self.n)
        )


def requested(model: str, question: Question, ours: GateFields | None, **more: Any) -> ChatRequest:
    """The request with what its ``gate`` object asks for."""
    ours = ours or _PLAIN
    return ChatRequest(
        model,
        question,
        Budget(**ours.budget.model_dump()) if ours.budget else _NO_BUDGET,
        explain=bool(ours.explain),
        policy=ours.policy,
        abstention=ours.abstention,
        streaming=ours.streaming,
        **more,
    )


def checked(kind: type[F], data: Mapping[str, Any]) -> F:
    """The fields gate looks at. Raises `RequestError`, which names the first that is wrong, but not its value."""
    refuse_addresses(data)
    return validated(kind, data)


def validated(kind: type[F], data: Mapping[str, Any], inner: type[BaseModel] = GateFields) -> F:
    """The same of a request of which nothing else is forwarded. ``inner``: the object in it that is for gate itself."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise _refused(kind, error, data, inner) from error


def _addresses(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(_ADDRESSES.intersection(value), *map(_addresses, value.values()))
    return set().union(*map(_addresses, value)) if isinstance(value, list) else set()


def refuse_addresses(data: Mapping[str, Any]) -> None:
    """At any depth, but for what a conversation and its tools are about."""
    inner = [value for name, value in data.items() if name not in _CONTENT and isinstance(value, dict | list)]
    found = _ADDRESSES.intersection(data) or set().union(*map(_addresses, inner))
    if found:
        name = min(found)
        said = f"{name} cannot be given in a request: where a model is and what opens it, only the server's policy says"
        raise RequestError(said, param=name, code="address_in_request")


def _refused(
    kind: type[BaseModel], error: ValidationError, data: Mapping[str, Any], inner: type[BaseModel]
) -> RequestError:
    listed = error.errors(include_url=False, include_context=False, include_input=False)
    places = [_place(each["loc"], data) for each in listed]
    at = max(
        range(len(listed)), key=lambda number: len(places[number])
    )  # of several ways to be wrong, the nearest miss
    first, param = listed[at], ".".join(places[at])
    if first["type"] == "extra_forbidden":
        inner = GateFields.BudgetFields if "budget" in first["loc"] else inner
        known = inner if len(first["loc"]) > 1 else kind
        return RequestError(str(UnknownName("field", str(first["loc"][-1]), known.model_fields)), param=param)
    return RequestError(f"{param}: {first['msg']}", param=param)


def _place(loc: Sequence[str | int], data: Any) -> list[str]:
    """Where in the body it is, without the names that pydantic gives the kinds a field may be of."""
    made: list[str] = []
    for part in loc:
        in_list = isinstance(data, list) and type(part) is int and part < len(data)
        if in_list or (isinstance(data, dict) and part in data):
            data = data[part]
        elif made:
            continue
        made.append(str(part))
    return made


def question_of(messages: Iterable[Message], options: JsonObject, field_name: str = "messages") -> Question:
    """Raises `RequestError` where the conversation holds nothing to answer."""
    listed = tuple(messages)
    asked = [m for m in listed if m.role == "user"]
    if not asked:
        said = f"{field_name}: there is no user message, and so nothing to answer"
        raise RequestError(said, param=field_name)
    if not any(m.content.strip() or m.wire for m in asked):
        raise RequestError("every user message is empty: there is nothing to answer", param=field_name)
    return Question(listed, options)


def refuse_two_limits(fields: SamplingFields, **others: int | None) -> None:
    """The most tokens of an answer has several names. Raises `RequestError` where they differ."""
    named = {"max_tokens": fields.max_tokens, "max_completion_tokens": fields.max_completion_tokens, **others}
    given = {name: limit for name, limit in named.items() if limit is not None}
    if len({*given.values()}) > 1:
        said = f"{' and '.join(given)} are the same limit by several names and differ: give one"
        raise RequestError(said, param=next(iter(given)))


def refuse_unknown_tool(choice: Any, tools: Any) -> None:
    """A choice by name must be of one of the tools. What else may be wrong with either is the upstream's to say."""
    if isinstance(choice, str):
        if choice == "required" and not tools:
            raise RequestError("tool_choice requires a tool and there are no tools", param="tool_choice")
        return
    named = _named(choice)
    if named is not None and named not in [_named(tool) for tool in (tools if isinstance(tools, list) else ())]:
        raise RequestError("tool_choice names a tool that is not among the tools", param="tool_choice")


def _named(tool: Any) -> str | None:
    """The name in a tool or a choice of one: ``{"type": KIND, KIND: {"name": …}}``."""
    if not isinstance(tool, dict):
        return None
    inner = tool.get(tool["type"]) if isinstance(tool.get("type"), str) else None
    name = inner.get("name") if isinstance(inner, dict) else None
    return name if isinstance(name, str) else None


def conversation_of(wires: Iterable[dict[str, Any]]) -> list[Message]:
    """Messages of the chat dialect; what one side says in several of them running stands in one.

    Other dialects have a call of a tool, and a text before it, as things of their own.
    """
    made: list[dict[str, Any]] = []
    for wire in wires:
        before = made[-1] if made else {}
        if wire.get("tool_calls") and before.get("role") == "assistant":
            before["tool_calls"] = [*before.get("tool_calls", ()), *wire["tool_calls"]]
        else:
            made.append(wire)
    return [_read(wire) for wire in made]


def _read(wire: dict[str, Any]) -> Message:
    content = wire["content"]
    if isinstance(content, str):
        return Message(wire["role"], content, None if len(wire) == 2 else wire)
    texts = [part["text"] for part in content or () if part["type"] == "text"]
    return Message(wire["role"], "\n".join(texts), wire)
