"""What the OpenAI dialects share: options, headers, errors, usage and log-probabilities. Pure: no sockets."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gate.effects import Generate
from gate.errors import ConfigError, UpstreamError
from gate.http_wire import (
    BROKEN,
    headers_without_keys,
    http_address,
    is_html,
    not_json,
    other_status,
    parsed,
    refusal,
    secret_of,
)
from gate.ports import Profile
from gate.types import TokenLogprob, Usage
from gate.well_known_secrets import refuse_well_known

_OURS = ("stream_options", "top_logprobs", "logprobs", "seed", "n", "stream")
"""Fields gate adds to what the caller asked, and can do without where a server does not take them."""
_NOT_TAKEN = (
    r"(?:un(?:supported|known|recogni[sz]ed|expected)|(?:not|n't) (?:be )?(?:support(?:ed)?|permitted|allowed)"
    r"|cannot find field|extra (?:fields?|inputs?)|extra_forbidden)"
)
_TOO_MANY_TOKENS = re.compile(
    r"max_(?:completion_)?tokens ?= ?\d+ cannot be greater than max_model_len ?= ?(\d{1,9})\b"  # vLLM
    r"|max_(?:completion_)?tokens is too large: \d+\. this model supports at most (\d{1,9}) completion tokens"  # OpenAI
)
_NAMED = r"(?<![\w\\-]){name}(?![\w-])"
_UNSENDABLE = frozenset({"model", "messages", "prompt", "n", "stream", "stream_options"})
_ADDRESS = "base_url"


class Capabilities(BaseModel):
    """What a server can do where it differs from OpenAI's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    logprobs: bool = True
    top_logprobs: int = Field(default=5, ge=0, le=20)
    n: int = Field(default=8, ge=1, le=128)
    tools: bool = True
    seed: bool = True
    stream: bool = True
    """Whether drafts are streamed where somebody watches them; else they are told of when they are whole."""

    @cached_property
    def profile(self) -> Profile:
        return Profile(**self.model_dump())


class KeyOptions(BaseModel):
    """What opens an endpoint. The key comes from an environment variable or a file only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_key_env: str | None = None
    api_key_file: str | None = None

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.api_key_env and self.api_key_file:
            raise ValueError("give api_key_env or api_key_file, not both")
        return self

    def key(self) -> str | None:
        """The key itself. Raises `ConfigError` when it is not where the policy says."""
        if self.api_key_env:
            return secret_of(self.api_key_env)
        if self.api_key_file:
            try:
                secret = Path(self.api_key_file).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"cannot read the key from {self.api_key_file!r}: {error}") from error
            refuse_well_known(secret, f"the file {self.api_key_file!r}")
            return secret
        return None


class AddressOptions(KeyOptions):
    """How to reach an OpenAI-compatible server."""

    base_url: str
    model: str = Field(min_length=1)
    headers: dict[str, str] = {}
    """Sent with every request. Not for keys: they would stand in the policy."""

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        return http_address(value, example="http://127.0.0.1:8000/v1")

    @field_validator("headers")
    @classmethod
    def _no_keys(cls, value: dict[str, str]) -> dict[str, str]:
        return headers_without_keys(value)

    def fingerprint(self, kind: str, dialect: str) -> str:
        return fingerprint_of(self.model, kind, dialect, self.base_url)


def fingerprint_of(model: str, kind: str, dialect: str, address: str) -> str:
    text = "\0".join((kind, dialect, address, model))
    return f"{model}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


class ServerOptions(AddressOptions):
    """A server that generates text."""

    capabilities: Capabilities = Capabilities()


def request_headers(options: AddressOptions, key: str | None) -> dict[str, str]:
    made = {"content-type": "application/json", "accept": "application/json", **options.headers}
    return made if key is None else {**made, "authorization": f"Bearer {key}"}


def sampling_fields(effect: Generate, profile: Profile) -> dict[str, Any]:
    """The generation fields both dialects spell alike, without ``max_tokens`` and log-probabilities."""
    made: dict[str, Any] = {}
    if effect.n > 1:
        made["n"] = effect.n
    for name in ("temperature", "top_p"):
        value = getattr(effect, name)
        if value is not None:
            made[name] = value
    if effect.stop:
        made["stop"] = list(effect.stop)
    if effect.seed is not None and profile.seed:
        made["seed"] = effect.seed
    return made


def passed_through(effect: Generate) -> dict[str, Any]:
    return {name: value for name, value in effect.extra.items() if name not in _UNSENDABLE}


# --- replies -----------------------------------------------------------------------------------------------------


def reply_object(
    upstream: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    key: str | None,
    listing: str = "choices",
) -> dict[str, Any]:
    """The reply's JSON object with at least one object in the list it is asked for (``choices``, or ``data``).

    Raises `UpstreamError` for anything else.
    """
    data = parsed(body)
    if status >= 400 or (isinstance(data, dict) and data.get("error") and not data.get(listing)):
        raise refused(upstream, status, headers, body, data, key)
    if not 200 <= status < 300:
        raise other_status(upstream, status, _ADDRESS)
    if data is BROKEN:
        raise UpstreamError(upstream, not_json(body, _ADDRESS), status=status, retryable=not is_html(body))
    if not isinstance(data, dict):
        raise UpstreamError(upstream, "answered JSON that is no object", status=status)
    listed = data.get(listing)
    if not isinstance(listed, list) or not listed or not all(isinstance(item, dict) for item in listed):
        raise UpstreamError(upstream, f"answered without {listing}", status=status, retryable=True)
    return data


def refused(
    upstream: str, status: int, headers: Mapping[str, str], body: bytes, data: Any, key: str | None
) -> UpstreamError:
    """The error that a server's own JSON tells of."""
    return refusal(upstream, status, headers, body, data, key, _ADDRESS, _blamed(data))


def _blamed(data: Any) -> str | None:
    """The field of the request an error names in so many words: OpenAI's ``param``, or FastAPI's ``loc``."""
    error = data.get("error", data) if isinstance(data, dict) else None
    if not isinstance(error, dict):
        return None
    if error.get("param"):
        return text_of(error["param"]) or None
    listed = error.get("detail")
    first = listed[0] if isinstance(listed, list) and listed else None
    place = first.get("loc") if isinstance(first, dict) and first.get("type") == "extra_forbidden" else None
    return str(place[-1]) if isinstance(place, list) and place else None


def usage_of(data: Mapping[str, Any]) -> Usage:
    usage = data.get("usage")
    return Usage(_count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value > 0 else 0


def text_of(value: Any) -> str:
    """A string field, or nothing: a server that sends something else there has said nothing."""
    return value if isinstance(value, str) else ""


def content_text(content: Any) -> str:
    """The text of a message's content, in one piece or in parts."""
    if isinstance(content, list):
        return "".join(text_of(part.get("text")) for part in content if isinstance(part, dict))
    return text_of(content)


def token_logprobs(logprobs: Any) -> tuple[TokenLogprob, ...] | None:
    """A chat choice's ``logprobs``. None when the server gave none, or when one of them is no number: half a sequence
    would look too sure."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return None
    made = []
    for item in content:
        value = log_probability(item.get("logprob")) if isinstance(item, dict) else None
        if value is None:
            return None
        made.append(TokenLogprob(text_of(item.get("token")), value, _alternatives(item.get("top_logprobs"))))
    return tuple(made)


def _alternatives(listed: Any) -> tuple[tuple[str, float], ...]:
    made = []
    for each in listed if isinstance(listed, list) else ():
        if type(each) is dict:
            token, value = each.get("token"), each.get("logprob")
            if type(value) is not float or not -1e4 <= value <= 0.0:  # seldom
                value = log_probability(value)
            if value is not None:
                made.append((token if type(token) is str else "", value))
    return tuple(made)


def log_probability(value: Any) -> float | None:
    """A usable natural-log probability, at most 0; None for what is none (null, NaN, text)."""
    if type(value) is float and -1e4 <= value <= 0.0:  # nearly all of them, and there are many
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value > 1e-3:
        return None
    return min(0.0, max(float(value), -1e4))


# --- what a server does not take ---------------------------------------------------------------------------------


def refused_field(error: UpstreamError) -> str | None:
    """The field of gate's own adding that a server says it does not take, when its refusal names one.

    A reply that says which field it means is taken at its word. Otherwise its message must call a field unsupported,
    unknown or the like: one that only mentions a name says nothing about it.
    """
    if error.status not in {400, 403, 404, 422, 501}:
        return None
    if error.param is not None:
        named = error.param.partition(".")[0]  # of a part, as in stream_options.include_usage
        return named if named in _OURS else None
    said = error.said.lower()
    return next((name for name in _OURS if _called_not_taken(name, said)), None)


def most_tokens(error: UpstreamError) -> int | None:
    """The most tokens an answer may have to a server that refuses to be allowed more, when it says how many."""
    if error.status not in {400, 422} or error.param not in {None, "max_tokens", "max_completion_tokens"}:
        return None
    found = _TOO_MANY_TOKENS.search(error.said.lower())
    return None if found is None else max(1, int(found[1] or found[2]))


def _called_not_taken(name: str, said: str) -> bool:
    named = _NAMED.format(name="stream(?:ing)?" if name == "stream" else name)
    return bool(re.search(rf"{_NOT_TAKEN}.{{0,40}}?{named}|{named}.{{0,40}}?{_NOT_TAKEN}", said))


def without(effect: Generate, name: str) -> Generate:
    """The same request without a field of gate's own adding; one of the caller's stays. Without ``n`` it asks for one
    answer; without ``stream`` it is told of when it is whole."""
    match name:
        case "logprobs" | "top_logprobs":
            lower = 0 if name == "top_logprobs" and effect.logprobs else None
            return dataclasses.replace(effect, logprobs=lower)
        case "n":
            return dataclasses.replace(effect, n=1)
        case "seed":
            return effect if effect.seed_is_callers else dataclasses.replace(effect, seed=None)
        case "stream_options":
            return dataclasses.replace(effect, counted=False)
        case "stream":
            return dataclasses.replace(effect, live="")
    raise ValueError(f"{name!r} is not optional")
