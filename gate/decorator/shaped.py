"""How the answers of a guarded function are read, and how another answer is written in their likeness.

An answer is one object of a shape in `gate.answer_shapes`, or comes in pieces: of text, or chunks as the ``openai``
library has them.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Protocol

from pydantic import BaseModel

from gate.answer_shapes import Read, shape_of
from gate.types import Generation, Outcome
from gate.upstreams.openai_chat import read_chat
from gate.upstreams.openai_stream import Chunks


class Form(Protocol):
    in_pieces: bool

    def read(self, value: Any, named: str) -> Read:
        """What a function of this name gave. Raises `TypeError` where it is none, `ValueError` for a broken one."""
        ...

    def written(self, outcome: Outcome, like: Any) -> Any:
        """Raises `ValueError` where it cannot be."""
        ...


class Whole:
    """Fits `Form`: one object."""

    in_pieces = False

    def read(self, value: Any, named: str) -> Read:
        try:
            return shape_of(value).read(value)
        except TypeError as error:
            raise TypeError(f"{named} returned {_a(value)}, which is no answer{_advice(value)}: {error}") from None
        except ValueError as error:
            raise ValueError(f"{named} returned {_a(value)}, which holds no answer: {error}") from error

    def written(self, outcome: Outcome, like: Any) -> Any:
        return shape_of(like).written(outcome, like)


def _a(value: object) -> str:
    return "None" if value is None else f"a {type(value).__qualname__}"


def _advice(value: object) -> str:
    if inspect.isawaitable(value) or asyncio.isfuture(value):
        return " (if it is to be awaited, guard an 'async def' that awaits it)"
    if isinstance(value, Iterator | AsyncIterator):
        return " (if it comes in pieces, guard a generator that yields them)"
    return ""


class Pieces:
    """Fits `Form`: what a generator yields, as a tuple."""

    in_pieces = True

    def read(self, value: Sequence[Any], named: str) -> Read:
        for piece in value:
            self.check(piece, named)
        if all(isinstance(piece, str) for piece in value):
            return Read(Generation("".join(value)))
        chunks = Chunks()
        for piece in value:
            chunks.add({"choices": [{"delta": {"content": piece}}]} if isinstance(piece, str) else _plain(piece))
        said = read_chat(named, chunks.reply())
        return Read(said.choices[0], usage=said.usage, model=said.model)

    def check(self, piece: object, named: str) -> None:
        if not isinstance(piece, str) and not _is_chunk(piece):
            raise TypeError(
                f"{named} yields {_a(piece)}: pieces of an answer are text, or chunks with choices[0].delta"
            )

    def written(self, outcome: Outcome, like: Sequence[Any]) -> tuple[Any, ...]:
        """The text in one piece; of chunks the first that said something says it, and the last ends it."""
        telling = [piece for piece in like if isinstance(piece, str) or _said(piece) is not None]
        if not telling:
            raise ValueError("no piece has text")
        if isinstance(telling[0], str):
            return (outcome.text,)
        if outcome.generation is not None and outcome.generation.tool_calls:
            raise ValueError("calls of tools are not written as chunks")
        first, last = copy.deepcopy(telling[0]), copy.deepcopy(_choosing(like)[-1])
        first.choices[0].delta.content = outcome.text
        if last.choices[0].delta is not None:
            last.choices[0].delta.content = None
        for piece, finish in ((first, None), (last, "stop")):
            if hasattr(piece.choices[0], "logprobs"):
                piece.choices[0].logprobs = None
            piece.choices[0].finish_reason = finish
        return first, last


def _choosing(pieces: Sequence[Any]) -> list[Any]:
    return [piece for piece in pieces if not isinstance(piece, str) and piece.choices]


def _is_chunk(piece: object) -> bool:
    choices = getattr(piece, "choices", None)
    return isinstance(choices, list) and (not choices or hasattr(choices[0], "delta"))


def _said(piece: Any) -> str | None:
    return (getattr(piece.choices[0].delta, "content", None) or None) if piece.choices else None


def _plain(piece: Any) -> dict[str, Any]:
    """A chunk as JSON. Of an object that is of no such class, the text and how it ends."""
    if isinstance(piece, BaseModel):
        return piece.model_dump(warnings=False)
    if not piece.choices:
        return {"choices": []}
    choice = piece.choices[0]
    finish = getattr(choice, "finish_reason", None)
    return {"choices": [{"delta": {"content": getattr(choice.delta, "content", None)}, "finish_reason": finish}]}
