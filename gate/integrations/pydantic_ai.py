"""pydantic-ai: any model of pydantic-ai with a policy behind it, and a policy as a model.

::

    agent = Agent(GateModel("openai:…", "balanced"))

`GateModel` judges each response of the model it wraps, be it text, calls of tools or a structured output, and asks
that model again for samples. `GatePolicyModel` asks a policy's own upstreams, in this process. Either way the decision
stands in the response's ``metadata["gate"]``.

A response that is not let through raises `gate.AnswerWithheld`, out of the run of an agent or for a ``FallbackModel``
with ``fallback_on=AnswerWithheld``. It is a text with the refusal where that is wanted, and where a text will do: never
in the place of a structured output. Nothing is streamed before it is decided: then it comes in one piece.

Needs the package ``pydantic-ai-slim``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from gate.answer_shapes import Read
from gate.decorator.decided import Decided
from gate.effects import Generate
from gate.errors import MissingExtra
from gate.integrations.judging import (
    Draft,
    Judge,
    OnAbstain,
    Policy,
    Samples,
    Stopwatch,
    Verdict,
    opened,
    or_raise,
    told,
)
from gate.integrations.pydantic_ai_messages import (
    messages_of,
    parts_of,
    question_of,
    read_off,
    sampling,
    spent,
    takes_text,
)
from gate.types import Budget

try:
    from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
    from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters, StreamedResponse
    from pydantic_ai.models.wrapper import WrapperModel
    from pydantic_ai.settings import ModelSettings
except ModuleNotFoundError as error:
    raise MissingExtra("pydantic-ai-slim", "pydantic-ai") from error


class GateModel(WrapperModel):
    """A model whose responses a policy lets through or not."""

    def __init__(
        self,
        wrapped: Model | str,
        policy: Policy,
        *,
        samples: Samples = "again",
        on_abstention: OnAbstain = "raise",
        gather: bool | None = None,
        written_by: str = "",
        budget: Budget | None = None,
    ) -> None:
        """``samples`` are drawn from the wrapped model, at the policy's temperature: at most so many, or as many as the
        policy wants. Each is a request, and its tokens are in the response's usage. pydantic-ai's ``request_limit``
        counts turns and not requests: it limits no samples, but its limits on tokens and cost count them.

        ``gather``: whether the policy's own upstreams and routes are there too; else only the response is judged. By
        default they are where the policy is about this model: by ``written_by``, or an upstream of ``kind: caller``.
        ``written_by``: the upstream of the policy's ladder that the model is, if it is one: else no certificate holds.

        Faults of the model are raised as they are; a sample with a fault is left out. Raises `ConfigError` for the
        policy.
        """
        super().__init__(wrapped)
        self.judge = Judge(opened(policy), samples, gather, written_by, budget)
        self.on_abstention = on_abstention

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        with Stopwatch() as watch:
            response = await self.wrapped.request(messages, model_settings, model_request_parameters)
        if response.state == "suspended":  # there is no answer yet
            return response
        question = question_of(messages, model_settings, model_request_parameters)
        came = [response]

        async def again(effect: Generate) -> Read:
            asked, wanted = messages, model_request_parameters
            if effect.messages != question.messages:
                asked = messages_of(effect.messages)
                wanted = replace(wanted, instruction_parts=[]) if effect.extra else ModelRequestParameters()
            sample = await self.wrapped.request(asked, sampling(model_settings, effect), wanted)
            came.append(sample)
            return read_off(sample)

        verdict = await self.judge.ajudge(question, Draft(read_off(response), watch.seconds), again)
        made = self._decided(response, verdict, model_request_parameters)
        return replace(made, usage=spent(came, verdict.decided.cost))

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: Any = None,
    ) -> AsyncIterator[StreamedResponse]:
        response = await self.request(messages, model_settings, model_request_parameters)
        yield _whole(response, model_request_parameters)

    def _decided(self, response: ModelResponse, verdict: Verdict, wanted: ModelRequestParameters) -> ModelResponse:
        made = verdict.decided
        if not verdict.kept:
            parts = _parts(made, self.on_abstention, wanted)
            name = made.outcome.upstream or response.model_name
            response = ModelResponse(parts=parts, model_name=name, metadata=response.metadata)
        return replace(response, metadata={**(response.metadata or {}), "gate": told(made)})


class GatePolicyModel(Model):
    """A policy as a model: its own upstreams are asked."""

    def __init__(self, policy: Policy = "balanced", *, on_abstention: OnAbstain = "raise", **more: Any) -> None:
        """``more``: ``settings`` and ``profile``, as any model takes them. Raises `ConfigError` for the policy."""
        super().__init__(**more)
        self.gate = opened(policy)
        self.on_abstention = on_abstention

    @property
    def model_name(self) -> str:
        return self.gate.gateway.name

    @property
    def system(self) -> str:
        return "gate"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        settings, wanted = self.prepare_request(model_settings, model_request_parameters)
        made = await self.gate.aask(question_of(messages, settings, wanted))
        return ModelResponse(
            parts=_parts(made, self.on_abstention, wanted),
            usage=spent([], made.cost),
            model_name=self.model_name,
            provider_name=self.system,
            metadata={"gate": told(made)},
        )

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: Any = None,
    ) -> AsyncIterator[StreamedResponse]:
        response = await self.request(messages, model_settings, model_request_parameters)
        yield _whole(response, model_request_parameters)


def _parts(made: Decided[str], on_abstention: OnAbstain, wanted: ModelRequestParameters) -> Sequence[Any]:
    """What the outcome says. Raises `AnswerWithheld` for a refusal that is wanted so, or that cannot be said."""
    if made.answered:
        return parts_of(made.outcome)
    or_raise(made, on_abstention if takes_text(wanted) else "raise")
    return [TextPart(made.text)]


def _whole(response: ModelResponse, wanted: ModelRequestParameters) -> StreamedResponse:
    return CompletedStreamedResponse(response, model_request_parameters=wanted, replay_events=True)
