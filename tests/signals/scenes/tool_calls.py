"""Drafts that call tools: the same calls in the samples, and the schemas of the tools in the request."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from gate.evidence import Asked, Draft, Samples
from gate.ports import Fact
from gate.types import Cost, Generation, Message, Question, ToolCall
from tests.signals.scenes.core import GENERATIONS, TEXTS

ARGUMENTS = (
    st.sampled_from(
        [
            '{"city": "Lagos", "days": 3}', '{"city": "lagos", "days": 3.0}', '{"city": ["a", {"b": null}]}', "{}",
            "[]", "", "{", "NaN", '{"days": 1e999}', '{"city": "\\ud800"}', "[" * 2000, "3",
        ]
    )
    | TEXTS
)  # fmt: skip
SCHEMAS: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        {"type": "object", "properties": {"city": {"pattern": "(a+)+$"}}},
        {"$ref": "#"}, {"$ref": "#/nowhere"}, {"$ref": "https://example.com/schema"}, {"type": "objekt"}, {}, True, 7,
        None, "x", {"properties": 5}, {"pattern": "("}, {"const": {1, 2}}, {"$schema": ["x"]}, {"$schema": "http://[x"},
    ]
)  # fmt: skip
NAMES = st.just("weather") | st.sampled_from(["weather", "weather", "search", ""]) | TEXTS
CALLS = st.lists(st.builds(ToolCall, st.just("1"), NAMES, ARGUMENTS), min_size=1, max_size=3).map(tuple)
CALLING = st.builds(Generation, TEXTS, tool_calls=CALLS, refusal=st.none() | st.just("no"))
FUNCTIONS = st.fixed_dictionaries({"name": NAMES, "parameters": SCHEMAS}) | st.fixed_dictionaries({"name": NAMES})
TOOLS = st.lists(
    st.fixed_dictionaries({"type": st.just("function"), "function": FUNCTIONS})
    | st.sampled_from(["x", {}, {"function": 3}, {"function": {"name": 5}}]),
    min_size=1,
) | st.sampled_from([None, 3, {}])


@st.composite
def facts(draw: st.DrawFn) -> tuple[Fact, ...]:
    samples = draw(st.lists(CALLING | GENERATIONS, max_size=5).map(tuple))
    options = {"tools": draw(TOOLS), "functions": draw(st.none() | st.lists(st.just({"name": "search"})))}
    return (
        Draft(Cost(), draw(CALLING), "small"),
        Samples(Cost(), samples),
        Asked(Cost(), Question((Message("user", "Will it rain in Lagos?"),), options)),
    )


def calling(*arguments: str) -> Generation:
    return Generation("", "tool_calls", tool_calls=tuple(ToolCall("1", "weather", text) for text in arguments))


def scene(draft: Generation, *samples: Generation) -> tuple[Fact, ...]:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    asked = Question((Message("user", "Will it rain in Lagos?"),), {"tools": tools})
    return Draft(Cost(), draft, "small"), Samples(Cost(), samples), Asked(Cost(), asked)


def sure() -> tuple[Fact, ...]:
    wanted = calling('{"city": "Lagos"}')
    return scene(wanted, wanted, calling('{"city": "lagos"}'), wanted)


def unsure() -> tuple[Fact, ...]:
    return scene(calling('{"town": "Lagos"}'), calling('{"city": "Lagos"}', "{}"), Generation("No."))
