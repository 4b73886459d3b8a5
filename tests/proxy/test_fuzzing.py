"""Requests that are made up, to a running server: of what its OpenAPI document tells, and of anything at all.

Whatever comes is answered or refused, and as the document says; a status 500 is gate's own fault and never comes.
``make fuzz`` makes 20,000 of them, each time others; here it is the same few hundred.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from itertools import product
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis import checks as known

from gate import __version__
from gate.proxy.openapi import document
from tests.proxy.gate_process import Serving, serving
from tests.proxy.test_conformance import ANYTHING, DEEP, FIELDS, MESSAGE

CASES = int(os.environ.get("GATE_FUZZ", "240"))


def unsecured(told: Any) -> Any:
    """The document without its keys: who sends which is settled by each test."""
    if isinstance(told, dict):
        return {name: unsecured(each) for name, each in told.items() if not name.startswith("security")}
    return [unsecured(each) for each in told] if isinstance(told, list) else told


SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(unsecured(document(__version__)))))
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}
TAKES_A_BODY = sorted(label for label, operation in OPERATIONS.items() if operation.body)
NO_FAULTS = (200, 400, 401, 403, 404, 405, 408, 409, 413, 422, 429, 501, 503, 504)
"""504: a caller's own budget of seconds may be too short."""
CHECKS = [
    known.CHECKS.get_one(name)
    for name in (
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    )
]
MODELS = st.sampled_from(["gate", "scripted", "early", "observing", "balanced", "strict", None])
DOORS = ("/v1/chat/completions", "/v1/responses", "/v1/messages")
POSTED = (*DOORS, "/v1/completions", "/v1/embeddings", "/v1/feedback", "/beta/litellm_basic_guardrail_api")


def made_up(share: float) -> settings:
    """This share of all cases."""
    return settings(
        max_examples=max(2, round(CASES * share)),
        deadline=None,
        database=None,
        derandomize="GATE_FUZZ" not in os.environ,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def unlocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that keeps no keys, and all else: traces with their text, and of some all evidence there is."""
    folder = tmp_path_factory.mktemp("unlocked")
    arguments = ["--trace", str(folder / "traces.jsonl"), "--text"]
    with serving(folder, ["balanced"], arguments=arguments, audit={"full_evidence": 0.1}) as running:
        yield running


@pytest.fixture(scope="module")
def seen(request: pytest.FixtureRequest) -> Iterator[Counter[int]]:
    """How often which status came; told at the end."""
    counted: Counter[int] = Counter()
    yield counted
    told = ", ".join(f"{status}: {count}" for status, count in sorted(counted.items()))
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():  # type: ignore[union-attr]
        print(f"\n{counted.total()} requests made up, with the statuses {told}")


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


# --- by the document ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "mode"),
    list(product(TAKES_A_BODY, GenerationMode)),
    ids=lambda each: each.value if isinstance(each, GenerationMode) else each,
)
def test_what_the_document_tells_is_kept(
    house: Serving, session: requests.Session, seen: Counter[int], label: str, mode: GenerationMode
) -> None:
    @made_up(0.01 if "feedback" in label else 0.04)  # one that is not found is looked for twice
    @given(OPERATIONS[label].as_strategy(generation_mode=mode), MODELS)
    def check(case: Case, model: str | None) -> None:
        if mode is GenerationMode.POSITIVE and model is not None and "model" in case.body:
            case.body["model"] = model
        kept(case, house.url, session, seen, headers=house.bearer("app"))

    check()


@pytest.mark.parametrize("label", sorted(OPERATIONS))
@pytest.mark.parametrize("keyed", ["no key", "without keys"])
def test_it_is_kept_to_those_without_a_key_and_where_there_are_none(
    house: Serving, unlocked: Serving, session: requests.Session, seen: Counter[int], label: str, keyed: str
) -> None:
    url = unlocked.url if keyed == "without keys" else house.url

    @made_up(0.01)
    @given(OPERATIONS[label].as_strategy())
    def check(case: Case) -> None:
        kept(case, url, session, seen)

    check()


def kept(case: Case, url: str, session: requests.Session, seen: Counter[int], **more: Any) -> None:
    response = case.call(base_url=url, session=session, timeout=30, **more)
    seen[response.status_code] += 1
    assert response.status_code in NO_FAULTS, f"{response.status_code} {response.text}"
    case.validate_response(response, checks=CHECKS, **more)


# --- by nothing --------------------------------------------------------------------------------------------------


def ask(house: Serving, client: httpx.Client, seen: Counter[int], path: str, body: bytes, **headers: str) -> None:
    reply = client.post(house.url + path, content=body, headers={**house.bearer("app"), **headers})
    seen[reply.status_code] += 1
    assert reply.status_code in NO_FAULTS, f"{reply.status_code} {reply.text} for {body!r}"
    if reply.status_code != 200:
        assert reply.json()["error"]["message"]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30) as made:
        yield made


TURN = MESSAGE | st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": st.text(max_size=40) | ANYTHING},
    optional={"tool_calls": ANYTHING, "tool_call_id": ANYTHING, "name": ANYTHING},
)
ASKED = st.fixed_dictionaries(
    {"model": st.sampled_from(["gate", "scripted", "early", "observing", "balanced"])},
    optional={
        "messages": st.lists(TURN, max_size=4) | ANYTHING,
        "input": st.lists(TURN, max_size=3) | st.text(max_size=30) | ANYTHING,
        "system": ANYTHING,
        "instructions": st.text(max_size=9) | ANYTHING,
        "max_tokens": st.integers(-1, 400) | ANYTHING,
        "tools": st.lists(st.dictionaries(st.sampled_from(["type", "function", "name", "input_schema"]), ANYTHING)),
        "tool_choice": ANYTHING,
        "response_format": ANYTHING,
        "text": ANYTHING,
        "stream": st.booleans() | ANYTHING,
        "n": st.integers(-1, 9),
        "stop": ANYTHING,
        "stop_sequences": ANYTHING,
        "thinking": ANYTHING,
        "reasoning": ANYTHING,
        "include": ANYTHING,
        "logprobs": st.booleans(),
        "gate": st.dictionaries(
            st.sampled_from(["policy", "budget", "explain", "abstention", "streaming"]), ANYTHING | st.text(max_size=9)
        ),
        "decision_id": st.text(max_size=80) | ANYTHING,
        "correct": ANYTHING,
        "prompt": ANYTHING,
        "input_type": st.sampled_from(["request", "response"]) | ANYTHING,
        "litellm_call_id": st.sampled_from(["a", "b"]) | ANYTHING,
        "structured_messages": st.lists(TURN, max_size=3) | ANYTHING,
        "texts": st.lists(st.text(max_size=20), max_size=3) | ANYTHING,
        "tool_calls": ANYTHING,
        "additional_provider_specific_params": st.dictionaries(
            st.sampled_from(["policy", "gather", "on_abstention", "written_by", "budget", "explain"]), ANYTHING
        ),
    },
)


@made_up(0.24)
@given(st.sampled_from(POSTED), ASKED, st.none() | FIELDS)
def test_whatever_object_comes(
    house: Serving, client: httpx.Client, seen: Counter[int], path: str, fields: dict[str, Any], more: Any
) -> None:
    ask(house, client, seen, path, json.dumps({**(more or {}), **fields}).encode())


@made_up(0.1)
@given(st.sampled_from(POSTED), ANYTHING | DEEP)
def test_whatever_json_comes(
    house: Serving, client: httpx.Client, seen: Counter[int], path: str, value: object
) -> None:
    ask(house, client, seen, path, json.dumps(value).encode())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good body with some bytes of it changed, left out, or put in twice."""
    body = bytearray(
        json.dumps({"model": "gate", "messages": [{"role": "user", "content": "Wo ist Lübeck? 🦜"}]}).encode()
    )
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body) - 1))
        until = min(len(body), at + draw(st.integers(0, 9)))
        body[at:until] = draw(st.binary(max_size=4) | st.just(bytes(body[at:until]) * 2))
        body = body or bytearray(b"{")
    return bytes(body)


@made_up(0.1)
@given(st.sampled_from(POSTED), st.binary(max_size=200) | damaged())
def test_whatever_bytes_come(house: Serving, client: httpx.Client, seen: Counter[int], path: str, body: bytes) -> None:
    ask(house, client, seen, path, body)


HEADER = st.sampled_from(
    ["x-gate-action", "x-gate-policy", "x-request-id", "content-type", "accept", "traceparent", "tracestate", "expect",
     "x-forwarded-for", "cookie", "x-api-key", "idempotency-key", "openai-organization", "accept-encoding"]
)  # fmt: skip
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40).map(
    str.strip
)


@made_up(0.04)
@given(st.sampled_from(POSTED), st.dictionaries(HEADER, VALUE, max_size=5))
def test_whatever_headers_come(
    house: Serving, client: httpx.Client, seen: Counter[int], path: str, headers: dict[str, str]
) -> None:
    said = {name: value.encode("latin-1") for name, value in headers.items()}
    body = json.dumps({"model": "gate", "messages": [{"role": "user", "content": "Where is Lagos?"}]})
    reply = client.post(house.url + path, content=body, headers={**house.bearer("app"), **said})  # type: ignore[dict-item]
    seen[reply.status_code] += 1
    assert reply.status_code in NO_FAULTS, f"{reply.status_code} {reply.text}"


PLACE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


@made_up(0.04)
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]),
    st.sampled_from(["/a", "/v1/", "/v1/models/", "/dashboard/", "/dashboard/decisions/", "/metrics?", "/dashboard?"]),
    PLACE,
)
def test_whatever_path_comes(house: Serving, seen: Counter[int], method: str, start: str, rest: str) -> None:
    connection = HTTPConnection(house.url.removeprefix("http://"), timeout=30)
    with closing(connection):
        connection.request(method, start + rest)
        reply = connection.getresponse()
        said = reply.read()
    seen[reply.status] += 1
    assert reply.status < 500, f"{reply.status} {said!r} for {method} {start}{rest}"
