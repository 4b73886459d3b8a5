"""What LiteLLM's hooks hand over, as a question and as answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from gate.proxy.chat_requests import parse_chat_request
from gate.proxy.request_fields import ChatRequest
from gate.types import Generation
from gate.upstreams.litellm import SENDABLE
from gate.upstreams.openai_chat import read_chat


def asked(model: str, messages: Iterable[Any], fields: Mapping[str, Any]) -> ChatRequest:
    """The request, of the caller's fields those that bear on an answer. Raises `RequestError` where it is none."""
    options = {name: fields[name] for name in SENDABLE | {"n"} if fields.get(name) is not None}
    return parse_chat_request(orjson.dumps({**options, "model": model, "messages": list(messages)}, default=_plain))


def answers(reply: Any) -> tuple[Generation, ...]:
    """The choices of a ``ModelResponse``."""
    return read_chat("litellm", reply.model_dump(warnings=False)).choices


def _plain(value: Any) -> Any:
    """What is no JSON by itself: a message as litellm's own class has it."""
    return value.model_dump(exclude_none=True)
