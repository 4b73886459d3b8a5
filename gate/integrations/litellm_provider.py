"""gate as a provider of LiteLLM's: ``litellm.completion(model="gate/balanced", …)`` answers through a policy.

::

    from gate.integrations.litellm_provider import register

    register()
    reply = litellm.completion(model="gate/balanced", messages=[{"role": "user", "content": "Where is Nanjing?"}])

What follows ``gate/`` is a shipped policy by name, or a file that was named before, as with
``register(policies=["mine.yaml"])`` for ``gate/mine.yaml``. No other file is opened, for a proxy's callers may be the
ones who name the model. In LiteLLM's proxy the same is::

    model_list: [{model_name: careful, litellm_params: {model: gate/balanced}}]
    litellm_settings:
      custom_provider_map: [{provider: gate, custom_handler: gate.integrations.litellm_provider.gate_provider}]

or, for files, a module of your own that holds ``GateProvider(policies=["/etc/gate/mine.yaml"])``.

A refusal stands where the policy's ``serving.refusal_in`` says, as in ``gate serve``: by default in
``message.refusal``, with ``content`` None; ``serving.abstention: error`` makes it an exception. In a stream, which is
written once its one answer is judged, it stands in the content: LiteLLM's streams have no other place. The decision is
under ``gate`` in ``_hidden_params``, and on the reply itself as ``reply.gate`` where nothing was answered; in a stream
it is in ``delta.provider_specific_fields`` after the text. Usage is that of all models that were asked.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gate.decorator.gate import Gate
from gate.errors import ConfigError, GateError, MissingExtra, RequestError, UpstreamError
from gate.integrations.litellm_wire import asked
from gate.log.explain import explanation
from gate.prompts import locate
from gate.proxy.chat_replies import completion
from gate.proxy.request_fields import ChatRequest
from gate.proxy.spoken import PIECE
from gate.proxy.verdicts import Decided, abstained
from gate.upstreams.litellm import library

try:
    litellm: Any = library()  # by any other road it would fetch things when it is imported
    from litellm.llms.custom_llm import CustomLLM, CustomLLMError
    from litellm.utils import custom_llm_setup
except ModuleNotFoundError as error:
    raise MissingExtra("litellm", "litellm") from error

PROVIDER = "gate"
_NO_POLICY = "there is no policy of this name: shipped ones have one, and files that were named in policies=[…]"


class GateProvider(CustomLLM):
    """See the module. A policy is loaded when it is first asked, and kept. Safe to share between threads and loops."""

    def __init__(self, policies: Iterable[str | Path] = ()) -> None:
        """``policies``: files that may be asked beside the shipped ones, by their paths as they are written here."""
        super().__init__()
        self._gates: dict[str, Gate] = {}
        self._may = {path.stem for path in locate("policies").glob("*.yaml")}
        self.allow(policies)
        self._lock = threading.Lock()

    def completion(self, model: str, messages: list[Any], optional_params: dict[str, Any], **more: Any) -> Any:
        try:
            gate, request = self._gate(model), asked(model, messages, optional_params)
            decided = [gate.gateway.ask(question) for question in request.questions]
        except GateError as error:
            raise _refused(error) from None
        return _reply(gate, request, decided)

    async def acompletion(self, model: str, messages: list[Any], optional_params: dict[str, Any], **more: Any) -> Any:
        try:
            request = asked(model, messages, optional_params)
            loaded = self._gates.get(model)
            gate = await asyncio.to_thread(self._gate, model) if loaded is None else loaded  # reads files
            decided = [await gate.gateway.aask(question) for question in request.questions]
        except GateError as error:
            raise _refused(error) from None
        return _reply(gate, request, decided)

    def streaming(self, **call: Any) -> Iterator[dict[str, Any]]:
        _refuse_several(call["optional_params"])
        yield from _chunks(self.completion(**call))

    async def astreaming(self, **call: Any) -> AsyncIterator[dict[str, Any]]:
        _refuse_several(call["optional_params"])
        for chunk in _chunks(await self.acompletion(**call)):
            yield chunk

    def allow(self, policies: Iterable[str | Path]) -> None:
        """More files that may be asked."""
        self._may |= {str(path) for path in policies}

    def _gate(self, policy: str) -> Gate:
        """Raises `ConfigError`, and `RequestError` for whatever may not be asked, be it there or not."""
        if policy not in self._may:
            raise RequestError(_NO_POLICY, param="model", status=404)
        with self._lock:
            if policy not in self._gates:
                self._gates[policy] = Gate(policy)
            return self._gates[policy]

    def close(self) -> None:
        """Close what synchronous calls opened; a later one opens it again."""
        with self._lock:
            for gate in self._gates.values():
                gate.close()


gate_provider = GateProvider()
"""The one that `register` and LiteLLM's ``config.yaml`` name."""


def register(provider: str = PROVIDER, *, policies: Iterable[str | Path] = ()) -> GateProvider:
    """Have LiteLLM ask `gate_provider` for models that begin with ``gate/``. Registering twice does nothing more.

    ``policies``: files that may be asked beside the shipped policies, by their paths as they are written here.
    """
    gate_provider.allow(policies)
    others = [known for known in litellm.custom_provider_map if known["provider"] != provider]
    litellm.custom_provider_map = [*others, {"provider": provider, "custom_handler": gate_provider}]
    custom_llm_setup()
    return gate_provider


def _reply(gate: Gate, request: ChatRequest, decided: Sequence[Decided]) -> Any:
    serving = gate.gateway.policy.serving
    if serving.abstention == "error" and abstained(decided):
        raise CustomLLMError(422, decided[0][0].text)
    reply = litellm.ModelResponse(**completion(request, decided, serving.refusal_in))
    listed = [explanation(record) for _, record in decided]
    reply._hidden_params = {  # noqa: SLF001 - where LiteLLM keeps what Python code may read beside a reply
        **(reply._hidden_params or {}),  # noqa: SLF001
        PROVIDER: listed[0] if len(listed) == 1 else {"choices": listed},
    }
    return reply


def _refuse_several(asked_for: Mapping[str, Any]) -> None:
    if (asked_for.get("n") or 1) > 1:
        raise CustomLLMError(400, "n: a stream of LiteLLM's holds one answer")


def _chunks(reply: Any) -> Iterator[dict[str, Any]]:
    """The reply as LiteLLM's ``GenericStreamingChunk``: word by word, and its end."""
    choice, usage = reply.choices[0], reply.usage
    text = choice.message.content or getattr(choice.message, "refusal", None) or ""
    for piece in PIECE.findall(text):
        yield _chunk(piece)
    for place, call in enumerate(choice.message.tool_calls or ()):
        yield _chunk("", tool_use={**call.model_dump(), "index": place})
    counted = {name: getattr(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    whole = reply._hidden_params[PROVIDER]  # noqa: SLF001
    brief = {name: whole[name] for name in ("action", "reason", "id", "certified")}
    brief["confidence"] = whole["confidence"] and {"p": whole["confidence"]["p"]}
    yield _chunk("", finish=choice.finish_reason, usage=counted, provider_specific_fields={PROVIDER: brief})


def _chunk(text: str, finish: str = "", **more: Any) -> dict[str, Any]:
    made: Mapping[str, Any] = {"tool_use": None, "usage": None, **more}
    return {"text": text, "index": 0, "is_finished": bool(finish), "finish_reason": finish, **made}


def _refused(error: GateError) -> Exception:
    """gate's error as LiteLLM takes those of providers: with a status."""
    status = 500
    if isinstance(error, RequestError):
        status = error.status
    elif isinstance(error, UpstreamError):
        status = error.status or 502
    elif isinstance(error, ConfigError):
        status = 400
    raised: Exception = CustomLLMError(status, str(error))
    return raised
