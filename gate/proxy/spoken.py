"""What an outcome says, before any door shapes it: refusal or not, the pieces it streams in, its end, its tokens."""

from __future__ import annotations

import re
from typing import Any, Literal

from gate.answer_shapes.looks import wire_logprobs
from gate.effects import STOPPED_EARLY
from gate.proxy.request_fields import ChatRequest
from gate.types import Action, Generation, Outcome, ToolCall

RefusalIn = Literal["refusal", "content", "both"]
"""Where the text of a refusal stands in a message: see `gate.serving_settings.ServingSettings`."""
PIECE = re.compile(r"\s*\S+|\s+")
"""What a text streams in: word by word."""


def refuses(outcome: Outcome) -> bool:
    """Whether its text is a refusal: a question asked back and an answer given unsure are none. The model's own is one
    too, where it goes out because a policy only observes."""
    said = outcome.generation
    if outcome.answered and said is not None:
        return said.refusal is not None and not said.text
    return outcome.action is Action.ABSTAIN and not outcome.hedged


def withdrawn(sent: str, outcome: Outcome) -> bool:
    """Whether so much of an answer was sent before the verdict that may not stand: refused, or written anew."""
    return bool(sent) and (refuses(outcome) or not outcome.text.startswith(sent))


def tool_calls(outcome: Outcome) -> tuple[ToolCall, ...]:
    return outcome.generation.tool_calls if outcome.generation else ()


def finish(outcome: Outcome) -> str:
    """As OpenAI has it: ``stop``, ``length``, ``tool_calls`` …"""
    reason = outcome.generation.finish_reason if outcome.generation else "stop"
    return "length" if reason == STOPPED_EARLY else reason


def logprobs(request: ChatRequest, generation: Generation | None) -> list[dict[str, Any]] | None:
    """Of each token, with the alternatives asked for; None where they were not asked for or there are none."""
    if request.logprobs is None or generation is None:
        return None
    return wire_logprobs(generation.tokens, request.logprobs)
