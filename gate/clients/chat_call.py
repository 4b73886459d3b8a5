"""One call of a wrapped client while it is answered. Nothing is sent from here: it says what is to be asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import openai
from openai import APIStatusError
from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError

from gate.clients.chat_answers import judged_reply, mark, read_reply
from gate.clients.chat_fields import draft_fields, evidence_fields, wanted
from gate.clients.gating import Gating, Judged
from gate.effects import Generate
from gate.gateway import tighter
from gate.given import Given
from gate.types import Budget, Cost, Generations, Question
from gate.upstreams.openai_wire import refused, refused_field

_LEFT_OUT = tuple(getattr(openai, name) for name in ("NotGiven", "Omit") if hasattr(openai, name))
"""Classes of what stands for a field that was not given."""
Brought = Sequence[tuple[Question, Given]]


class Attempts:
    """One request: again without a field of gate's own each time that the server says it does not take one."""

    def __init__(self, gating: Gating, model: str, fields: Callable[[frozenset[str]], dict[str, Any]]) -> None:
        self._gating, self._model, self._make = gating, model, fields
        self._refused = gating.refused(model)
        self.fields = fields(self._refused)
        self.calls = 1

    def refused(self, error: APIStatusError) -> None:
        """Ask with the ``fields`` of now. Raises the error where it is about nothing that gate had added."""
        name = _blamed(error, self._model)
        without = self._make(self._refused | {name}) if name else self.fields
        if without == self.fields:
            raise error
        self._refused |= {name}
        self.fields = without
        self.calls += 1

    def answered(self) -> None:
        """Without what it refused the server did answer: so it is left out from now on."""
        self._gating.learn(self._model, self._refused)


class ChatCall:
    """What was asked of the client, to be drafted, judged and answered."""

    def __init__(self, gating: Gating, fields: Mapping[str, Any], *, parsing: bool = False) -> None:
        given = {name: value for name, value in fields.items() if not isinstance(value, _LEFT_OUT)}
        kind = given.get("response_format") if parsing else None
        self._kind = None if isinstance(kind, Mapping) else kind
        self._gating = gating
        self._asked = wanted(given, None if self._kind is None else {"response_format": _wire_format(self._kind)})
        self._began = time.monotonic()
        self.streams = self._asked.request.stream
        self.include_usage = self._asked.request.include_usage

    @property
    def budget(self) -> Budget:
        return tighter(self._gating.budget or Budget(), self._asked.request.budget)

    def drafting(self) -> Attempts:
        profile = self._gating.profile(self._asked.model)
        return Attempts(self._gating, self._asked.model, lambda refused: draft_fields(self._asked, profile, refused))

    def gathering(self, effect: Generate) -> Attempts:
        return Attempts(self._gating, self._asked.model, lambda refused: evidence_fields(self._asked, effect, refused))

    def gathered(self, reply: object) -> Generations:
        return read_reply(reply, self._gating.upstream).generations

    def brought(self, reply: object, calls: int, ask: Callable[[Generate], Any]) -> Brought:
        """Each answer of the drafted reply as a question of its own. The first bears what asking for them cost.

        Raises `UpstreamError` where the reply is no completion.
        """
        gating, model = self._gating, self._asked.model
        read = read_reply(reply, gating.upstream)
        spent = gating.paid(read, calls, time.monotonic() - self._began)
        drafts, questions = (read.generation, *read.others), self._asked.request.questions
        return [
            (
                questions[min(place, len(questions) - 1)],
                gating.given(read, draft, Cost() if place else spent, model, ask),
            )
            for place, draft in enumerate(drafts)
        ]

    def answer(self, reply: Any, brought: Brought, judged: Sequence[Judged]) -> Any:
        """The reply, which knows its decisions. Raises `AnswerWithheld` where that is wanted of one withheld."""
        gating, request = self._gating, self._asked.request
        refusal_in = gating.gateway.policy.serving.refusal_in
        drafts = [given.draft for _, given in brought]
        made = judged_reply(reply, drafts, judged, request, refusal_in, self._kind)
        raising = gating.on_abstention == "raise" if request.abstention is None else request.abstention == "error"
        mark(made, gating.told(made, judged, withhold=raising), time.monotonic() - self._began)
        return made


def _blamed(error: APIStatusError, model: str) -> str:
    """The field of gate's own adding that a server does not take, as it says; "" where it says nothing like that."""
    body = error.body if isinstance(error.body, Mapping) else {"message": str(error)}
    told = refused(model, error.status_code, {}, b"", {"error": dict(body)}, None)
    if told.param == "max_tokens" and told.status in {400, 422}:  # it goes by a newer name
        return "max_tokens"
    return refused_field(told) or ""


def _wire_format(kind: Any) -> dict[str, Any]:
    """What a type that answers are parsed into is on the wire, for other models than the client's own."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        tool: Any = openai.pydantic_function_tool(kind)
        return _schema(kind.__name__, tool["function"]["parameters"], strict=True)
    try:
        return _schema(getattr(kind, "__name__", "answer"), TypeAdapter(kind).json_schema(), strict=False)
    except PydanticUserError as error:
        raise TypeError(f"answers cannot be parsed into {kind!r}: {error.code}") from error


def _schema(name: str, schema: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": name, "schema": dict(schema), "strict": strict}}
