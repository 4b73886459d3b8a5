"""What may go wrong with each tool, and what to do in doubt: the settings of a tool gate, as YAML or as a dict.

::

    max_error: {reversible: 0.05, irreversible: 0.01}
    confidence: 0.95
    default: {irreversible: true, on_doubt: ask}      # of tools that are offered and not listed
    tools:
      search_flights: {irreversible: false, on_doubt: escalate}
      pay:
        irreversible: true
        max_error: 0.005
        on_doubt: ask
        schema: {type: object, properties: {amount: {type: number}, note: {type: string}}, required: [amount]}
        arguments: {amount: {critical: true}, note: {critical: false}}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gate import yaml_lines
from gate.errors import ConfigError, UnknownName
from gate.signals.json_schema import Unjudged, fits
from gate.types import JsonObject
from gate.yaml_lines import Lines, Place

Share = Annotated[float, Field(gt=0, lt=1)]
Doubt = Literal["ask", "escalate", "refuse"]
"""Ask a person, ask a stronger model, or do not make the call."""
_TOOL_KEYS = ("arguments", "cost", "irreversible", "max_error", "on_doubt", "schema")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MaxError(_Part):
    """The largest share of wrong calls among those approved, of the tools that say nothing of their own."""

    reversible: Share = 0.05
    irreversible: Share = 0.01

    @model_validator(mode="after")
    def _stricter(self) -> MaxError:
        if self.irreversible > self.reversible:
            raise ValueError("what cannot be undone needs a promise at least as strict as what can")
        return self


class ArgumentSettings(_Part):
    """``critical``: whether the call is wrong when this argument is. A call is as good as its worst critical one."""

    critical: bool


class DefaultSettings(_Part):
    """What holds where a tool says nothing. A tool nobody has described is taken for one that cannot be undone."""

    irreversible: bool = True
    on_doubt: Doubt = "ask"
    cost: Annotated[float, Field(gt=0, le=1)] = 1.0


class ToolSettings(_Part):
    irreversible: bool | None = None
    max_error: Share | None = None
    on_doubt: Doubt | None = None
    cost: Annotated[float, Field(gt=0, le=1)] | None = None
    """Harm of a wrong call, as a share of the worst there is: what it counts for in the risk of a run."""
    json_schema: JsonObject | None = Field(default=None, alias="schema")
    arguments: dict[str, ArgumentSettings] = {}


@dataclass(frozen=True, slots=True)
class Tool:
    """All that holds of one tool."""

    name: str
    irreversible: bool
    max_error: float
    on_doubt: Doubt
    cost: float
    schema: Any
    """Of its arguments; None where neither the policy nor the request has one."""
    critical: frozenset[str] | None
    """Arguments; None: all but those that are ``harmless``."""
    harmless: frozenset[str]

    def is_critical(self, argument: str) -> bool:
        return argument in self.critical if self.critical is not None else argument not in self.harmless


class ToolPolicy(_Part):
    """The settings of a tool gate. Made by `tool_policy`."""

    max_error: MaxError = MaxError()
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """With which each promise is certified."""
    default: DefaultSettings = DefaultSettings()
    tools: dict[str, ToolSettings] = {}

    @model_validator(mode="after")
    def _sound(self) -> ToolPolicy:
        for name, tool in self.tools.items():
            if tool.json_schema is None:
                continue
            try:
                fits({}, tool.json_schema)
            except Unjudged as error:
                place = {"place": ("tools", name, "schema"), "name": name, "why": str(error)}
                raise PydanticCustomError("schema", "the schema of {name} cannot be used: {why}", place) from error
        return self

    def tool(self, name: str, offered: Mapping[str, Any] | None = None) -> Tool | None:
        """What holds of a tool; None where it is neither listed here nor ``offered`` (schemas by name)."""
        listed, schemas = self.tools.get(name), offered or {}
        if listed is None and name not in schemas:
            return None
        said = listed or ToolSettings()
        irreversible = _first(said.irreversible, self.default.irreversible)
        of_class = self.max_error.irreversible if irreversible else self.max_error.reversible
        critical = frozenset(name for name, each in said.arguments.items() if each.critical)
        return Tool(
            name=name,
            irreversible=irreversible,
            max_error=_first(said.max_error, of_class),
            on_doubt=_first(said.on_doubt, self.default.on_doubt),
            cost=_first(said.cost, self.default.cost),
            schema=schemas.get(name) if said.json_schema is None else said.json_schema,
            critical=critical or None,
            harmless=frozenset(said.arguments) - critical,
        )

    @property
    def fingerprint(self) -> str:
        """Of all that a promise hangs on. What is done in doubt, and what harm a wrong call does, are no part of it."""
        held = self.model_dump(
            mode="json",
            by_alias=True,
            exclude={"default": {"on_doubt", "cost"}, "tools": {"__all__": {"on_doubt", "cost"}}},
        )
        return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:16]


def _first(said: Any, default: Any) -> Any:
    return default if said is None else said


class _Given(Lines):
    """Of a dict: a place is told by its keys."""

    def where(self, *place: str | int) -> str:
        return ".".join(["the tool policy", *map(str, place)])


def tool_policy(source: ToolPolicy | Mapping[str, Any] | Path | str) -> ToolPolicy:
    """A policy from a YAML file, or from the same as a dict. Raises `ConfigError`, with file and line of a file."""
    if isinstance(source, ToolPolicy):
        return source
    if isinstance(source, Mapping):
        return _checked(source, _Given(Path(), {}))
    return _checked(*yaml_lines.read(Path(source), "tool policy"))


def _checked(data: Mapping[str, Any], lines: Lines) -> ToolPolicy:
    tools = data.get("tools")
    names = tools if isinstance(tools, Mapping) else {}
    known: dict[Place, tuple[str, ...]] = {("tools", name): _TOOL_KEYS for name in names}
    known |= {("tools", name, "arguments", each): ("critical",) for name in names for each in _arguments(names[name])}
    policy = yaml_lines.checked(ToolPolicy, data, lines, known=known)
    for name, tool in policy.tools.items():
        said = (tool.json_schema or {}).get("properties")
        properties: Mapping[str, Any] = said if isinstance(said, Mapping) else tool.arguments
        for argument in tool.arguments:
            if argument not in properties:
                where = lines.where("tools", name, "arguments", argument)
                raise UnknownName(f"argument of {name}", argument, properties, where=where)
    if not policy.tools and tools is not None:
        raise ConfigError("lists no tool", where=lines.where("tools"))
    return policy


def _arguments(tool: Any) -> Mapping[str, Any]:
    said = tool.get("arguments") if isinstance(tool, Mapping) else None
    return said if isinstance(said, Mapping) else {}
