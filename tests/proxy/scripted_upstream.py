"""An OpenAI-compatible server for `tests.upstreams.faulty_server`, which answers by what it is asked.

It calls tools, writes JSON, sees images, embeds, streams whatever it says where it is asked to, and fails on demand:
a question that holds ``status 429`` gets that status, ``unsure`` another answer each time, ``echo`` its own words.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any

from tests.upstreams.faulty_server import DONE, Behaviour, _Handler, event

CITY = {"city": "Lagos", "country": "Nigeria"}
ANSWER = "Lagos is in Nigeria."
SUNNY = "It is sunny there."
RED = "A red square."
COMPLETED = " Nigeria"
_PIECE = re.compile(r"\s*\S+")
_COUNTRIES = cycle(("Peru", "Chad", "Nepal", "Finland", "Jordan", "Fiji", "Belize", "Qatar", "Malta", "Gabon", "Oman"))
Message = dict[str, Any]


def scripted(handler: _Handler, asked: dict[str, Any]) -> None:
    try:
        _answer(handler, asked, handler.path)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        said = {"message": f"this is no request: {type(error).__name__}", "type": "invalid_request_error"}
        handler.send(400, json.dumps({"error": said}).encode())


def _answer(handler: _Handler, asked: dict[str, Any], path: str) -> None:
    if found := re.search(r"status (\d{3})", _last(asked)):
        said = f"upstream says {found[1]} to: {_last(asked)}"
        error = {"message": said, "type": "x", "param": None, "code": "as_asked"}
        wait = {"retry-after": "7"} if found[1] == "429" else {}
        handler.send(int(found[1]), json.dumps({"error": error}).encode(), wait)
    elif path.endswith("/chat/completions"):
        _chat(handler, asked)
    elif path.endswith("/completions"):
        _completions(handler, asked)
    else:
        _embeddings(handler, asked)


def cut(after: int) -> Behaviour:
    """Streams as `scripted` does, and breaks off in the middle of an event after so many."""

    def behave(handler: _Handler, asked: dict[str, Any]) -> None:
        parts = [event(each) for each in _chunks(asked, [_said(asked)])]
        whole, torn = parts[:after], parts[after][: len(parts[after]) // 2]
        handler.stream([*whole, torn], content_type="text/event-stream", pause=0.0, ended=False)

    return behave


# --- what is said ------------------------------------------------------------------------------------------------


def _said(asked: Mapping[str, Any]) -> Message:
    messages, text = asked["messages"], _last(asked)
    shape = asked.get("response_format", {}).get("type")
    if messages[-1]["role"] == "tool":
        return _text(SUNNY)
    if asked.get("tools") and asked.get("tool_choice") != "none" and "weather" in text:
        cities = re.findall(r"\b[A-Z][a-z]+\b(?=\s*(?:and|\?|$))", text) or ["Lagos"]
        return {"role": "assistant", "content": None, "tool_calls": [_call(*one) for one in enumerate(cities)]}
    if shape in ("json_schema", "json_object"):
        return _text(json.dumps({**CITY, "country": next(_COUNTRIES)} if "unsure" in text else CITY))
    if any(isinstance(each["content"], list) and "image_url" in str(each["content"]) for each in messages):
        return _text(RED)
    if "unsure" in text:
        return _text(next(_COUNTRIES))
    return _text(text if "echo" in text else ANSWER)


def _text(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _call(place: int, city: str) -> dict[str, Any]:
    function = {"name": "weather", "arguments": json.dumps({"city": city})}
    return {"id": f"call_{place}", "type": "function", "function": function}


def _last(asked: Mapping[str, Any]) -> str:
    if "messages" not in asked:
        return str(asked.get("prompt", asked.get("input", "")))
    users = [each["content"] for each in asked["messages"] if each["role"] == "user"]
    content = users[-1] if users else ""
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return str(content)


# --- how it is said ----------------------------------------------------------------------------------------------


def _chat(handler: _Handler, asked: dict[str, Any]) -> None:
    messages = [_said(asked) for _ in range(asked.get("n") or 1)]
    if asked.get("stream"):
        parts = [*(event(each) for each in _chunks(asked, messages)), DONE]
        handler.stream(parts, content_type="text/event-stream", pause=0.0, ended=True)
        return
    choices = [
        {
            "index": place,
            "message": message,
            "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
            "logprobs": _logprobs(message["content"] or "") if asked.get("logprobs") else None,
        }
        for place, message in enumerate(messages)
    ]
    handler.send(200, json.dumps({"model": "m-1", "choices": choices, "usage": _usage(len(messages))}).encode())


def _chunks(asked: Mapping[str, Any], messages: list[Message]) -> Iterator[dict[str, Any]]:
    def chunk(place: int, delta: Message, finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        choice = {"index": place, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        return {"model": "m-1", "choices": [choice]}

    for place, message in enumerate(messages):
        yield chunk(place, {"role": "assistant", "content": ""})
        for piece in _PIECE.findall(message["content"] or ""):
            yield chunk(place, {"content": piece}, logprobs=_logprobs(piece) if asked.get("logprobs") else None)
        for at, call in enumerate(message.get("tool_calls", ())):
            function = call["function"]
            yield chunk(place, {"tool_calls": [{"index": at, **call, "function": {**function, "arguments": ""}}]})
            yield chunk(place, {"tool_calls": [{"index": at, "function": {"arguments": function["arguments"]}}]})
        yield chunk(place, {}, "tool_calls" if "tool_calls" in message else "stop")
    if (asked.get("stream_options") or {}).get("include_usage"):
        yield {"model": "m-1", "choices": [], "usage": _usage(len(messages))}


def _logprobs(text: str) -> dict[str, Any]:
    def one(piece: str) -> dict[str, Any]:
        return {"token": piece, "logprob": -0.01, "bytes": list(piece.encode())}

    return {"content": [{**one(piece), "top_logprobs": [one(piece)]} for piece in _PIECE.findall(text)]}


def _usage(answers: int) -> dict[str, int]:
    return {"prompt_tokens": 7, "completion_tokens": 5 * answers, "total_tokens": 7 + 5 * answers}


# --- what is passed through --------------------------------------------------------------------------------------


def _completions(handler: _Handler, asked: dict[str, Any]) -> None:
    def made(text: str, finish: str | None) -> dict[str, Any]:
        choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
        return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": asked["model"], "choices": [choice]}

    if asked.get("stream"):
        parts = [event(made(COMPLETED, None)), event(made("", "stop")), DONE]
        handler.stream(parts, content_type="text/event-stream", pause=0.0, ended=True)
    else:
        handler.send(200, json.dumps({**made(COMPLETED, "stop"), "usage": _usage(1)}).encode())


def _embeddings(handler: _Handler, asked: dict[str, Any]) -> None:
    texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
    rows: list[list[float]] = [[float(len(text)), 1.0] for text in texts]
    coded = asked.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": place, "embedding": _base64(row) if coded else row}
        for place, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": 3 * len(rows), "total_tokens": 3 * len(rows)}
    handler.send(200, json.dumps({"object": "list", "model": asked["model"], "data": data, "usage": usage}).encode())


def _base64(row: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode()
