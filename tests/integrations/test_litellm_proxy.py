"""A LiteLLM proxy, as its users run it, that has ``gate serve`` judge its answers: gate is not in its process."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.commands import gate
from tests.proxy.gate_process import UPSTREAM_KEY, scripted_policy
from tests.proxy.scripted_upstream import ANSWER, scripted
from tests.upstreams.faulty_server import FaultyServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "litellm"
LITELLM = Path(sys.executable).with_name("litellm")
GATE = "http://127.0.0.1:8800"
"""As the example has it, which puts another port there."""
MASTER_KEY = f"sk-{secrets.token_hex(16)}"
REFUSAL = "I am not sure enough of an answer to give you one."
RIGHT, UNSURE = "Where is Nanjing?", "Where is Leicester?"
"""The small model says China to the one, and stands by it; to the other the United States, and does not."""
BUFFERED = {"streaming_buffer_until_moderated": True}
REWRITTEN = {"streaming_end_of_stream_only": True, "streaming_transform_mode": "incremental_diff"}
SAMPLED = {"streaming_sampling_rate": 1, "streaming_transform_mode": "incremental_diff"}


@dataclass(frozen=True)
class Proxy:
    """Both servers, as the example starts them."""

    url: str
    folder: Path
    said: str
    """What the example printed."""

    def post(self, guardrail: str, question: str, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
        asked = {"model": "plain", "guardrails": [guardrail], "messages": [{"role": "user", "content": question}]}
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.post(self.url + path, json={**asked, **more}, headers=headers)

    def decisions(self, call: str) -> list[dict[str, Any]]:
        """What gate's access log says of a call, by LiteLLM's id for it."""
        lines = (json.loads(line) for line in self.log.splitlines() if line.startswith('{"ts"'))
        return [line for line in lines if line["logger"] == "gate.access" and line.get("request_id") == call]

    @property
    def log(self) -> str:
        return (self.folder / "gate.log").read_text()


def text_of(reply: httpx.Response) -> str:
    message = reply.json()["choices"][0]["message"]
    return str(message["content"])


def streamed(reply: httpx.Response) -> tuple[str, list[str]]:
    """The text of a stream, and the errors in it."""
    text, errors = "", []
    for line in reply.text.splitlines():
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        event = json.loads(line.removeprefix("data: "))
        if "error" in event:
            errors.append(str(event["error"]))
        for choice in event.get("choices", ()):
            text += choice["delta"].get("content") or ""
    return text, errors


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def guardrail(name: str, key: str, base: str = GATE, **more: Any) -> dict[str, Any]:
    params = {
        "guardrail": "generic_guardrail_api",
        "mode": ["during_call", "post_call"],
        "api_base": base,
        "api_key": key,
    }
    return {"guardrail_name": name, "litellm_params": {**params, **more}}


def guardrails(key: str) -> Iterator[dict[str, Any]]:
    nobody = f"http://127.0.0.1:{free_port()}"
    yield guardrail("block", key, **BUFFERED)
    yield guardrail("pre", key, mode=["pre_call", "post_call"])
    yield guardrail("replace", key, **REWRITTEN, **options(on_abstention="replace"))
    yield guardrail("sampled", key, **SAMPLED, **options(on_abstention="replace"))
    yield guardrail("better", key, **REWRITTEN, **options(gather=True, on_abstention="replace", written_by="small"))
    yield guardrail("plain", key, **BUFFERED, **options(gather=True))
    yield guardrail("scripted", key, **options(policy="scripted"))
    yield guardrail("observing", key, **options(policy="pocket"))
    yield guardrail("mistyped", key, **options(polcy="strict"))
    yield guardrail("stranger", "gate-nobody", unreachable_fallback="fail_open")
    yield guardrail("late", key, **BUFFERED, mode="post_call", unreachable_fallback="fail_open")
    yield guardrail("closed", key, nobody, **BUFFERED)
    yield guardrail("open", key, nobody, unreachable_fallback="fail_open")


def options(**said: Any) -> dict[str, Any]:
    return {"additional_provider_specific_params": said}


def prepare(folder: Path, upstream: str) -> Path:
    """The example with more guardrails, more models, and a key that gate asks for."""
    made = folder / "litellm"
    shutil.copytree(EXAMPLE, made)
    run = gate("keys", "new", "--file", folder / "keys.yaml", "--name", "litellm")
    assert run.code == 0, run.err
    key = run.out.strip()
    server = yaml.safe_load((made / "gate.yaml").read_text())
    server["policies"].append(str(scripted_policy(folder, upstream, "scripted")))
    (made / "gate.yaml").write_text(yaml.safe_dump({**server, "keys": str(folder / "keys.yaml")}))
    config = yaml.safe_load((made / "config.yaml").read_text())
    for model in config["model_list"]:
        model["litellm_params"]["api_key"] = key
    for each in config["guardrails"]:
        each["litellm_params"]["api_key"] = key
    plain = {"model": "openai/pocket", "api_base": f"{GATE}/v1", "api_key": key}
    tools = {"model": "openai/m-1", "api_base": upstream, "api_key": UPSTREAM_KEY}
    for name, params in (("plain", plain), ("scripted", tools)):
        config["model_list"].append({"model_name": name, "litellm_params": params})
    config["guardrails"] += guardrails(key)
    (made / "config.yaml").write_text(yaml.safe_dump(config))
    return made / "run.sh"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("example")
    port, out = free_port(), folder / "made"
    called = {
        **os.environ,
        "GATE": f"{sys.executable} -m gate",
        "LITELLM": str(LITELLM),
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "GATE_TEST_UPSTREAM_KEY": UPSTREAM_KEY,
    }
    with FaultyServer(scripted) as upstream:
        run = [prepare(folder, upstream.url), "--stay", out, str(free_port()), str(port)]
        with subprocess.Popen(run, env=called, stdout=subprocess.PIPE, text=True) as process:
            said = ""
            for line in process.stdout or ():
                said += line
                if line.startswith("LiteLLM is on"):
                    break
            yield Proxy(f"http://127.0.0.1:{port}", out, said)
            process.terminate()


def test_the_example_runs(proxy: Proxy) -> None:
    told = re.findall(r'"(content|message)": ?"([^"]*)"', proxy.said)
    blocked, replaced = ("message", REFUSAL), ("content", REFUSAL)
    assert told == [("content", "China"), blocked, blocked, ("content", "United Kingdom"), replaced], proxy.said


@pytest.mark.parametrize("name", ["block", "pre", "replace", "sampled", "better"])
def test_a_right_answer_goes_out(proxy: Proxy, name: str) -> None:
    whole = proxy.post(name, RIGHT)
    assert (whole.status_code, text_of(whole)) == (200, "China")
    assert whole.headers["x-litellm-applied-guardrails"] == name
    (decision,) = proxy.decisions(whole.headers["x-litellm-call-id"])
    assert (decision["message"], decision["policy"], decision["action"]) == ("guardrail 200", "guardrail", "answer")
    assert decision["p"] > 0.7
    assert streamed(proxy.post(name, RIGHT, stream=True)) == ("China", [])


@pytest.mark.parametrize("name", ["block", "plain"])
def test_one_that_is_not_borne_out_is_blocked_and_no_word_of_it_streamed(proxy: Proxy, name: str) -> None:
    for stream in (False, True):
        reply = proxy.post(name, UNSURE, stream=stream)
        assert reply.status_code == 400
        said = reply.json()["error"]["message"]
        assert said == REFUSAL if name == "block" else said.startswith("Another answer is more likely right")
        assert "United" not in reply.text


@pytest.mark.parametrize("name", ["replace", "sampled", "better"])
def test_what_stands_in_its_place_goes_out_whole_and_streamed(proxy: Proxy, name: str) -> None:
    instead = "United Kingdom" if name == "better" else REFUSAL
    whole = proxy.post(name, UNSURE)
    assert (whole.status_code, text_of(whole)) == (200, instead)
    stream = proxy.post(name, UNSURE, stream=True)
    assert (stream.status_code, streamed(stream)) == (200, (instead, []))


def test_of_several_answers_none_goes_out_where_one_may_not(proxy: Proxy) -> None:
    sure = proxy.post("block", RIGHT, n=2)
    assert [choice["message"]["content"] for choice in sure.json()["choices"]] == ["China", "China"]
    assert len(proxy.decisions(sure.headers["x-litellm-call-id"])) == 2
    assert proxy.post("block", UNSURE, n=2).status_code == 400


@pytest.mark.parametrize("stream", [False, True])
def test_calls_of_tools_are_judged(proxy: Proxy, stream: bool) -> None:
    function = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    more = {"model": "scripted", "tools": [{"type": "function", "function": function}], "stream": stream}
    called = proxy.post("scripted", "What is the weather in Lagos?", **more)
    assert (called.status_code, "Lagos" in called.text) == (200, True)
    (decision,) = proxy.decisions(called.headers["x-litellm-call-id"])
    assert (decision["policy"], decision["action"]) == ("scripted", "answer")


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_of_a_tool_that_is_withheld_is_not_shown(proxy: Proxy, stream: bool) -> None:
    function = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    more = {"model": "scripted", "tools": [{"type": "function", "function": function}], "stream": stream}
    blocked = proxy.post("block", "What is the weather in Lagos?", **more)
    assert (blocked.status_code, "weather" in blocked.text, "tool_calls" in blocked.text) == (400, False, False)


def test_the_policy_is_the_settings_choice(proxy: Proxy) -> None:
    assert text_of(proxy.post("scripted", "Where is Lagos?", model="scripted")) == ANSWER
    assert proxy.post("scripted", "Are you unsure?", model="scripted").status_code == 400


def test_where_it_only_observes_all_goes_out_and_is_judged(proxy: Proxy) -> None:
    reply = proxy.post("observing", UNSURE)
    assert (reply.status_code, text_of(reply)) == (200, "United States")
    decisions, until = list[dict[str, Any]](), time.monotonic() + 10
    while not decisions and time.monotonic() < until:  # nobody waits for the judgement
        time.sleep(0.02)
        decisions = proxy.decisions(reply.headers["x-litellm-call-id"])
    (decision,) = decisions
    assert (decision["mode"], decision["policy"]) == ("observe", "pocket")


@pytest.mark.parametrize(
    ("path", "field"),
    [("/v1/messages", {"max_tokens": 20}), ("/v1/responses", {"input": UNSURE, "messages": None})],
    ids=["messages", "responses"],
)
def test_the_other_dialects_of_the_proxy_are_judged_alike(proxy: Proxy, path: str, field: dict[str, Any]) -> None:
    reply = proxy.post("block", UNSURE, path, **field)
    assert (reply.status_code, reply.json()["error"]["message"]) == (400, REFUSAL)


# --- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status"), [("mistyped", "400"), ("stranger", "401"), ("late", "409"), ("closed", "connect")]
)
def test_what_cannot_be_judged_does_not_go_out(proxy: Proxy, name: str, status: str) -> None:
    """Also where LiteLLM is to fail open when the guardrail cannot be reached: it can be."""
    for stream in (False, True):
        reply = proxy.post(name, RIGHT, stream=stream)
        assert (reply.status_code, "China" in reply.text) == (500, False)
        assert status in reply.json()["error"]["message"]


def test_it_goes_out_unjudged_only_where_that_was_chosen_and_nobody_is_there(proxy: Proxy) -> None:
    reply = proxy.post("open", UNSURE)
    assert (reply.status_code, text_of(reply)) == (200, "United States")
    assert not proxy.decisions(reply.headers["x-litellm-call-id"])
