from __future__ import annotations

import asyncio
from typing import Any, cast

from openai import AsyncStream, Stream
from openai.types.chat import ChatCompletionChunk

from gate.clients.held_stream import HeldAsyncStream, HeldStream
from gate.decorator.decided import Decided

DECIDED = cast("Decided[Any]", object())


def pieces(*texts: str) -> list[dict[str, Any]]:
    choices = [[{"index": 0, "delta": {"content": text}, "finish_reason": None}] for text in texts]
    return [{"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": c} for c in choices]


def said(chunk: ChatCompletionChunk) -> str | None:
    return chunk.choices[0].delta.content


def test_it_is_a_stream_of_the_librarys_chunks() -> None:
    stream = HeldStream(pieces("a", "b", "c"), DECIDED)
    assert isinstance(stream, Stream)
    first = next(stream)
    assert isinstance(first, ChatCompletionChunk)
    assert [said(first), *map(said, stream)] == ["a", "b", "c"]
    assert next(stream, None) is None
    assert stream.response.status_code == 200


def test_closing_it_ends_it() -> None:
    with HeldStream(pieces("a", "b"), DECIDED) as stream:
        assert said(next(stream)) == "a"
    assert list(stream) == []


def test_the_same_on_an_event_loop() -> None:
    async def main() -> None:
        stream = HeldAsyncStream(pieces("a", "b", "c"), DECIDED)
        assert isinstance(stream, AsyncStream)
        first = await anext(stream)
        assert [said(first), *[said(chunk) async for chunk in stream]] == ["a", "b", "c"]
        assert await anext(stream, None) is None
        async with HeldAsyncStream(pieces("a", "b"), DECIDED) as closed:
            assert said(await anext(closed)) == "a"
        assert [chunk async for chunk in closed] == []

    asyncio.run(main())
