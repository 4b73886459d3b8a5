"""Conversations in files: messages of the OpenAI wire to and from questions, and when two questions are the same."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from gate.evidence.meanings import normalize
from gate.types import Message, Passage, Question

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_INSTRUCTIONS = frozenset({"system", "developer"})


def read_messages(raw: Any) -> tuple[Message, ...]:
    """Messages from their JSON. Raises ValueError saying what is wrong with which of them."""
    if not isinstance(raw, list) or not raw:
        raise ValueError("messages are no list, or an empty one")
    return tuple(_message(each, place) for place, each in enumerate(raw))


def _message(raw: Any, place: int) -> Message:
    if not isinstance(raw, Mapping):
        raise ValueError(f"messages.{place} is no object")
    raw = without_nulls(raw)
    role, content = raw.get("role"), raw.get("content")
    if role not in _ROLES:
        raise ValueError(f"messages.{place}.role is none of {', '.join(_ROLES)}")
    if isinstance(content, str):
        return Message(role, content, None if raw.keys() == {"role", "content"} else raw)
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        parts = [part.get("text") for part in content if part.get("type") == "text"]
        if all(isinstance(part, str) for part in parts):
            return Message(role, "\n".join(map(str, parts)), raw)
    if content is None and role != "user":
        return Message(role, "", raw)
    raise ValueError(f"messages.{place}.content is neither text nor a list of parts")


def without_nulls(value: Any) -> Any:
    """A JSON value without the nulls: Parquet fills up every object of a column with the fields of the others.

    Raises ValueError for what is nested too deep, or holds numbers that are none.
    """
    try:
        return _pruned(value)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _pruned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _pruned(item) for key, item in value.items() if item is not None}
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number")
    return [_pruned(item) for item in value] if isinstance(value, list) else value


def check_asks(messages: Sequence[Message]) -> None:
    """Raises ValueError where no message of a user says anything."""
    asking = [message for message in messages if message.role == "user"]
    if not asking:
        raise ValueError("messages hold no user message")
    if not any(message.content.strip() or _parts(message) for message in asking):
        raise ValueError("every user message is empty")


def _parts(message: Message) -> list[Any]:
    """What a message holds beside text: images, files."""
    content = (message.wire or {}).get("content")
    return [part for part in content if part.get("type") != "text"] if isinstance(content, list) else []


def wire_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Their JSON; `read_messages` gives them back."""
    return [dict(m.wire) if m.wire is not None else {"role": m.role, "content": m.content} for m in messages]


def question_key(question: Question, passages: Sequence[Passage] = ()) -> str:
    """Equal for questions that are the same once normalised: all turns but instructions, and what is given to read.

    Instructions are left out because the same question under another system prompt is still a question seen before.
    """
    turns = [
        [message.role, normalize(message.content), _parts(message), (message.wire or {}).get("tool_calls")]
        for message in question.messages
        if message.role not in _INSTRUCTIONS
    ]
    return digest([turns, [normalize(passage.text) for passage in passages]])


def digest(value: Any) -> str:
    """16 hex digits of the SHA-256 of a JSON value: the same in every process."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
