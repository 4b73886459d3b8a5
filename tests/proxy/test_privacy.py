"""Nobody's words and nobody's keys are left behind: not in the log, on the dashboard, in metrics, or on the screen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.commands import gate
from tests.proxy.gate_process import UPSTREAM_KEY, Serving, scripted_policy, serving
from tests.proxy.scripted_upstream import cut
from tests.upstreams.faulty_server import FaultyServer

ASKED, SAID, TOLD = "zqxjkvaskedwkpf", "zqxjkvsaidwkpf", "zqxjkvtoldwkpf"
"""Words that stand nowhere by chance: in prompts, in what the upstream repeats of them, in other fields."""
CHAT = "/v1/chat/completions"
KEYS = {
    "app": ("--model", "*", "--role", "ask", "--role", "feedback"),
    "boss": ("--role", "admin", "--role", "review", "--role", "metrics"),
}


def questions() -> Iterator[tuple[str, dict[str, object]]]:
    """Whatever may be asked, with secret words in it: answered, refused, failing, and not understood."""
    for said in ("echo", "I am unsure", "status 400", "status 401", "weather in Lagos"):
        for stream in (False, True):
            content = f"{said} {ASKED}"
            ask = {"messages": [{"role": "user", "content": content}], "stream": stream, "user": TOLD}
            ask |= {"metadata": {TOLD: TOLD}}
            for model in ("scripted", "early", "observing"):
                yield CHAT, {**ask, "model": model}
            yield CHAT, {**ask, "model": "gate", "tools": [{"type": "function", "function": {"name": "weather"}}]}
            yield "/v1/responses", {"model": "gate", "input": content, "instructions": TOLD, "stream": stream}
            yield "/v1/messages", {**ask, "model": "gate", "max_tokens": 300, "system": TOLD}
            yield "/v1/completions", {"model": "gate", "prompt": content, "stream": stream}
    yield "/v1/embeddings", {"model": "gate", "input": ASKED}
    yield CHAT, {"model": ASKED, "messages": [{"role": "user", "content": SAID}]}
    yield CHAT, {"model": "gate", "messages": [{"role": ASKED, "content": SAID}]}
    yield CHAT, {"model": "gate", "messages": SAID}
    yield CHAT, {"model": "gate", "messages": [{"role": "user", "content": ASKED}], TOLD: TOLD, "n": TOLD}
    yield CHAT, {"model": "gate", "messages": [{"role": "user", "content": ASKED}], "gate": {TOLD: TOLD}}


@pytest.fixture(scope="module")
def asked(upstream: FaultyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with all logging on, after all those questions."""
    folder = tmp_path_factory.mktemp("private")
    policies = [
        scripted_policy(folder, upstream.url, "scripted"),
        scripted_policy(folder, upstream.url, "early", streaming="annotate"),
        scripted_policy(folder, upstream.url, "observing", mode="observe"),
    ]
    with FaultyServer(cut(2)) as broken:
        policies.append(scripted_policy(folder, broken.url, "broken", streaming="annotate"))
        log = {"url": f"sqlite:///{folder / 'decisions.db'}", "keep": "scalars"}
        audit = {"share": 1.0}
        with (
            serving(folder, policies, keys=KEYS, log=log, audit=audit, arguments=["--access-log"]) as running,
            httpx.Client(base_url=running.url, headers=running.bearer("app"), timeout=60) as client,
        ):
            for path, body in questions():
                client.post(path, json=body, headers={"x-note": TOLD})
            torn = {"model": "broken", "messages": [{"role": "user", "content": f"echo {ASKED}"}]}
            decided = client.post(CHAT, json={**torn, "stream": True})
            decided = client.post(CHAT, json={**torn, "model": "gate"})
            said = {
                "decision_id": decided.headers["x-gate-decision-id"],
                "correct": False,
                "note": SAID,
                "answer": SAID,
            }
            assert client.post("/v1/feedback", json=said).status_code == 200
            client.post(CHAT, content=f'{{"model": "gate", "{TOLD}'.encode())
            client.get(f"/v1/models/{ASKED}")
            client.get(f"/{ASKED}?{SAID}={TOLD}")
            yield running


def pages(running: Serving) -> Iterator[tuple[str, str]]:
    """Each page of the dashboard, as the boss sees it, with every decision's own."""
    with httpx.Client(base_url=running.url, follow_redirects=True, timeout=30) as boss:
        login = boss.get("/dashboard/login")
        token = re.search(r'name="token" value="([^"]+)"', login.text)
        fields = {"key": running.keys["boss"], **({"token": token[1]} if token else {})}
        home = boss.post("/dashboard/login", data=fields, headers={"origin": running.url})
        assert "/dashboard/login" not in str(home.url), home.text
        yield "/dashboard", home.text
        listed = boss.get("/dashboard/decisions").text
        own = sorted(set(re.findall(r"/dashboard/(?:decisions|review)/[0-9a-f]{20,}", listed)))
        assert own
        for page in ("/dashboard/decisions", "/dashboard/quality", "/dashboard/spend", "/dashboard/review", *own):
            shown = boss.get(page)
            assert shown.status_code == 200, page
            yield page, shown.text


def private(running: Serving, text: str) -> list[str]:
    words = (ASKED, SAID, TOLD, UPSTREAM_KEY, *running.keys.values())
    return [word for word in words if word in text]


def test_no_word_is_in_the_files_of_the_log(asked: Serving, tmp_path: Path) -> None:
    for _ in range(100):  # until all of it is there
        shown = gate("log", "show", "--url", f"sqlite:///{asked.folder / 'decisions.db'}", "--limit", "1000", "--json")
        if len(shown.json["decisions"]) > 59:
            break
    assert len(shown.json["decisions"]) > 59
    assert private(asked, shown.out) == []
    files = [path for path in asked.folder.iterdir() if path.name.startswith("decisions.db")]
    assert files
    for path in (*files, asked.folder / "keys.yaml"):
        assert private(asked, path.read_bytes().decode("latin-1")) == [], path
    out = tmp_path / "exported.jsonl"
    labels = tmp_path / "labels.csv"
    ran = gate(
        "log", "export", "--url", f"sqlite:///{asked.folder / 'decisions.db'}", "--out", out, "--labels", labels,
        "--all-labels",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert out.stat().st_size > 1000
    assert private(asked, out.read_text() + labels.read_text()) == []


def test_no_word_is_printed_or_logged(asked: Serving) -> None:
    lines = [json.loads(line) for line in (asked.folder / "stderr").read_text().splitlines()]
    assert sum(line["logger"] == "gate.access" for line in lines) > 59
    assert private(asked, asked.said) == []


def test_no_word_is_in_metrics_or_readiness(asked: Serving) -> None:
    for path in ("/metrics", "/readyz", "/healthz", "/openapi.json"):
        reply = httpx.get(asked.url + path, headers=asked.bearer("boss"))
        assert reply.status_code == 200
        assert private(asked, reply.text + str(reply.headers)) == []
        assert len(reply.text) < 200_000


def test_no_word_is_on_the_dashboard(asked: Serving) -> None:
    shown = dict(pages(asked))
    assert len(shown) > 10
    for page, text in shown.items():
        assert private(asked, text) == [], page


def test_the_upstream_was_told_its_own_key_and_no_other(asked: Serving, upstream: FaultyServer) -> None:
    for headers in upstream.headers:
        assert headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
        assert not any(key in str(headers) for key in asked.keys.values())
        assert TOLD not in str(headers)
