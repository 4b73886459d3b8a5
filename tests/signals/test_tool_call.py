"""Tool calls: agreement by name and by argument, and validity under the tools of the request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import Asked, Draft, Samples
from gate.ports import Evidence, Missing
from gate.signals.tool_call import TOOL_SIGNALS, argument_agreement
from gate.types import Cost, Generation, Message, Question, ToolCall

SIGNAL = {signal.name: signal for signal in TOOL_SIGNALS}
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 10}},
    "required": ["city"],
    "additionalProperties": False,
}


def calls(*made: tuple[str, str]) -> Generation:
    return Generation("", "tool_calls", tool_calls=tuple(ToolCall(str(i), *call) for i, call in enumerate(made)))


def measured(name: str, draft: Generation, *samples: Generation, tools: Any = None) -> float | Missing:
    asked = Question((Message("user", "Will it rain?"),), {} if tools is None else tools)
    evidence = Evidence().having(Draft(Cost(), draft, "small")).having(Asked(Cost(), asked))
    return SIGNAL[name].measure(evidence.having(Samples(Cost(), samples)))


def offering(**parameters: Any) -> dict[str, Any]:
    functions = [{"name": name, "parameters": schema} for name, schema in parameters.items()]
    return {"tools": [{"type": "function", "function": function} for function in functions]}


DRAFT = calls(("weather", '{"city": "Lagos", "days": 3, "at": {"lat": 6.5, "lon": [3]}}'))


def test_names_agree_when_the_same_tools_are_called_in_the_same_order() -> None:
    draft = calls(("search", "{}"), ("weather", "{}"))
    samples = (
        calls(("search", '{"q": 1}'), ("weather", "{}")),
        calls(("weather", "{}"), ("search", "{}")),
        calls(("search", "{}")),
        calls(("search", "{}"), ("weather", "{}"), ("weather", "{}")),
        Generation("It will rain."),
    )
    assert measured("tool_name_agreement", draft, *samples) == 0.2


def test_arguments_agree_one_by_one() -> None:
    samples = (
        calls(("weather", '{"days": 3.0, "city": "LAGOS", "at": {"lat": 6.50, "lon": [3]}}')),
        calls(("weather", '{"city": "Lagos", "days": 5, "at": {"lat": 6.5, "lon": [4]}}')),
        calls(("climate", '{"city": "Lagos", "days": 3}')),
        Generation("It will rain.", refusal="no"),
    )
    assert argument_agreement(DRAFT, samples) == {
        "/weather/0/city": 0.5, "/weather/0/days": 0.25, "/weather/0/at/lat": 0.5, "/weather/0/at/lon/0": 0.25
    }  # fmt: skip
    assert measured("tool_argument_agreement", DRAFT, *samples) == pytest.approx(0.375)
    assert measured("tool_argument_agreement_min", DRAFT, *samples) == 0.25


def test_the_nth_call_of_a_tool_is_compared_with_the_nth_of_the_same() -> None:
    draft = calls(("weather", '{"city": "Lagos"}'), ("search", '{"q": "rain"}'), ("weather", '{"city": "Abuja"}'))
    other = calls(("search", '{"q": "Rain"}'), ("weather", '{"city": "Lagos"}'), ("weather", '{"city": "Kano"}'))
    assert argument_agreement(draft, [other]) == {"/weather/0/city": 1, "/search/0/q": 1, "/weather/1/city": 0}


def test_a_call_without_arguments_agrees_with_the_same_call() -> None:
    assert measured("tool_argument_agreement", calls(("ping", "{}")), calls(("ping", "{}")), Generation("x")) == 0.5


def test_an_argument_the_draft_leaves_out_and_the_samples_pass_lowers_agreement() -> None:
    draft, more = calls(("weather", '{"city": "Lagos"}')), calls(("weather", '{"city": "Lagos", "days": 3}'))
    assert measured("tool_argument_agreement_min", draft, more, more) == 0.0


def test_arguments_that_are_no_json_are_compared_as_text() -> None:
    broken = calls(("weather", '{"city": Lagos}'))
    assert measured("tool_argument_agreement", broken, broken, calls(("weather", '{"city": "Lagos"}'))) == 0.5


def test_a_draft_that_calls_no_tool_is_none_of_their_business() -> None:
    for name in SIGNAL:
        said = measured(name, Generation("It will rain."), DRAFT, tools=offering(weather=WEATHER))
        assert said == Missing("the draft calls no tool")


@pytest.mark.parametrize("name", [name for name in SIGNAL if "agreement" in name])
def test_without_samples_there_is_no_agreement(name: str) -> None:
    assert measured(name, DRAFT) == Missing("no samples were drawn")


@pytest.mark.parametrize(
    ("arguments", "valid"),
    [
        ('{"city": "Lagos"}', 1.0), ('{"city": "Lagos", "days": 10}', 1.0), ('{"city": "Lagos", "days": 11}', 0.0),
        ('{"days": 3}', 0.0), ('{"city": 3}', 0.0), ('{"city": "Lagos", "x": 1}', 0.0), ("", 0.0), ("{", 0.0),
        ('{"city": NaN}', 0.0), ("[]", 0.0), ('"Lagos"', 0.0), ("null", 0.0), ("[" * 5000, 0.0),
    ],
)  # fmt: skip
def test_arguments_fit_the_tools_schema_or_not(arguments: str, valid: float) -> None:
    draft = calls(("weather", arguments))
    assert measured("tool_schema_valid", draft, tools=offering(weather=WEATHER)) == valid
    legacy = {"functions": [{"name": "weather", "parameters": WEATHER}]}
    assert measured("tool_schema_valid", draft, tools=legacy) == valid


def test_every_call_must_name_a_tool_of_the_request_and_fit() -> None:
    tools = offering(weather=WEATHER, ping=None)
    good, unknown = ("weather", '{"city": "Lagos"}'), ("weathr", '{"city": "Lagos"}')
    assert measured("tool_schema_valid", calls(good, ("ping", "{}")), tools=tools) == 1.0
    assert measured("tool_schema_valid", calls(good, unknown), tools=tools) == 0.0
    assert measured("tool_schema_valid", calls(good, ("ping", "3")), tools=tools) == 0.0


@pytest.mark.parametrize("options", [{}, {"tools": []}, {"tools": "x"}, {"tools": [3, {}, {"function": {"name": 4}}]}])
def test_where_the_request_offers_no_tool_nothing_can_be_said(options: Any) -> None:
    said = measured("tool_schema_valid", calls(("weather", "{}")), tools=options)
    assert said == Missing("the request offers no tool")


def test_a_broken_schema_is_no_fault_of_the_draft() -> None:
    tools = offering(weather={"type": "objekt"}, search=WEATHER)
    weather, search = ("weather", "{}"), ("search", "{}")
    assert measured("tool_schema_valid", calls(weather), tools=tools) == Missing(
        "the arguments cannot be judged: the schema is broken"
    )
    assert measured("tool_schema_valid", calls(weather, search), tools=tools) == 0.0  # that much is certain
    private = offering(weather={"type": "secret-word"})
    said = measured("tool_schema_valid", calls(weather), tools=private)
    assert isinstance(said, Missing)
    assert "secret" not in said.reason


@given(
    draft=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.text(max_size=5) | st.just('{"x": 1}')), min_size=1),
    others=st.lists(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.text(max_size=5))), min_size=1, max_size=5),
)
def test_a_draft_agrees_with_itself_and_the_least_is_never_above_the_mean(
    draft: list[tuple[str, str]], others: list[list[tuple[str, str]]]
) -> None:
    samples = [calls(*other) for other in others]
    mean = measured("tool_argument_agreement", calls(*draft), *samples)
    least = measured("tool_argument_agreement_min", calls(*draft), *samples)
    assert isinstance(mean, float)
    assert isinstance(least, float)
    assert 0.0 <= least <= mean + 1e-12
    assert measured("tool_argument_agreement_min", calls(*draft), calls(*draft)) == 1.0
    assert measured("tool_name_agreement", calls(*draft), calls(*draft)) == 1.0
