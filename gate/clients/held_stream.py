"""Streams of a completion that was held until it was judged: what ``create(stream=True)`` of a wrapped client gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from importlib import import_module
from typing import Any, Self

from openai import AsyncStream, DefaultHttpxClient, Stream
from openai.types.chat import ChatCompletionChunk

from gate.decorator.decided import Decided

_HTTP = next(name for kind in DefaultHttpxClient.__mro__ if (name := kind.__module__.split(".")[0]).startswith("httpx"))
"""The HTTP library that the client's library uses: its successor has another name."""
_Response: Any = import_module(_HTTP).Response


class HeldStream(Stream[ChatCompletionChunk]):
    """All of it is there already: closing it only ends it."""

    gate: Decided[Any]
    """The decision; of the first answer, where there are several."""

    def __init__(self, chunks: Iterable[dict[str, Any]], decided: Decided[Any]) -> None:
        self.response = _Response(200)
        self.gate = decided
        self._iterator = (ChatCompletionChunk.construct(None, **chunk) for chunk in chunks)

    def __next__(self) -> ChatCompletionChunk:
        return next(self._iterator)

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        return self._iterator

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._iterator = iter(())
        self.response.close()


class HeldAsyncStream(AsyncStream[ChatCompletionChunk]):
    """All of it is there already: closing it only ends it."""

    gate: Decided[Any]
    """The decision; of the first answer, where there are several."""

    def __init__(self, chunks: Iterable[dict[str, Any]], decided: Decided[Any]) -> None:
        self.response = _Response(200)
        self.gate = decided
        self._chunks = iter([ChatCompletionChunk.construct(None, **chunk) for chunk in chunks])

    async def __anext__(self) -> ChatCompletionChunk:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration

    async def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        for chunk in self._chunks:
            yield chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self._chunks = iter(())
        await self.response.aclose()
