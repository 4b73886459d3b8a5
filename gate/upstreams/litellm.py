"""Any provider that litellm speaks to, asked in this process. ``pip install 'gate-llm[litellm]'`` brings litellm.

litellm is imported when it is first asked, on a thread, because that takes seconds. Nothing is fetched for it: its
start-up look-ups are off unless the environment says otherwise. gate adds no callbacks of its own, and leaves litellm's
global settings alone but for ``suppress_debug_info``, which keeps it from printing.

What is known at load comes from the policy (``capabilities``). A field of gate's own that a provider does not take is
refused here before litellm sees it, as a server would refuse it, whatever ``litellm.drop_params`` says: then the driver
leaves it out, and the evidence that needed it is missing with a reason.
"""

from __future__ import annotations

import asyncio
import copy
import importlib
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, ClassVar, Self

from pydantic import BaseModel, Field, field_validator

from gate.effects import Generate
from gate.errors import MissingExtra, UpstreamError, UpstreamTimeout
from gate.http_wire import headers_without_keys, http_address, masked, refusal
from gate.ports import Price, Profile
from gate.types import Generations
from gate.upstreams.litellm_prices import listed_price
from gate.upstreams.openai_chat import read_chat, wire_message
from gate.upstreams.openai_wire import Capabilities, KeyOptions, fingerprint_of, passed_through, sampling_fields

log = logging.getLogger("gate.upstreams.litellm")
_OFFLINE = ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "LITELLM_LOCAL_BLOG_POSTS")
_LONGEST = 3600.0
"""Seconds: the longest a policy may give an upstream. Drivers keep the time; this is for a call they let go of."""
_OWN = ("logprobs", "top_logprobs", "n", "seed")
"""Fields that gate adds to what the caller asked."""
_GIVEN = frozenset({"model", "messages", "n", "stream", "stream_options", "logprobs", "top_logprobs", "seed"})
_STEERING = frozenset(
    {"api_base", "base_url", "timeout", "request_timeout", "num_retries", "max_retries", "retry_policy"}
    | {"retry_strategy", "drop_params", "additional_drop_params", "fallbacks", "context_window_fallback_dict"}
    | {"model_list", "caching", "cache", "client", "shared_session", "acompletion", "guardrails"}
)
"""What would ask somebody else, ask again, or answer from memory: gate does that, by the policy."""
_CALLBACKS = re.compile(r"callbacks?$|^(?:logger_fn|litellm_logging_obj|post_call_rules|pre_call_rules)$")
_SECRETS = re.compile(r"(?:^|[_-])(?:keys?|key_id|secret|token|password|credentials?|authorization|cookie)$", re.I)
_NO_SECRETS = frozenset({"prompt_cache_key"})
_SCHEMAS = frozenset({"tools", "functions", "response_format"})
"""Names in them are the operator's own."""
SENDABLE = frozenset(
    {"audio", "frequency_penalty", "function_call", "functions", "logit_bias", "max_completion_tokens", "max_tokens"}
    | {"modalities", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key"}
    | {"prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier", "service_tier", "stop"}
    | {"store", "temperature", "thinking", "tool_choice", "tools", "top_p", "user", "verbosity", "web_search_options"}
    | {"seed", "top_k", "min_p", "logprobs", "top_logprobs"}
)
"""What callers may pass through: to litellm an unknown field may be an address, or an order."""
_UNSUPPORTED = re.compile(r"parameters: [\[({]?['\"](\w+)")
_TRACEBACK = "Traceback (most recent call last)"
"""litellm puts that into messages."""
_NO_REPLY = "cannot be reached, or gave no reply that litellm can read (is it running, and api_base right?)"
_READY = threading.Event()
"""Set once litellm is imported: then asking for it blocks nobody."""


class LiteLLMOptions(KeyOptions):
    """What a policy file may say. Without a key here litellm looks for one itself: ``OPENAI_API_KEY``, AWS's own …"""

    model: str = Field(min_length=1)
    """As litellm names it: ``anthropic/claude-sonnet-4-5``, ``ollama/llama3.2``."""
    api_base: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    """More of litellm's own parameters, sent with every request; what is asked of gate goes before. Not for keys."""
    capabilities: Capabilities = Capabilities(stream=False)

    @field_validator("api_base")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return None if value is None else http_address(value, example="http://127.0.0.1:11434")

    @field_validator("parameters")
    @classmethod
    def _harmless(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name in _GIVEN | _STEERING:
                raise ValueError(f"{name!r} is gate's to set: see the other keys of the upstream, and 'evidence'")
            if _CALLBACKS.search(name):
                raise ValueError(f"{name!r} would hand questions and answers on: set callbacks in your own code")
        if found := _secret_in(value):
            raise ValueError(f"{found!r} holds a secret: use api_key_env or api_key_file, or litellm's own variables")
        if isinstance(headers := value.get("extra_headers"), dict):
            headers_without_keys(headers)
        return value


def _secret_in(value: Any) -> str | None:
    """The name of something that looks like a secret, at any depth."""
    if isinstance(value, list):
        return next(filter(None, map(_secret_in, value)), None)
    for name, inner in value.items() if isinstance(value, dict) else ():
        if name not in _NO_SECRETS and _SECRETS.search(str(name)):
            return str(name)
        if name not in _SCHEMAS and (found := _secret_in(inner)):
            return found
    return None


@dataclass(frozen=True, slots=True)
class LiteLLMUpstream:
    """Fits `AwaitableUpstream`: on an event loop, and behind the driver of threads, it takes up no thread."""

    kind: ClassVar[str] = "litellm"
    Options: ClassVar[type[BaseModel]] = LiteLLMOptions
    lists_prices: ClassVar[bool] = True
    """Whether ``from_options`` finds the price itself where it is given None."""

    name: str
    options: LiteLLMOptions
    price: Price
    key: str | None = field(repr=False)
    priced: bool = True
    """False where nobody knows what the model charges: what it does counts as nothing."""

    @classmethod
    def from_options(cls, name: str, options: LiteLLMOptions, price: Price | None) -> Self:
        """Raises `MissingExtra` where litellm is not installed. It is not imported here."""
        if find_spec("litellm") is None:
            raise MissingExtra("litellm", "litellm")
        listed = price if price is not None else listed_price(options.model)
        if listed is None:
            said = "litellm lists no price of %r (upstream %r): what it charges counts as nothing; give its 'price'"
            log.warning(said, options.model, name)
        return cls(name, options, listed or Price(), options.key(), listed is not None)

    @property
    def profile(self) -> Profile:
        return replace(self.options.capabilities.profile, stream=False)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.options.model, self.kind, "1", self.options.api_base or "")

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        """Blocks until there is a reply: cancelled or not, litellm's own calls are waited for."""
        litellm = library()
        from openai import OpenAIError  # comes with litellm

        try:
            return self._read(litellm.completion(**self._request(litellm, effect)))
        except OpenAIError as error:
            raise self._refused(error) from None  # its words may be the user's

    async def acomplete(self, effect: Generate) -> Generations:
        litellm = library() if _READY.is_set() else await asyncio.to_thread(library)
        from openai import OpenAIError

        try:
            return self._read(await litellm.acompletion(**self._request(litellm, effect)))
        except OpenAIError as error:
            raise self._refused(error) from None  # its words may be the user's

    def _request(self, litellm: Any, effect: Generate) -> dict[str, Any]:
        for name in effect.extra:
            if name not in SENDABLE:
                raise UpstreamError(self.name, f"is not handed the field {name!r}", param=name, status=400)
        made = {
            **self.options.parameters,
            "model": self.options.model,
            "messages": [wire_message(message) for message in effect.messages],
            **sampling_fields(effect, self.profile),
        }
        if effect.limit is not None:
            made["max_tokens"] = effect.limit
        if effect.logprobs is not None and self.profile.logprobs:
            made["logprobs"] = True
            if alternatives := min(effect.logprobs, self.profile.top_logprobs):
                made["top_logprobs"] = alternatives
        made = copy.deepcopy(made | passed_through(effect))  # litellm writes into what it is given
        self._refuse_unsupported(litellm, made)
        made |= {"timeout": _LONGEST, "num_retries": 0, "max_retries": 0, "drop_params": False}
        if self.options.api_base:
            made["api_base"] = self.options.api_base
        if self.key:
            made["api_key"] = self.key
        return made

    def _refuse_unsupported(self, litellm: Any, made: Mapping[str, Any]) -> None:
        """What litellm would refuse, or leave out unseen where it was told to drop what a provider does not take."""
        ours = [name for name in _OWN if name in made and name not in made.get("allowed_openai_params", ())]
        if not ours:
            return
        supported = litellm.get_supported_openai_params(model=self.options.model)
        for name in ours:
            if supported is not None and name not in supported:
                raise UpstreamError(self.name, f"does not take the field {name!r}", param=name, status=400)

    def _read(self, reply: Any) -> Generations:
        data = reply.model_dump(warnings=False)
        if not isinstance(data.get("choices"), list) or not data["choices"]:
            raise UpstreamError(self.name, "answered without choices", retryable=True)
        return read_chat(self.name, data)

    def _refused(self, error: Any) -> UpstreamError:
        """litellm's error as one of ours. Its classes are those of the OpenAI client, with a status on each.

        Where no server has said anything litellm makes up a status; what a server said comes with its headers.
        """
        from openai import APITimeoutError

        words = str(error).partition(_TRACEBACK)[0].strip()
        said, headers = masked(words, self.key), getattr(error, "litellm_response_headers", None)
        if isinstance(error, APITimeoutError):
            return UpstreamTimeout(self.name, "did not answer in time", said=said, status=408, retryable=True)
        status: int = getattr(error, "status_code", None) or 500
        if status >= 500 and headers is None:
            return UpstreamError(self.name, _NO_REPLY, said=said, retryable=True)
        named = _UNSUPPORTED.search(words) if type(error).__name__ == "UnsupportedParamsError" else None
        param = named[1] if named else getattr(error, "param", None)
        data = {"error": {"message": words}}
        return refusal(self.name, status, headers or {}, b"", data, self.key, "api_base", param)


def library() -> Any:
    """litellm, imported so that it fetches nothing and prints nothing. The first time takes seconds."""
    if "litellm" not in sys.modules:  # what is imported already is somebody else's to set up
        for name in _OFFLINE:
            os.environ.setdefault(name, "True")
    litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    _READY.set()
    return litellm
