"""One answer in every shape there is, by the real libraries, and outcomes to put into them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

from anthropic.types import Message
from langchain_core.messages import AIMessage
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from pydantic import BaseModel, Field

from gate.types import Action, Cost, Decision, Generation, Outcome, SignalVector, Stage, Step, TokenLogprob, ToolCall

TOKEN = TokenLogprob("China", -0.25, (("China", -0.25), ("Japan", -2.0)))
CALL = ToolCall("call_1", "look_up", '{"city": "Nanjing"}')


def _token(token: TokenLogprob) -> dict[str, Any]:
    def one(text: str, logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    return {**one(token.token, token.logprob), "top_logprobs": [one(*each) for each in token.top]}


CHAT: dict[str, Any] = {
    "id": "chatcmpl-7",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "small-1",
    "system_fingerprint": "fp_1",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "China", "refusal": None},
            "logprobs": {"content": [_token(TOKEN)], "refusal": None},
            "finish_reason": "stop",
        },
        {
            "index": 1,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": CALL.id, "type": "function", "function": {"name": CALL.name, "arguments": CALL.arguments}}
                ],
            },
            "finish_reason": "tool_calls",
        },
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
}
RESPONSE: dict[str, Any] = {
    "id": "resp_7",
    "object": "response",
    "created_at": 1_700_000_000.0,
    "model": "small-1",
    "status": "completed",
    "incomplete_details": None,
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "China", "annotations": [], "logprobs": [_token(TOKEN)]},
            ],
        },
        {"type": "function_call", "id": "fc_1", "call_id": CALL.id, "name": CALL.name, "arguments": CALL.arguments},
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 12,
        "output_tokens": 3,
        "total_tokens": 15,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    },
}
MESSAGE: dict[str, Any] = {
    "id": "msg_7",
    "type": "message",
    "role": "assistant",
    "model": "small-1",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "text", "text": "China"},
        {"type": "tool_use", "id": CALL.id, "name": CALL.name, "input": {"city": "Nanjing"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "cache_read_input_tokens": 2, "output_tokens": 3},
}


class Place(BaseModel):
    """With an alias, as the model is told of it, and a field that JSON has as a string."""

    country: str
    metres: float = Field(default=20.0, alias="elevation_m")


@dataclass(frozen=True)
class Spot:
    country: str
    near: tuple[str, ...] = ()


class Kind(Enum):
    CITY = "city"
    RIVER = "river"


class Verdict(StrEnum):
    YES = "yes"
    NO = "no"


def lang_chain() -> AIMessage:
    return AIMessage(
        content="China",
        tool_calls=[{"id": CALL.id, "name": CALL.name, "args": {"city": "Nanjing"}, "type": "tool_call"}],
        response_metadata={
            "model_name": "small-1",
            "finish_reason": "tool_calls",
            "logprobs": {"content": [_token(TOKEN)], "refusal": None},
        },
        usage_metadata={"input_tokens": 12, "output_tokens": 3, "total_tokens": 15},
        id="run-7",
    )


MODELS: dict[str, object] = {
    "openai completion": ChatCompletion.model_validate(CHAT),
    "completion as a dict": CHAT,
    "openai response": Response.model_validate(RESPONSE),
    "response as a dict": RESPONSE,
    "anthropic message": Message.model_validate(MESSAGE),
    "message as a dict": MESSAGE,
    "langchain message": lang_chain(),
}
"""Of a model's answer: tool calls and all."""
VALUES: dict[str, object] = {
    "model": Place(country="China", elevation_m=8.0),
    "dataclass": Spot("China", ("Wuhu",)),
    "dict": {"country": "China"},
    "list": ["China", 1, None],
    "tuple": ("China", "Japan"),
    "number": 3.5,
    "integer": 42,
    "truth": True,
    "enumeration": Kind.CITY,
    "enumeration of text": Verdict.YES,
}
"""Of values, each with a text of its own that is put back into it."""


def outcome_of(text: str, *calls: ToolCall, finish: str = "stop", refusal: str | None = None) -> Outcome:
    generation = Generation(text, "tool_calls" if calls else finish, (TOKEN,), calls, refusal)
    decision = Decision(Action.ANSWER, "confident", Stage("large"))
    return Outcome(Action.ANSWER, text, (Step(decision, SignalVector(()), Cost()),), Cost(), generation, "large")
