"""gate as a provider of LiteLLM's, in Python and behind its proxy."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litellm
import openai
import pytest
import yaml

from gate.integrations.litellm_provider import GateProvider, gate_provider, register
from gate.policy import find
from tests.integrations.litellm_servers import (
    KEY,
    ROOT,
    Proxy,
    _swept,  # noqa: F401
    litellm_proxy,  # noqa: F401
    quiet,
)

pytestmark = [*quiet, pytest.mark.usefixtures("_swept", "_registered")]
KNOWN, UNKNOWN = "Where is Nanjing?", "Where is Xyzzyburg?"
REFUSAL = "I am not sure enough of an answer to give you one."


@pytest.fixture(scope="module")
def _registered() -> Iterator[None]:
    before = litellm.custom_provider_map
    register()
    register()
    assert len(litellm.custom_provider_map) == len(before) + 1
    yield
    gate_provider.close()
    litellm.custom_provider_map = before


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "gate/balanced", "messages": [{"role": "user", "content": text}], **more}


def both(**request: Any) -> Iterator[Any]:
    yield litellm.completion(**request)
    yield asyncio.run(litellm.acompletion(**request))


def streams(**request: Any) -> Iterator[list[Any]]:
    async def main() -> list[Any]:
        return [chunk async for chunk in await litellm.acompletion(stream=True, **request)]

    yield list(litellm.completion(stream=True, **request))
    yield asyncio.run(main())


def test_an_answer_comes_with_its_decision_and_the_usage_of_all_that_was_asked() -> None:
    for reply in both(**asked(KNOWN)):
        choice = reply.choices[0]
        assert (choice.message.content, choice.message.refusal, choice.finish_reason) == ("China", None, "stop")
        decision = reply._hidden_params["gate"]
        assert (decision["action"], decision["certified"]) == ("answer", True)
        assert reply.usage.prompt_tokens == decision["cost"]["prompt_tokens"] > 0


def test_a_refusal_stands_where_clients_of_openai_look_for_one() -> None:
    for reply in both(**asked(UNKNOWN)):
        message = reply.choices[0].message
        assert (message.content, message.refusal) == (None, REFUSAL)
        assert reply.gate == {"action": "abstain", "reason": "uncertain"}


def test_or_where_the_policy_says(tmp_path: Path) -> None:
    data = yaml.safe_load(find("balanced").read_text(encoding="utf-8"))
    beside = find("balanced").with_name(data["calibrator"])
    for name, serving in (("content", {"refusal_in": "content"}), ("error", {"abstention": "error"})):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({**data, "serving": serving, "calibrator": str(beside)}))
    register(policies=[tmp_path / "content.yaml", str(tmp_path / "error.yaml")])
    model = {"model": f"gate/{tmp_path}/content.yaml"}
    assert litellm.completion(**asked(UNKNOWN) | model).choices[0].message.content == REFUSAL
    with pytest.raises(litellm.exceptions.BadRequestError, match="not sure enough"):
        litellm.completion(**asked(UNKNOWN) | {"model": f"gate/{tmp_path}/error.yaml"})


def test_no_file_is_opened_that_was_not_named_before(tmp_path: Path) -> None:
    """Be it there or not, a policy or none: whoever names a model learns nothing of files."""
    there, not_one = tmp_path / "there.yaml", tmp_path / "not_one.yaml"
    there.write_text(find("balanced").read_text(encoding="utf-8"))
    not_one.write_text("secret: of another")
    told = set()
    for path in (there, not_one, tmp_path / "none.yaml"):
        for ask in (litellm.completion, lambda **request: asyncio.run(litellm.acompletion(**request))):
            with pytest.raises(openai.APIStatusError) as refused:
                ask(**asked(KNOWN) | {"model": f"gate/{path}"})
            assert refused.value.status_code == 404
            told.add(str(refused.value))
    assert len(told) == 1


def test_a_policy_is_loaded_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, threads = GateProvider(), []
    load = provider._gate
    monkeypatch.setattr(provider, "_gate", lambda name: threads.append(threading.current_thread()) or load(name))
    for _ in range(2):
        reply = asyncio.run(provider.acompletion("balanced", [{"role": "user", "content": KNOWN}], {}))
        assert reply.choices[0].message.content == "China"
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


ADAPTERS = ("litellm_guardrail", "litellm_provider")
LISTENED = """
import sys
seen = []
sys.addaudithook(lambda event, more: seen.append(event) if event in ("socket.connect", "socket.getaddrinfo") else None)
import gate.integrations.{name}
assert "litellm" in sys.modules
print(seen)
"""


@pytest.mark.parametrize("name", ADAPTERS)
def test_importing_it_reaches_for_no_network(name: str) -> None:
    without = {key: value for key, value in os.environ.items() if not key.startswith("LITELLM_")}
    run = [sys.executable, "-c", LISTENED.format(name=name)]
    environment = {**without, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_several_answers_are_several_decisions() -> None:
    for reply in both(**asked(KNOWN, n=2)):
        assert [choice.message.content for choice in reply.choices] == ["China", "China"]
        assert [one["action"] for one in reply._hidden_params["gate"]["choices"]] == ["answer", "answer"]


def test_a_stream_is_written_once_it_is_judged() -> None:
    for text, words, action in ((KNOWN, "China", "answer"), (UNKNOWN, REFUSAL, "abstain")):
        for chunks in streams(**asked(text, stream_options={"include_usage": True})):
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == words
            assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]
            fields = [getattr(c.delta, "provider_specific_fields", None) for chunk in chunks for c in chunk.choices]
            (told,) = [each["gate"] for each in fields if each]
            assert told["action"] == action
            assert chunks[-1].usage.completion_tokens > 0


def test_what_cannot_be_answered_is_an_error_with_a_status() -> None:
    for request, status in (
        (asked(KNOWN) | {"model": "gate/nosuch"}, 404),
        (asked(""), 400),
        (asked(KNOWN, n=2, stream=True), 400),
    ):
        with pytest.raises(openai.APIStatusError) as refused:
            list(litellm.completion(**request))
        assert refused.value.status_code == status
        with pytest.raises(openai.APIStatusError) as again:
            asyncio.run(_drained(request))
        assert again.value.status_code == status


async def _drained(request: dict[str, Any]) -> None:
    reply = await litellm.acompletion(**request)
    if request.get("stream"):
        [chunk async for chunk in reply]


def test_many_calls_at_once_are_answered_each_with_its_own() -> None:
    cities = {"Nanjing": "China", "Osaka": "Japan", "Lyon": "France"}

    async def main() -> list[Any]:
        wanted = [asked(f"Where is {city}?") for city in cities for _ in range(5)]
        return await asyncio.gather(*(litellm.acompletion(**request) for request in wanted))

    for at, reply in enumerate(asyncio.run(main())):
        said = reply.choices[0].message.content
        assert said in (None, list(cities.values())[at // 5])


def test_behind_litellms_proxy_a_wildcard_opens_no_files(litellm_proxy: Proxy) -> None:  # noqa: F811
    client = openai.OpenAI(base_url=litellm_proxy.url, api_key=KEY, max_retries=0)
    messages: Any = [{"role": "user", "content": KNOWN}]
    assert client.chat.completions.create(model="any/balanced", messages=messages).choices[0].message.content == "China"
    path = find("balanced").resolve()
    for wanted in (path, path.with_name("none.yaml")):
        with pytest.raises(openai.NotFoundError, match="there is no policy"):
            client.chat.completions.create(model=f"any/{wanted}", messages=messages)


def test_behind_litellms_proxy_a_model_is_a_policy(litellm_proxy: Proxy) -> None:  # noqa: F811
    client = openai.OpenAI(base_url=litellm_proxy.url, api_key=KEY, max_retries=0)

    def ask(text: str, **more: Any) -> Any:
        return client.chat.completions.create(model="balanced", messages=[{"role": "user", "content": text}], **more)

    assert ask(KNOWN).choices[0].message.content == "China"
    refused = ask(UNKNOWN)
    assert refused.choices[0].message.refusal == REFUSAL
    assert refused.model_extra["gate"]["action"] == "abstain"
    said = [chunk.choices[0].delta.content or "" for chunk in ask(KNOWN, stream=True) if chunk.choices]
    assert "".join(said) == "China"
