"""What a client is called with, as a question of gate's; and what its server is asked in the place of that. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from gate.effects import Generate
from gate.errors import RequestError
from gate.ports import Profile
from gate.proxy.chat_requests import chat_request
from gate.proxy.request_fields import ChatRequest
from gate.types import JsonObject
from gate.upstreams.openai_chat import wire_message
from gate.upstreams.openai_wire import passed_through, sampling_fields, without

_TRANSPORT = ("extra_headers", "extra_query", "timeout")
"""Of the client's own: how a request is sent, and no part of what is asked."""
_ONLY_A_PROXYS = ("policy", "streaming", "explain")
_LIMIT, _NEWER_LIMIT = "max_tokens", "max_completion_tokens"
_ALL = Profile()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One call of a client."""

    fields: JsonObject
    """As the client takes them, for a reply that comes whole, without what is for gate."""
    request: ChatRequest

    @property
    def model(self) -> str:
        return self.request.model


def wanted(fields: Mapping[str, Any], wire: Mapping[str, Any] | None = None) -> Wanted:
    """A call by what was given to it. ``wire``: fields that say on the wire something else than they do to the client.

    A ``gate`` object among the ``extra_body`` may hold a ``budget`` and what an ``abstention`` is, as for gate's proxy.
    Raises `RequestError` where there is nothing to answer, and for fields that are none of this API.
    """
    kept = {
        name: list(value) if name in {"messages", "tools"} and _is_listing(value) else value
        for name, value in fields.items()
    }
    beside = kept.get("extra_body")
    body = {name: value for name, value in kept.items() if name not in _TRANSPORT and name != "extra_body"}
    body |= wire or {}
    if isinstance(beside, Mapping):
        body |= beside
        kept["extra_body"] = {name: value for name, value in beside.items() if name != "gate"}
    ours = body.get("gate")
    for name in _ONLY_A_PROXYS:
        if isinstance(ours, Mapping) and ours.get(name) is not None:
            raise RequestError(f"gate.{name} is for gate's proxy: a wrapped client has none", param=f"gate.{name}")
    request = chat_request(plain_json(body))
    for name in ("stream", "stream_options"):
        kept.pop(name, None)
    return Wanted(kept, request)


def draft_fields(asked: Wanted, profile: Profile, refused: frozenset[str]) -> dict[str, Any]:
    """The caller's own fields, with the log-probabilities that are evidence of the draft."""
    made = dict(asked.fields)
    if not profile.logprobs or "logprobs" in refused:
        return made
    made["logprobs"] = True
    alternatives = 0 if "top_logprobs" in refused else profile.top_logprobs
    if alternatives > (asked.request.logprobs or 0):
        made["top_logprobs"] = alternatives
    return made


def evidence_fields(asked: Wanted, effect: Generate, refused: frozenset[str]) -> dict[str, Any]:
    """What gate itself asks: of the caller's fields there are the tools, the response format and their like."""
    for name in sorted(refused - {_LIMIT}):
        effect = without(effect, name)
    made: dict[str, Any] = {
        "model": asked.model,
        "messages": [wire_message(message) for message in effect.messages],
        **sampling_fields(effect, _ALL),
        **{name: asked.fields[name] for name in _TRANSPORT if name in asked.fields},
    }
    if "extra_headers" in made:
        made["extra_headers"] = _not_idempotent(made["extra_headers"])
    if effect.limit is not None:
        newer = _LIMIT in refused or _NEWER_LIMIT in asked.request.question.options
        made[_NEWER_LIMIT if newer else _LIMIT] = effect.limit
    if effect.logprobs is not None:
        made["logprobs"] = True
        if effect.logprobs:
            made["top_logprobs"] = effect.logprobs
    extra = passed_through(effect)
    return {**made, "extra_body": extra} if extra else made


def plain_json(value: Any) -> Any:
    """As it goes over the wire: messages may be objects of the client's library."""
    if isinstance(value, str | bytes | int | float | None):
        return value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    if isinstance(value, Mapping):
        return {name: plain_json(each) for name, each in value.items()}
    return [plain_json(each) for each in value] if isinstance(value, list | tuple) else value


def _is_listing(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _not_idempotent(headers: Any) -> Any:
    """Without the key by which a server tells that it has answered a request already."""
    if not isinstance(headers, Mapping):
        return headers
    return {name: value for name, value in headers.items() if name.lower() != "idempotency-key"}
