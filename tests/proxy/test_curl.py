"""curl pointed at a running gate, as the README shows it."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.proxy.gate_process import Serving
from tests.proxy.scripted_upstream import ANSWER

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
ASK = {"model": "gate", "messages": [{"role": "user", "content": "Where is Lagos?"}]}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def curl(house: Serving, path: str, *arguments: str, body: object = None) -> tuple[str, str]:
    """The head and the body of the response."""
    data = [] if body is None else ["--json", "@-"]
    key = f"authorization: Bearer {house.keys['app']}"
    command = ["curl", "-sS", "-N", "-i", "--max-time", "20", "-H", key, *data, *arguments, f"{house.url}{path}"]
    said = subprocess.run(command, input=json.dumps(body).encode(), capture_output=True, check=True).stdout
    *_, head, rest = said.split(b"\r\n\r\n", said.count(b"HTTP/1.1 1") + 1)  # past 100 Continue
    return head.decode(), rest.decode()


def test_an_answer_comes_with_its_decision_in_the_headers(house: Serving) -> None:
    head, body = curl(house, "/v1/chat/completions", body=ASK)
    assert head.startswith("HTTP/1.1 200")
    assert "x-gate-action: answer" in head
    assert json.loads(body)["choices"][0]["message"]["content"] == ANSWER


def test_a_stream_comes_event_by_event(house: Serving) -> None:
    head, body = curl(house, "/v1/chat/completions", body={**ASK, "stream": True})
    assert "text/event-stream" in head
    *events, done = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    assert done == "[DONE]"
    assert "".join(json.loads(each)["choices"][0]["delta"].get("content") or "" for each in events) == ANSWER


def test_a_tool_is_called(house: Serving) -> None:
    asked = {**ASK, "messages": [{"role": "user", "content": "weather in Lagos?"}], "tools": [TOOL]}
    _, body = curl(house, "/v1/chat/completions", body=asked)
    (call,) = json.loads(body)["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Lagos"}


def test_a_large_body_that_asks_first_whether_it_may_come(house: Serving) -> None:
    long = {**ASK, "messages": [{"role": "user", "content": "Where is Lagos? " + "x" * 2_000_000}]}
    _, body = curl(house, "/v1/chat/completions", "-H", "expect: 100-continue", body=long)
    assert json.loads(body)["choices"][0]["message"]["content"] == ANSWER


def test_a_request_that_offers_http2_is_answered_in_http1(house: Serving) -> None:
    head, body = curl(house, "/v1/chat/completions", "--http2", body=ASK)
    assert head.startswith("HTTP/1.1 200")
    assert json.loads(body)["choices"][0]["message"]["content"] == ANSWER


def test_what_is_wrong_is_told_in_openais_shape(house: Serving) -> None:
    head, body = curl(house, "/v1/chat/completions", "-d", "{not json")
    assert head.startswith("HTTP/1.1 400")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    head, body = curl(house, "/v1/nothing")
    assert head.startswith("HTTP/1.1 404")
    assert "POST /v1/chat/completions" in json.loads(body)["error"]["message"]


def test_whether_it_lives_is_asked_without_a_key(house: Serving) -> None:
    command = ["curl", "-sS", "--fail", f"{house.url}/healthz", f"{house.url}/readyz"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == '{"status":"ok"}{"status":"ready"}'
