"""Tool calls: whether the samples make the same calls as the draft, and whether the draft's are valid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gate.evidence.draft import Draft
from gate.evidence.question import Asked
from gate.evidence.samples import Samples
from gate.ports import Evidence, Fact, Missing
from gate.signals.json_fields import escaped, fields, parse_json, shares
from gate.signals.json_schema import Unjudged, fits
from gate.types import Generation, JsonObject, ToolCall

_NO_PARAMETERS: JsonObject = {"type": "object"}
"""What a tool that declares no parameters takes."""


def argument_agreement(draft: Generation, samples: Sequence[Generation]) -> dict[str, float]:
    """For each argument the draft passes the share of the samples that pass the same, in [0, 1].

    Arguments go by JSON pointers: ``/search/0/city`` is the city of the first call of ``search``. The n-th call of a
    tool is compared with the n-th call of the same tool; what calls come between is for `name_agreement` to say.
    Arguments that are not JSON are compared as text. Raises `ValueError` without samples.
    """
    return shares(arguments_of(draft), [arguments_of(sample) for sample in samples])


def calls_at(generation: Generation) -> Iterator[tuple[str, ToolCall]]:
    """The calls with the pointers that their arguments begin with."""
    called: Counter[str] = Counter()
    for call in generation.tool_calls:
        yield f"/{escaped(call.name)}/{called[call.name]}", call
        called[call.name] += 1


def arguments_of(generation: Generation) -> dict[str, Any]:
    """All arguments of all calls by their pointers; of a call whose arguments are no JSON their text."""
    found: dict[str, Any] = {}
    for at, call in calls_at(generation):
        try:
            found |= fields(parse_json(call.arguments), at)
        except ValueError:
            found[at] = call.arguments
    return found


def name_agreement(draft: Generation, samples: Sequence[Generation]) -> float:
    """Share of the samples that call the draft's tools in the draft's order, and no others."""
    wanted = [call.name for call in draft.tool_calls]
    return sum([call.name for call in sample.tool_calls] == wanted for sample in samples) / len(samples)


def mean_argument_agreement(draft: Generation, samples: Sequence[Generation]) -> float:
    """Mean of `argument_agreement` over the arguments."""
    found = argument_agreement(draft, samples)
    return min(1.0, math.fsum(found.values()) / len(found))


def least_argument_agreement(draft: Generation, samples: Sequence[Generation]) -> float:
    """The least agreed argument: one wrong argument makes the call wrong."""
    return min(argument_agreement(draft, samples).values())


@dataclass(frozen=True, slots=True)
class ToolAgreement:
    """A statistic of the draft's tool calls and the samples'. A sample that calls none agrees on nothing."""

    name: str
    statistic: Callable[[Generation, Sequence[Generation]], float]
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Samples)

    def measure(self, evidence: Evidence) -> float | Missing:
        draft, samples = evidence.find(Draft), evidence.find(Samples)
        if draft is None:
            return Missing(evidence.missing.get(Draft, "there is no draft"))
        if not draft.generation.tool_calls:
            return Missing("the draft calls no tool")
        if samples is None or not samples.generations:
            return Missing(evidence.missing.get(Samples, "no samples were drawn"))
        return self.statistic(draft.generation, samples.generations)


@dataclass(frozen=True, slots=True)
class ToolSchemaValid:
    """1 where every call of the draft names a tool of the request and its arguments fit that tool's schema, else 0."""

    name = "tool_schema_valid"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Asked)

    def measure(self, evidence: Evidence) -> float | Missing:
        draft, asked = evidence.find(Draft), evidence.find(Asked)
        if draft is None:
            return Missing(evidence.missing.get(Draft, "there is no draft"))
        if asked is None:
            return Missing(evidence.missing.get(Asked, "the question is not among the evidence"))
        if not draft.generation.tool_calls:
            return Missing("the draft calls no tool")
        tools = offered_tools(asked.question.options)
        if not tools:
            return Missing("the request offers no tool")
        said = [_valid(call, tools) for call in draft.generation.tool_calls]
        if False in said:
            return 0.0
        return next((verdict for verdict in said if isinstance(verdict, Missing)), 1.0)


def _valid(call: ToolCall, tools: Mapping[str, Any]) -> bool | Missing:
    if call.name not in tools:
        return False
    try:
        arguments = parse_json(call.arguments)
    except ValueError:
        return False
    if not isinstance(arguments, dict):
        return False
    try:
        return fits(arguments, tools[call.name])
    except Unjudged as error:
        return Missing(f"the arguments cannot be judged: {error}")


def offered_tools(options: JsonObject) -> dict[str, Any]:
    """The schema of each tool the request offers, as ``tools`` or as the older ``functions``."""
    offered = [tool.get("function") for tool in _objects(options.get("tools"))]
    found: dict[str, Any] = {}
    for function in _objects([*offered, *_objects(options.get("functions"))]):
        name, parameters = function.get("name"), function.get("parameters")
        if isinstance(name, str):
            found[name] = _NO_PARAMETERS if parameters is None else parameters
    return found


def _objects(items: Any) -> list[Mapping[str, Any]]:
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list | tuple) else []


TOOL_SIGNALS = (
    ToolAgreement("tool_name_agreement", name_agreement),
    ToolAgreement("tool_argument_agreement", mean_argument_agreement),
    ToolAgreement("tool_argument_agreement_min", least_argument_agreement),
    ToolSchemaValid(),
)
