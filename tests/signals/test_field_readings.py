"""What is known of each field: agreement by count, and tokens by what they spell."""

from __future__ import annotations

import json
import math
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.signals.field_readings import FIELD_SIGNALS, FieldReading, field_readings
from gate.types import Generation, TokenLogprob, ToolCall
from tests.signals.test_json_fields import DOCUMENTS


def written(*tokens: tuple[str, float], text: str | None = None, calls: tuple[ToolCall, ...] = ()) -> Generation:
    listed = tuple(TokenLogprob(*token) for token in tokens)
    spelt = "".join(token for token, _ in tokens)
    return Generation(spelt if text is None else text, tokens=listed, tool_calls=calls)


def by_pointer(*of: Any) -> dict[str, FieldReading]:
    return {each.pointer: each for each in field_readings(*of)}


LAGOS = (
    *(('{"', -0.01), ("city", -0.02), ('":', -0.0), (' "', -0.1), ("Lag", -0.5), ("os", -0.25)),
    *(('",', -0.05), (' "', 0.0), ("people", -0.3), ('":', 0.0), (" 15", -1.5), ("000000", -0.75), ("}", -0.2)),
)


def test_a_worked_one() -> None:
    """Three samples: two say Lagos, one of them with another number."""
    samples = [Generation(f'{{"city": "{c}", "people": {n}}}') for c, n in (("Lagos", 15_000_000), ("lagos", 14e6))]
    found = by_pointer(written(*LAGOS), [*samples, Generation("I do not know.")])
    city, people = found["/city"], found["/people"]
    assert (city.value, city.agreeing, city.samples, city.present) == ("Lagos", 2, 3, True)
    assert city.agreement == pytest.approx(2 / 3)
    assert city.signals.value("field_posterior") == pytest.approx(3 / 5)
    # the quotes are part of it: ' "' that opens, and '",' that closes
    assert city.logprob_sum == pytest.approx(-0.1 - 0.5 - 0.25 - 0.05)
    assert city.logprob_min == -0.5
    assert people.agreement == pytest.approx(1 / 3)
    assert people.logprob_sum == pytest.approx(-2.25)
    assert people.logprob_min == -1.5
    assert not city.missing


def test_what_is_missing_has_its_reason() -> None:
    [only] = field_readings(Generation('{"a": 1}'))
    assert only.agreement is None
    assert only.missing == {
        "field_posterior": "there are no samples",
        "field_logprob_sum": "the upstream gave no log-probabilities",
        "field_logprob_min": "the upstream gave no log-probabilities",
    }
    [only] = field_readings(written(('{"a":', -0.1), ("2}", -0.1), text='{"a": 1}'))
    assert only.missing["field_logprob_sum"] == "the tokens do not spell the text"
    for broken in (math.nan, -math.inf):
        [only] = field_readings(written(('{"a":', -0.1), ("1", broken), ("}", -0.1)))
        assert only.missing["field_logprob_min"] == "a token has no log-probability"


def test_a_field_that_the_answer_lacks_and_most_samples_have() -> None:
    samples = [Generation('{"a": 1, "b": 2}')] * 3 + [Generation('{"a": 1}')]
    found = by_pointer(Generation('{"a": 1}'), samples)
    assert found["/a"].present
    lacking = found["/b"]
    assert (lacking.present, lacking.value, lacking.agreeing, lacking.samples) == (False, None, 1, 4)
    assert lacking.missing["field_logprob_sum"] == "the draft does not write it"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (("<|im_end|>", -0.5),)),
        ((("\n\n", -0.5),), (("\n", -0.5),)),
        ((("Let me think: {}. ", -3.0), ("</think>", -0.1)), ()),
    ],
    ids=["what ends it", "white space", "thoughts"],
)
def test_tokens_may_spell_more_than_the_text(before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    text = "".join(token for token, _ in LAGOS)
    found = by_pointer(written(*before, *LAGOS, *after, text=text))
    assert found["/people"].logprob_sum == pytest.approx(-2.25)


def test_where_the_text_stands_twice_nothing_is_guessed() -> None:
    [only] = field_readings(written(("so [1], then", -0.1), ("[1]", -0.1), text="[1]"))
    assert only.missing["field_logprob_sum"] == "the tokens do not spell the text"


def test_json_in_a_fence() -> None:
    [only] = field_readings(written((" ```json\n[", -1.0), ("true", -0.25), ("]", -1.0), ("\n```\n", -1.0)))
    assert (only.pointer, only.value, only.logprob_sum) == ("/0", True, -0.25)


def test_an_escape_is_as_long_as_it_is_written() -> None:
    text = '{"caf\\u00e9": "d\\u00e9j\\u00e0 vu", "é": "\\ud83d\\ude00", "x": 1}'
    tokens = [(part, -float(place)) for place, part in enumerate(text)]
    found = by_pointer(written(*tokens))
    value = '"d\\u00e9j\\u00e0 vu"'
    start = text.index(value)
    assert found["/café"].value == "déjà vu"
    assert found["/café"].logprob_sum == -sum(range(start, start + len(value)))
    assert found["/é"].value == "😀"
    assert found["/x"].logprob_min == -(len(text) - 2)


def test_a_character_that_takes_several_tokens() -> None:
    """As servers show the parts: empty until the last one brings the whole."""
    [only] = field_readings(written(('["', 0.0), ("", -0.5), ("", -0.25), ("😀", -1.0), ('"]', 0.0)))
    assert only.logprob_sum == pytest.approx(-1.75)
    [only] = field_readings(written(('["', 0.0), ("\ufffd", -0.5), ("\ufffd", -0.25), ('"]', 0.0), text='["😀"]'))
    assert only.missing["field_logprob_sum"] == "the tokens do not spell the text"


def test_arguments_of_tool_calls() -> None:
    call = ToolCall("1", "find", '{"city": "Lagos", "n": 3}')
    again = ToolCall("2", "find", '{"city": "Accra"}')
    other = Generation("", tool_calls=(ToolCall("1", "find", '{"city": "Lagos", "n": 4}'), again))
    text = Generation('{"city": "Lagos"}')
    found = by_pointer(Generation("", tool_calls=(call, again)), [other, other, text])
    assert {pointer: each.agreeing for pointer, each in found.items()} == {
        "/find/0/city": 2, "/find/0/n": 0, "/find/1/city": 2
    }  # fmt: skip
    assert found["/find/0/n"].value == 3
    assert found["/find/0/city"].samples == 3, "an answer in words is a sample that passes no arguments"
    spelt = written(("<tool>find", -1.0), ('{"city": ', -0.1), ('"Lagos"', -0.5), (', "n": 3}', -2.0), calls=(call,))
    assert by_pointer(spelt)["/find/0/city"].logprob_sum == -0.5
    broken = Generation("", tool_calls=(ToolCall("1", "find", "{oops"),))
    [only] = field_readings(broken, [broken])
    assert (only.pointer, only.value, only.agreement) == ("/find/0", "{oops", 1.0)


@given(DOCUMENTS, st.lists(DOCUMENTS, max_size=4), st.randoms())
def test_any_json_cut_into_any_tokens(value: Any, others: list[Any], random: Any) -> None:
    text = json.dumps(value, ensure_ascii=random.random() < 0.5)
    cuts = sorted({0, len(text), *(random.randrange(len(text) + 1) for _ in range(6))})
    tokens = [(text[a:b], -random.random()) for a, b in pairwise(cuts)]
    samples = [Generation(json.dumps(other)) for other in others]
    for each in field_readings(written(*tokens), samples):
        assert [reading.signal for reading in each.signals.readings] == list(FIELD_SIGNALS)
        assert each.agreement is None or 0 <= each.agreement <= 1
        if each.present:
            assert each.logprob_sum is not None
            assert each.logprob_min is not None
            assert each.logprob_sum <= each.logprob_min <= 0
            assert each.logprob_sum >= sum(logprob for _, logprob in tokens) - 1e-9
    same = field_readings(written(*tokens), [written(*tokens)] * 3)
    assert all(each.agreement == 1.0 for each in same)


@given(st.text(), st.text(), st.lists(st.tuples(st.text(max_size=3), st.floats()), max_size=5))
def test_any_text_at_all(text: str, other: str, tokens: list[tuple[str, float]]) -> None:
    calls = (ToolCall("", text, other), ToolCall("", text, text))
    for draft in (written(*tokens, text=text), written(*tokens, text=text, calls=calls)):
        for each in field_readings(draft, [Generation(other), draft, Generation("", tool_calls=calls)]):
            assert each.agreement is not None
            assert 0 <= each.agreement <= 1


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "[" * 5_000 + "]" * 5_000,
        f"[{','.join(['1'] * 20_000)}]",
        '{"a":1,' * 20_000,
        '{"a": 1, "a": {"b": []}, "a": 2}',
        "[1e999]",
        "[" + "9" * 5_000 + "]",
        '{"' + "k" * 100_000 + '": [' + ",".join(["1"] * 1_000) + "]}",
        '{"x":' * 400 + '{"' + "k" * 100_000 + '": [' + ",".join(["1"] * 1_000) + "]}" + "}" * 400,
        '["\\ud800", "\\u0000"]',
        "5",
        "",
    ],
    ids=[
        "deep",
        "closed",
        "wide",
        "cut",
        "twice",
        "inf",
        "huge",
        "long name",
        "long names",
        "surrogate",
        "bare",
        "none",
    ],
)
def test_hostile_answers_raise_nothing_and_take_no_time(text: str) -> None:
    began = time.monotonic()
    draft = written(*((text[at : at + 4], -0.1) for at in range(0, len(text), 4)))
    for each in field_readings(draft, [draft, draft]):
        assert each.agreement == 1.0
    assert time.monotonic() - began < 5
