"""Whatever JSON a caller sends: an answer or an error that says what is wrong with it, never a fault of gate's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gate.assemble import load_gateway
from tests.proxy.live_server import live
from tests.proxy.served import app_of

USER = {"role": "user", "content": "Where is Lagos?"}
SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

NUMBER = (
    st.sampled_from([0, 1, 2, 2.0, 1e-320, 1e308, 2**31, 2**63 - 1, -(2**63), 2**64, 10**400, True])
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
SCALAR = st.none() | st.booleans() | NUMBER | st.sampled_from(["", "1", "0.5", "true", "🦜"]) | st.text()
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
DEEP = st.integers(1, 100).map(lambda levels: json.loads("[" * levels + "]" * levels))


def dictionary(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=optional)


PART = dictionary(
    type=st.sampled_from(["text", "image_url", 7]), text=st.text(max_size=20) | SCALAR, image_url=ANYTHING
)
MESSAGE = dictionary(
    role=st.sampled_from(["user", "assistant", "robot", None]),
    content=st.text(max_size=40) | st.lists(PART, max_size=3) | ANYTHING,
    tool_calls=ANYTHING,
    x=ANYTHING | DEEP,
)
WELL_MADE = dictionary(
    messages=st.lists(
        st.text("aé🦜 ", min_size=1, max_size=60).map(lambda text: {"role": "user", "content": text}), min_size=1
    ),
    n=st.just(1),
    stream=st.booleans(),
    stream_options=st.just({"include_usage": True}),
    temperature=st.floats(0, 2) | st.sampled_from([0, 1, 2]),
    top_p=st.floats(0, 1, exclude_min=True),
    max_tokens=st.integers(1, 2**63 - 1),
    max_completion_tokens=st.integers(1, 30),
    stop=st.text(min_size=1, max_size=2) | st.lists(st.text(min_size=1, max_size=2), max_size=3),
    seed=st.integers(-(2**63), 2**63 - 1),
    logprobs=st.booleans(),
    top_logprobs=st.integers(0, 20),
    metadata=ANYTHING,
    response_format=ANYTHING,
    gate=dictionary(
        explain=st.booleans(),
        budget=dictionary(
            calls=st.integers(1), tokens=st.integers(1), seconds=st.floats(1e-9), money=st.floats(0, exclude_min=True)
        ),
    ),
)
NAMES = (
    "model", "messages", "n", "stream", "stream_options", "temperature", "top_p", "max_tokens", "max_completion_tokens",
    "stop", "seed", "logprobs", "top_logprobs", "gate", "tools", "functions", "metadata", "user",
)  # fmt: skip
AMISS = (
    st.dictionaries(st.sampled_from(NAMES), NUMBER | ANYTHING | DEEP, min_size=1, max_size=2)
    | st.lists(MESSAGE, max_size=3).map(lambda messages: {"messages": messages})
    | dictionary(calls=SCALAR, tokens=SCALAR, seconds=SCALAR, money=SCALAR).map(lambda b: {"gate": {"budget": b}})
)
FIELDS = st.builds(lambda made, amiss: made | amiss, WELL_MADE, st.just({}) | AMISS)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with live(app_of(load_gateway("balanced"))) as url, httpx.Client(base_url=url, timeout=30) as made:
        yield made


def answered_or_refused(client: httpx.Client, body: bytes) -> httpx.Response:
    reply = client.post("/v1/chat/completions", content=body)
    expected = (200, 400, 404, 504)  # 504: the caller's own budget of seconds may be too short
    assert reply.status_code in expected, f"{reply.status_code} {reply.text} for {body!r}"
    if reply.status_code != 200:
        assert reply.json()["error"]["message"]
    return reply


@SETTINGS
@given(FIELDS)
@example({"temperature": "1"})
@example({"top_p": "0.5"})
@example({"max_tokens": "5"})
@example({"seed": "3"})
@example({"seed": 3.0})
@example({"max_completion_tokens": 2.0})
@example({"temperature": 1e-320, "top_p": 1e-320})
@example({"metadata": "\ud800"})
@example({"metadata": float("nan")})
@example({"gate": {"budget": {"seconds": 1e308, "tokens": 2**63 - 1}}})
def test_whatever_is_asked_is_answered_or_refused(client: httpx.Client, fields: dict[str, object]) -> None:
    answered_or_refused(client, json.dumps({"model": "gate", "messages": [USER], **fields}).encode())


@SETTINGS
@given(ANYTHING | DEEP)
def test_whatever_json_comes_it_is_refused(client: httpx.Client, value: object) -> None:
    assert answered_or_refused(client, json.dumps(value).encode()).status_code == 400


@pytest.mark.parametrize("levels", [100, 950, 1020, 5000])
@pytest.mark.parametrize("fields", [{"metadata": "HERE"}, {"messages": [USER | {"x": "HERE"}]}], ids=str)
def test_however_deep_json_goes_it_is_refused(client: httpx.Client, fields: dict[str, object], levels: int) -> None:
    body = json.dumps({"model": "gate", "messages": [USER], **fields}).replace('"HERE"', "[" * levels + "]" * levels)
    assert answered_or_refused(client, body.encode()).status_code == 400
