"""What a client sees: the events of a stream as they come, and what they come to by the rules of each door."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Queue
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx

from gate.log.entries import Entry
from gate.proxy.doors import CHAT, DOORS, Door
from tests.proxy.raw_http import opened

ASK: dict[str, dict[str, Any]] = {
    "chat": {"model": "gate", "messages": [{"role": "user", "content": "Where is Lagos?"}]},
    "responses": {"model": "gate", "input": "Where is Lagos?"},
    "messages": {"model": "gate", "messages": [{"role": "user", "content": "Where is Lagos?"}], "max_tokens": 50},
}


_PLAINLY: dict[str, Any] = {"verify": False, "trust_env": False, "timeout": 20}
"""Without the certificates of the machine, which take longer to read than gate takes to answer."""


def asking(door: Door = CHAT, **fields: Any) -> dict[str, Any]:
    return {**ASK[door.name], **fields}


def ask(url: str, door: Door = CHAT, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    with httpx.Client(**_PLAINLY) as client:
        return client.post(url + door.path, json=asking(door, **fields), headers=headers)


def get(url: str, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    with httpx.Client(**_PLAINLY) as client:
        return client.get(url + path, headers=headers)


@dataclass(frozen=True)
class Event:
    name: str
    """"" where the dialect gives it none, and ``comment``."""
    data: Any = None


@contextmanager
def streaming(
    url: str, door: Door = CHAT, headers: dict[str, str] | None = None, **fields: Any
) -> Iterator[tuple[httpx.Response, Iterator[Event]]]:
    """The response, and its events as they come."""
    asked = asking(door, stream=True, **fields)
    with (
        httpx.Client(**_PLAINLY) as client,
        client.stream("POST", url + door.path, json=asked, headers=headers) as response,
    ):
        yield response, events_of(response.iter_lines())


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    name = ""
    for line in lines:
        if line.startswith(":"):
            yield Event("comment", line[1:].strip())
        elif line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = line.removeprefix("data: ")
            yield Event(name, data if data == "[DONE]" else json.loads(data))
        elif not line:
            name = ""


@dataclass
class Seen:
    """What a client makes of a whole stream."""

    text: str = ""
    """All that was shown as an answer."""
    instead: str = ""
    """What was shown as a refusal, or in the place of what was withdrawn."""
    finish: str = ""
    """How it says that it ended."""
    gate: Any = None
    """The object of the last event that holds one."""
    error: Any = None
    calls: list[Any] = field(default_factory=list)
    kept_alive: int = 0


def seen(door: Door, events: Sequence[Event] | Iterator[Event]) -> Seen:
    made = Seen()
    for event in events:
        if event.name in ("comment", "ping"):
            made.kept_alive += 1
        elif event.data != "[DONE]":
            _READ[door.name](made, event)
    return made


def _chat(made: Seen, event: Event) -> None:
    made.gate = event.data.get("gate", made.gate)
    made.error = event.data.get("error", made.error)
    for choice in event.data.get("choices", ()):
        made.text += choice["delta"].get("content") or ""
        made.instead += choice["delta"].get("refusal") or ""
        made.calls += choice["delta"].get("tool_calls") or []
        made.finish = choice["finish_reason"] or made.finish


def _responses(made: Seen, event: Event) -> None:
    assert event.name == event.data["type"]
    match event.name:
        case "response.output_text.delta":
            made.text += event.data["delta"]
        case "response.refusal.delta":
            made.instead += event.data["delta"]
        case "response.completed" | "response.incomplete" | "response.failed":
            made.finish = event.name.removeprefix("response.")
            made.gate = event.data["response"].get("gate", made.gate)
            made.calls += [item for item in event.data["response"]["output"] if item["type"] == "function_call"]
        case "error":
            made.error = event.data


def _messages(made: Seen, event: Event) -> None:
    assert event.name == event.data["type"]
    match event.name:
        case "content_block_delta" if event.data["delta"]["type"] == "text_delta":
            if event.data["index"] == 0:
                made.text += event.data["delta"]["text"]
            else:
                made.instead += event.data["delta"]["text"]
        case "content_block_start" if event.data["content_block"]["type"] == "tool_use":
            made.calls.append(event.data["content_block"])
        case "message_delta":
            made.finish, made.gate = event.data["delta"]["stop_reason"], event.data.get("gate")
        case "error":
            made.error, made.gate = event.data["error"], event.data.get("gate")


_READ = {"chat": _chat, "responses": _responses, "messages": _messages}
assert _READ.keys() == {door.name for door in DOORS}


def sent_and_open(url: str, body: dict[str, Any], path: str = CHAT.path, headers: str = "") -> socket.socket:
    """A connection on which a request was sent and nothing was read: to be closed in the middle of it."""
    content, host = json.dumps(body).encode(), urlsplit(url).netloc
    sock = opened(url)
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(content)}\r\n{headers}\r\n"
    sock.sendall(head.encode() + content)
    return sock


def until(done: Any) -> None:
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.005)


class Noted:
    """A decision log that only notes what it is given. Fits `gate.log.opening.DecisionLog` as far as `Service` asks."""

    place = "memory"

    def __init__(self) -> None:
        self.entries: Queue[Entry] = Queue()
        self.full = False
        self.writer = self
        self.reader = SimpleNamespace()
        self.written = self.dropped = self.failed = self.waiting = 0

    def put(self, entry: Entry) -> bool:
        self.entries.put(entry)
        return True

    def next(self) -> Entry:
        return self.entries.get(timeout=10)

    @property
    def empty(self) -> bool:
        return self.entries.empty()
