"""gate as a guardrail inside LiteLLM: its proxy, or its Python calls. Five lines of its ``config.yaml``::

    guardrails:
      - guardrail_name: gate
        litellm_params:
          {guardrail: gate.integrations.litellm_guardrail.GateGuardrail, mode: post_call, default_on: true,
           policy: careful.yaml, samples: 5, on_abstention: refuse}

Each answer is judged by the policy as one that was brought along (`gate.gateway.Gateway.judge`): an upstream of ``kind:
caller`` stands for whoever wrote it. ``samples`` is how many more answers the policy may draw for one, through LiteLLM
itself, from the same deployment with the same parameters, one a call: LiteLLM bills and logs each. 0 draws none. Ask
for ``logprobs`` in the deployment's parameters where signals need them: nothing is added to what is asked.

``on_abstention``: ``refuse`` puts the refusal in the place of the answer, in ``content`` and in ``refusal``; ``error``
is HTTP 422, as a guardrail that blocks; ``annotate`` lets every answer through and only says what gate thinks of it.

The decision stands in the headers (``x-gate-action``, ``x-gate-confidence`` …), in LiteLLM's log of guardrails, and
under ``gate`` in ``_hidden_params``. A stream is held until it is judged, so its headers, which go before, cannot tell:
there the last chunk holds ``gate`` in ``delta.provider_specific_fields``. Judged are chat completions. What says
something in another form (text completions, Responses, Messages) is refused rather than let through unseen. A
deployment may name the guardrail itself (``guardrails: [gate]``); but LiteLLM shows nobody a stream of one that it fell
back on: name it in every group of a fallback, or have it ``default_on``. LiteLLM
runs guardrails of Python calls for ``acompletion(..., guardrails=["gate"])`` that does not stream, and for no other.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Container, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, get_args

from gate.decorator.gate import Gate
from gate.effects import Generate
from gate.errors import ConfigError, MissingExtra, RequestError, UpstreamError
from gate.given import Given, More
from gate.integrations.litellm_wire import answers, asked
from gate.log.explain import explanation
from gate.ports import Profile
from gate.proxy.decision_headers import headers
from gate.proxy.verdicts import told
from gate.traces import TraceRecord
from gate.types import Generations, Outcome, Question
from gate.upstreams.litellm import SENDABLE, library
from gate.upstreams.openai_chat import read_chat

try:
    litellm: Any = library()
    from litellm.exceptions import GuardrailRaisedException
    from litellm.integrations.custom_guardrail import CustomGuardrail
    from litellm.types.guardrails import GuardrailEventHooks
except ModuleNotFoundError as error:
    raise MissingExtra("litellm", "litellm") from error

OnAbstention = Literal["refuse", "error", "annotate"]
_MOST = 64
_PROXY = "litellm.proxy.proxy_server"
_UNSEEN = frozenset({"TextCompletionResponse", "ResponsesAPIResponse", "dict"})
"""Replies that say something, and are not read here."""
_WHERE = frozenset(
    {"api_base", "api_key", "api_version", "base_url", "custom_llm_provider", "drop_params", "extra_body"}
    | {"allowed_openai_params", "additional_drop_params", "extra_headers", "mock_response", "organization", "timeout"}
)
_WHERE_TOO = ("aws_", "azure_", "vertex_")
"""What a Python call says of who is asked. Behind LiteLLM's router the deployment says it."""
_PAID_BY = ("user_api_key", "tags")
"""What of a call's metadata says whom LiteLLM bills."""
_HEADERS = "gate_headers"
"""Where they wait in a call's metadata."""
_JUDGED = "gate_judged"
"""Among what LiteLLM keeps beside a reply: the guardrails of gate that have judged it, and what came of it."""
_DRAWING: ContextVar[bool] = ContextVar("gate_drawing", default=False)
"""Set while this guardrail draws samples: they are evidence, and are not judged themselves."""


class _Headers(dict[str, str]):
    """Of a class of their own: what a client writes into a call's metadata is none of it."""


@dataclass(slots=True)
class _Call:
    """One call through LiteLLM, and how many more answers it may take."""

    data: Mapping[str, Any]
    deployment: str
    left: int
    has_logprobs: bool

    async def more(self, effect: Generate) -> Generations:
        """One more answer to the same question."""
        if self.left < 1:
            raise UpstreamError(effect.upstream, "no more samples may be drawn: see 'samples' of the guardrail")
        self.left -= 1
        again = {name: value for name, value in self.data.items() if name in SENDABLE | {"model", "messages"}}
        again |= {"temperature": effect.temperature, "cache": {"no-cache": True, "no-store": True}}
        flag = _DRAWING.set(True)
        try:
            reply = await self._ask(again)
        finally:
            _DRAWING.reset(flag)
        return read_chat(effect.upstream, reply.model_dump(warnings=False))

    async def _ask(self, again: dict[str, Any]) -> Any:
        router = self._router
        if router is None:
            named = {name: self.data[name] for name in self.data if name in _WHERE or name.startswith(_WHERE_TOO)}
            return await litellm.acompletion(**named, **again)
        metadata = self.data.get("metadata") or {}
        billed = {name: value for name, value in metadata.items() if name.startswith(_PAID_BY)}
        return await router.acompletion(**again | {"model": self.deployment, "metadata": billed})

    @property
    def _router(self) -> Any:
        """That of LiteLLM's proxy, where the call came by it."""
        return getattr(sys.modules.get(_PROXY), "llm_router", None) if _by_proxy(self.data) else None

    @property
    def given(self) -> More | None:
        """None where no more may be asked, or nobody knows which deployment: by the model's name the router would pick
        any that has it, whosever key that has."""
        if not self.left or (self._router is not None and not self.deployment):
            return None
        return More(self.more, Profile(logprobs=self.has_logprobs, n=1, seed=False), own_words=True)


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """What became of each choice of a reply, in order."""

    each: tuple[tuple[Outcome, TraceRecord], ...]

    @property
    def explained(self) -> dict[str, Any]:
        listed = [explanation(record) for _, record in self.each]
        return listed[0] if len(listed) == 1 else {"choices": listed}

    @property
    def withheld(self) -> dict[int, str]:
        """What is said in the place of each choice that may not go out."""
        return {place: outcome.text for place, (outcome, _) in enumerate(self.each) if not outcome.answered}


class GateGuardrail(CustomGuardrail):
    """See the module. LiteLLM makes one from its ``config.yaml``; Python code puts one into ``litellm.callbacks``."""

    def __init__(
        self,
        guardrail_name: str = "gate",
        *,
        policy: str = "balanced",
        samples: int = 0,
        on_abstention: OnAbstention = "refuse",
        event_hook: Any = "post_call",
        default_on: bool = False,
        **more: Any,
    ) -> None:
        """``policy``: a shipped one by name, or a file by path. Raises `ConfigError`."""
        if on_abstention not in get_args(OnAbstention):
            raise ConfigError(
                f"on_abstention must be one of {', '.join(get_args(OnAbstention))}, not {on_abstention!r}"
            )
        if type(samples) is not int or not 0 <= samples <= _MOST:
            raise ConfigError(f"samples must be a whole number from 0 to {_MOST}")
        self.gate = Gate(policy)
        self.samples = samples
        self.on_abstention: OnAbstention = on_abstention
        super().__init__(
            guardrail_name=guardrail_name,
            supported_event_hooks=[GuardrailEventHooks.post_call],
            event_hook=event_hook,
            default_on=default_on,
            **more,
        )

    async def async_post_call_success_deployment_hook(self, request_data: Any, response: Any, call_type: Any) -> Any:
        """For a deployment that names the guardrail itself. Behind LiteLLM's proxy its own hook comes later, unless the
        deployment was fallen back on. So the reply is judged here, and an error, which the router would take for one
        of the deployment's and ask another, is left to that hook: until then the refusal stands in the reply."""
        if not _by_proxy(request_data):
            return await super().async_post_call_success_deployment_hook(request_data, response, call_type)
        if not isinstance(response, litellm.ModelResponse) or not isinstance(request_data.get("guardrails"), list):
            return None
        if _DRAWING.get() or not self.should_run_guardrail(request_data, GuardrailEventHooks.post_call):
            return None
        await self._settle(request_data, response, _routed_to(request_data), wanting_error="refuse")
        return response

    async def async_post_call_success_hook(self, data: dict[str, Any], user_api_key_dict: Any, response: Any) -> Any:
        """The reply as it may go out; None where it is none of gate's business."""
        if _DRAWING.get():
            return None
        if not isinstance(response, litellm.ModelResponse):
            if type(response).__name__ in _UNSEEN:
                raise self._blocked("judges chat completions alone: this reply is of another form")
            return None
        judged = _hidden(response).get(_JUDGED, {}).get(self.guardrail_name)
        if judged is None:
            await self._settle(data, response, _deployment([response]))
            return response
        made, refusal = judged
        self._keep_headers(data, made)
        if refusal is not None and self.on_abstention == "error":
            raise self._blocked(refusal)
        return None

    async def _settle(
        self, data: dict[str, Any], reply: Any, deployment: str, wanting_error: OnAbstention = "error"
    ) -> None:
        """Judge it, and put the refusal in its place where it may not go out."""
        verdicts = await self._judged(data, [reply], deployment)
        made, hidden = self._record(data, verdicts), _hidden(reply)
        how = wanting_error if self.on_abstention == "error" else self.on_abstention
        if how == "error":
            self._block_where_asked(verdicts)
        elif how == "refuse":
            for place, text in verdicts.withheld.items():
                _refuse(reply.choices[place], text)
        known = {**hidden.get(_JUDGED, {}), self.guardrail_name: (made, next(iter(verdicts.withheld.values()), None))}
        hidden |= {"gate": verdicts.explained, _JUDGED: known}

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: Any, response: Any, request_data: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """The stream, held until it is judged; or one that says the refusal."""
        chunks = [chunk async for chunk in response]
        if not all(isinstance(chunk, litellm.ModelResponseStream) for chunk in chunks):
            raise self._blocked("judges streams of chat completions alone: this one is of another form")
        replies = [_whole(chunks, index, request_data) for index in _indices(chunks)]
        deployment = _deployment([response, *chunks])
        verdicts = await self._judged(request_data, [reply for reply in replies if reply is not None], deployment)
        self._record(request_data, verdicts)
        self._block_where_asked(verdicts)
        if self.on_abstention == "refuse":
            chunks = _refusing(chunks, verdicts.withheld)
        if speaking := [chunk for chunk in chunks if chunk.choices]:
            delta = speaking[-1].choices[-1].delta
            said = told(verdicts.each, explain=False, certificate=self._certificate(verdicts))
            delta.provider_specific_fields = {**(delta.provider_specific_fields or {}), "gate": said}
        for chunk in chunks:
            yield chunk

    async def async_post_call_response_headers_hook(
        self, data: dict[str, Any], user_api_key_dict: Any, response: Any, **more: Any
    ) -> dict[str, str] | None:
        """Of a reply that was judged; a stream's headers go out before that."""
        metadata = data.get("metadata")
        made = metadata.get(_HEADERS) if isinstance(metadata, dict) else None
        return made if isinstance(made, _Headers) else None

    async def _judged(self, data: Mapping[str, Any], replies: Sequence[Any], deployment: str) -> _Verdicts:
        """Of each choice, the others being samples beside it."""
        question, listed, made = self._question(data), [draft for reply in replies for draft in answers(reply)], []
        for place, draft in enumerate(listed):
            call = _Call(data, deployment, self.samples, draft.tokens is not None)
            others = (*listed[:place], *listed[place + 1 :])
            given = Given(draft, samples=others, more=call.given, model=str(replies[0].model or ""))
            made.append(await self.gate.gateway.ajudge(question, given))
        return _Verdicts(tuple(made))

    def _question(self, data: Mapping[str, Any]) -> Question:
        try:
            return asked(str(data.get("model")), data.get("messages") or (), data).question
        except RequestError as error:
            raise self._blocked(f"cannot read the question: {error}") from error

    def _blocked(self, said: str) -> Exception:
        blocked: Exception = GuardrailRaisedException(
            self.guardrail_name, said, should_wrap_with_default_message=False, status_code=422, blocked_content=True
        )
        return blocked

    def _block_where_asked(self, verdicts: _Verdicts) -> None:
        if verdicts.withheld and self.on_abstention == "error":
            raise self._blocked(next(iter(verdicts.withheld.values())))

    def _certificate(self, verdicts: _Verdicts) -> str:
        if self.gate.gateway.certificate is None:
            return "none"
        return "certified" if all(record.certified for _, record in verdicts.each) else "void"

    def _keep_headers(self, data: dict[str, Any], made: _Headers) -> None:
        metadata = data.setdefault("metadata", {})
        if isinstance(metadata, dict):
            metadata[_HEADERS] = made

    def _record(self, data: dict[str, Any], verdicts: _Verdicts) -> _Headers:
        made = _Headers(headers(self.gate.gateway.name, self._certificate(verdicts), verdicts.each))
        self._keep_headers(data, made)
        self.add_standard_logging_guardrail_information_to_request_data(
            guardrail_json_response=verdicts.explained,
            request_data=data,
            guardrail_status="guardrail_intervened" if verdicts.withheld else "success",
            guardrail_provider="gate",
        )
        return made


# --- replies as LiteLLM has them ---------------------------------------------------------------------------------


def _hidden(reply: Any) -> dict[str, Any]:
    """What LiteLLM keeps beside a reply, for Python code alone."""
    hidden = getattr(reply, "_hidden_params", None)
    return hidden if isinstance(hidden, dict) else {}


def _deployment(replies: Iterable[Any]) -> str:
    """The id of the one whose reply, or stream and pieces of it, these are; "" where nobody says."""
    return next((str(found) for reply in replies if (found := _hidden(reply).get("model_id"))), "")


def _routed_to(data: Mapping[str, Any]) -> str:
    """The same while the reply is not there yet for whoever asked the router, which notes where it goes."""
    metadata = data.get("metadata")
    noted = metadata.get("model_info") if isinstance(metadata, dict) else None
    return str(noted.get("id") or "") if isinstance(noted, dict) else ""


def _by_proxy(data: Mapping[str, Any]) -> bool:
    return data.get("proxy_server_request") is not None


def _refuse(choice: Any, text: str) -> None:
    choice.message = litellm.Message(content=text, role="assistant", refusal=text)
    choice.finish_reason = "stop"
    if hasattr(choice, "logprobs"):
        choice.logprobs = None


def _indices(chunks: Sequence[Any]) -> list[int]:
    return sorted({choice.index for chunk in chunks for choice in chunk.choices})


def _whole(chunks: Sequence[Any], index: int, data: Mapping[str, Any]) -> Any:
    """The reply with one choice that a stream has made of it. LiteLLM puts together one at a time."""
    return litellm.stream_chunk_builder(list(_of(chunks, {index})), messages=data.get("messages"))


def _of(chunks: Iterable[Any], indices: Container[int]) -> Iterator[Any]:
    """The stream as far as it is of these choices; usage, which is of none, stays."""
    for chunk in chunks:
        choices = [choice for choice in chunk.choices if choice.index in indices]
        if choices or not chunk.choices or getattr(chunk, "usage", None):
            yield chunk.model_copy(update={"choices": choices})


def _refusing(chunks: Sequence[Any], withheld: Mapping[int, str]) -> list[Any]:
    """The stream, saying the refusals in the place of these choices."""
    if not withheld:
        return list(chunks)
    kept = list(_of(chunks, set(_indices(chunks)) - withheld.keys()))
    delta, choice = litellm.types.utils.Delta, litellm.types.utils.StreamingChoices
    said = []
    for index, text in withheld.items():
        parts = (delta(content=text, role="assistant", refusal=text), None), (delta(), "stop")
        choices = [choice(index=index, delta=part, finish_reason=finish) for part, finish in parts]
        said += [chunks[0].model_copy(update={"choices": [each]}) for each in choices]
    speaking = sum(bool(chunk.choices) for chunk in kept)
    return [*kept[:speaking], *said, *kept[speaking:]]
