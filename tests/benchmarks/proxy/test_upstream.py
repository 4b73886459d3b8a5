"""The constant replies are what gate takes for replies, and as long as is said of them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from gate.ports import Price
from gate.upstreams.openai_chat import OpenAIChat, OpenAIChatOptions
from tests.benchmarks.proxy import upstream
from tests.benchmarks.proxy.load import Asked
from tests.benchmarks.proxy.server_process import ServerProcess, ask, free_port

CHAT = OpenAIChat.from_options("m", OpenAIChatOptions(base_url="http://127.0.0.1:1/v1", model="m"), Price())


@pytest.mark.parametrize("choices", [1, 5])
def test_every_choice_has_twelve_tokens_with_five_alternatives(choices: int) -> None:
    read = CHAT.read(upstream.chat_completion(choices))
    assert [choice.text for choice in read.choices] == [upstream.ANSWER] * choices
    for choice in read.choices:
        assert choice.tokens is not None
        assert len(choice.tokens) == 12
        assert "".join(token.token for token in choice.tokens) == upstream.ANSWER
        assert {len(token.top) for token in choice.tokens} == {5}
    assert read.usage.completion_tokens == 12 * choices


def test_the_files_are_written_and_named(tmp_path: Path) -> None:
    conf = upstream.write(tmp_path, 9876).read_text()
    assert "listen 127.0.0.1:9876 " in conf
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*.json")}
    assert 2500 < sizes["chat.json"] < 3500
    assert 4 < sizes["several.json"] / sizes["chat.json"] < 5
    assert json.loads((tmp_path / "completion.json").read_text())["choices"][0]["text"] == upstream.ANSWER
    assert set(re.findall(r"(\w+\.json)", conf)) == set(sizes)


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_tells_a_request_for_five_from_one_for_one(tmp_path: Path) -> None:
    port = free_port()
    server = ServerProcess(("nginx", "-c", str(upstream.write(tmp_path, port))), {}, 0, tmp_path / "nginx.log")
    try:
        server.wait_until_it_answers(Asked(port, "/v1/chat/completions", "{}", "none"), upstream.ANSWER)
        for path, more, wanted in (
            ("/several/v1", {"n": 5, "temperature": 1.0}, 5),
            ("/several/v1", {"n": 1}, 1),
            ("/several/v1", {"n": 50}, 1),
            ("/several/v1", {}, 1),
            ("/v1", {"n": 5}, 1),
        ):
            body = json.dumps({"model": "m", **more}, separators=(",", ":"))
            status, reply = ask(Asked(port, f"{path}/chat/completions", body, "none"))
            assert (status, len(json.loads(reply)["choices"])) == (200, wanted)
        assert ask(Asked(port, "/v1/completions", "{}", "none")) == (200, (tmp_path / "completion.json").read_text())
    finally:
        server.stop()
