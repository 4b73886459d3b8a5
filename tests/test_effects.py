"""Effects: what a flow yields and is sent, and that a key tells requests apart."""

from __future__ import annotations

import dataclasses
import inspect
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gate.effects import (
    Call,
    Draws,
    Effect,
    Flow,
    Generate,
    Observe,
    ReadStates,
    Reply,
    Retrieve,
    Together,
    advance,
    call,
    driven,
    effect_key,
    family_key,
    generate,
    observe,
    retrieve,
    together,
)
from gate.errors import UpstreamError
from gate.types import Action, Cost, Decision, Generation, Generations, Message, Passage, SignalVector, Stage, Step

ASKED = Generate("small", (Message("user", "Where is Lagos?"),))
STEP = Step(Decision(Action.ANSWER, "confident", Stage("small")), SignalVector(()), Cost())
SENT = Reply(Generations((Generation("Nigeria"),)), Cost(calls=1))
FOUND = Reply((Passage("lagos", "Lagos is a city."),), Cost())


@pytest.mark.parametrize(
    ("flow", "effect", "reply"),
    [
        (generate(ASKED), ASKED, SENT),
        (retrieve(Retrieve("world", "Lagos", 3)), Retrieve("world", "Lagos", 3), FOUND),
        (observe(STEP), Observe(STEP), None),
    ],
    ids=["generate", "retrieve", "observe"],
)
def test_each_function_yields_its_effect_and_returns_the_reply(flow: Flow[Any], effect: Effect, reply: object) -> None:
    assert next(flow) == effect
    with pytest.raises(StopIteration) as stopped:
        flow.send(reply)
    assert stopped.value.value is reply


def test_together_holds_the_flows_in_order_and_runs_none_of_them() -> None:
    flows = (generate(ASKED), generate(dataclasses.replace(ASKED, upstream="large")))
    flow = together(each for each in flows)
    effect = next(flow)
    assert isinstance(effect, Together)
    assert effect.flows == flows
    with pytest.raises(StopIteration) as stopped:
        flow.send((1, 2))
    assert stopped.value.value == (1, 2)
    assert all(inspect.getgeneratorstate(each) == inspect.GEN_CREATED for each in flows)


TEXT = st.text(st.characters(), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
MESSAGES = st.lists(
    st.builds(Message, TEXT, TEXT, st.none() | st.dictionaries(TEXT, JSON, max_size=2)), max_size=3
).map(tuple)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "upstream": TEXT,
    "messages": MESSAGES,
    "n": st.integers(1, 9),
    "temperature": st.none() | st.floats(0, 2),
    "top_p": st.none() | st.floats(0, 1),
    "max_tokens": st.none() | st.integers(1, 99),
    "cap": st.none() | st.integers(1, 99),
    "stop": st.lists(TEXT, max_size=3).map(tuple),
    "seed": st.none() | st.integers(),
    "seed_is_callers": st.booleans(),
    "logprobs": st.none() | st.integers(0, 20),
    "extra": st.dictionaries(TEXT, JSON, max_size=3),
    "part_of": st.none() | st.builds(Draws, st.none() | st.integers()),
    "states": st.none() | st.builds(ReadStates, st.lists(TEXT, max_size=2).map(tuple), st.booleans()),
    "live": TEXT,
    "counted": st.booleans(),
    "tight": st.booleans(),
}
SAME = {"cap", "counted", "live", "part_of", "seed_is_callers", "states", "tight"}
"""The answer is the same whatever they are."""
REQUESTS = st.builds(Generate, **FIELDS)


def test_every_field_of_a_request_is_tried() -> None:
    assert list(FIELDS) == [field.name for field in dataclasses.fields(Generate)]


@given(REQUESTS, st.data())
def test_a_key_changes_with_each_field_that_is_asked_and_with_nothing_else(
    request: Generate, data: st.DataObject
) -> None:
    twin = Generate(**{field: getattr(request, field) for field in FIELDS})
    assert effect_key(twin) == effect_key(request)
    name = data.draw(st.sampled_from(list(FIELDS)))
    value = data.draw(FIELDS[name])
    assume(value != getattr(request, name))
    same = name in SAME
    assert (effect_key(dataclasses.replace(request, **{name: value})) == effect_key(request)) == same


@pytest.mark.parametrize(
    ("max_tokens", "cap", "limit"), [(None, None, None), (9, None, 9), (None, 5, 5), (9, 5, 5), (5, 9, 5)]
)
def test_an_answer_ends_at_the_lower_of_what_was_asked_and_what_is_left(
    max_tokens: int | None, cap: int | None, limit: int | None
) -> None:
    assert Generate("small", (), max_tokens=max_tokens, cap=cap).limit == limit


@given(st.dictionaries(TEXT, JSON, min_size=2, max_size=4))
def test_the_order_of_json_keys_does_not_matter(extra: dict[str, Any]) -> None:
    turned = dict(reversed(extra.items()))
    assert effect_key(dataclasses.replace(ASKED, extra=turned)) == effect_key(dataclasses.replace(ASKED, extra=extra))


@pytest.mark.parametrize(("one", "other"), [(0, 0.0), (1, 1.0)])
def test_equal_numbers_make_equal_keys(one: float, other: float) -> None:
    first, second = (dataclasses.replace(ASKED, temperature=t) for t in (one, other))
    assert first == second
    assert effect_key(first) == effect_key(second)


@given(TEXT, TEXT, st.integers(1, 50), st.integers(1, 50))
def test_searches_differ_by_retriever_query_and_number(retriever: str, query: str, k: int, other: int) -> None:
    search = Retrieve(retriever, query, k)
    assert effect_key(search) == effect_key(Retrieve(retriever, query, k))
    assert effect_key(search) != effect_key(Retrieve(retriever + "x", query, k))
    assert effect_key(search) != effect_key(Retrieve(retriever, query + "x", k))
    assert k == other or effect_key(search) != effect_key(Retrieve(retriever, query, other))


@pytest.mark.parametrize("text", ["\ud83d", "\udc00\ud83d", "😀", "e\u0301", "é", "\x00", "a\nb"])
def test_any_text_has_a_key_of_its_own(text: str) -> None:
    def key(content: str) -> str:
        return effect_key(Generate("small", (Message("user", content),)))

    assert len(key(text)) == 24
    assert key(text) == key(text)
    assert key(text) != key(text + "\u200b") != key("")


def test_no_two_of_these_look_alike() -> None:
    contents = ["\ud83d", "😀", "\ud83d\ude00", "\\ud83d", "e\u0301", "é", "None", "null", ""]
    assert len({effect_key(Generate("small", (Message("user", each),))) for each in contents}) == len(contents)


def test_another_process_makes_the_same_key() -> None:
    code = (
        "from gate.effects import *; from gate.types import Message;"
        "print(effect_key(Generate('small', (Message('user', 'é'),), extra={'b': [1], 'a': None})))"
    )
    here = effect_key(Generate("small", (Message("user", "é"),), extra={"a": None, "b": [1]}))
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == here


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Generate)])
def test_a_family_is_all_requests_that_differ_in_their_number_of_answers_alone(name: str) -> None:
    other: dict[str, Any] = {
        "upstream": "large",
        "messages": (Message("user", "Where is Paris?"),),
        "stop": ("x",),
        "seed_is_callers": True,
        "extra": {"tools": []},
        "part_of": Draws(ASKED.seed),
    }
    changed = dataclasses.replace(ASKED, **{name: other.get(name, 7)})
    unasked = name in SAME | {"n"}
    assert (family_key(changed) == family_key(ASKED)) is unasked
    assert (effect_key(changed) == effect_key(ASKED)) is (unasked and name != "n")
    assert family_key(changed) != effect_key(changed)


def test_calls_that_draw_together_are_of_the_family_of_the_first() -> None:
    first, second = (dataclasses.replace(ASKED, seed=seed, part_of=Draws(7)) for seed in (7, 1007))
    assert family_key(first) == family_key(second) == family_key(dataclasses.replace(ASKED, seed=7))
    assert effect_key(first) != effect_key(second)


def test_a_call_is_yielded_as_it_is_and_what_it_gives_comes_back() -> None:
    called = Call("small", lambda: None)
    flow = call(called)
    assert next(flow) is called
    with pytest.raises(StopIteration) as stopped:
        flow.send(SENT.value)
    assert stopped.value.value is SENT.value


def test_a_flow_between_which_and_the_world_somebody_stands_is_closed_with_it() -> None:
    closed = []

    def inner() -> Flow[str]:
        try:
            return (yield from generate(ASKED)).value.choices[0].text
        finally:
            closed.append(True)

    def refuses(effect: Effect) -> Flow[Any]:
        raise UpstreamError("small", "is not asked")
        yield

    flow = inner()
    with pytest.raises(UpstreamError, match="is not asked"):
        next(driven(flow, advance(flow, None, None), refuses))
    flow = inner()
    standing = driven(flow, advance(flow, None, None), lambda effect: (yield effect))
    assert next(standing) == ASKED
    standing.close()
    assert closed == [True, True]
