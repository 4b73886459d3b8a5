"""Calls that somebody has labelled as right or wrong: what a tool gate is fitted and certified on.

The label is of the call that would run, not of a sample. A file of them is JSON lines::

    {"question": "Book me a room in Oslo for two nights",
     "call": {"name": "book_room", "arguments": {"city": "Oslo", "nights": 2}},
     "samples": [{"name": "book_room", "arguments": {"city": "Oslo", "nights": 3}}, null],
     "right": true}

``call`` and each sample is one call, a list of calls, or null for a sample that makes none; ``right`` is one label, or
a list of one for each call. ``tokens`` may hold [token, log-probability] pairs of the reply.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gate.agents.call_readings import read_calls
from gate.errors import ConfigError
from gate.types import Generation, JsonObject, TokenLogprob, ToolCall


@dataclass(frozen=True, slots=True)
class LabelledCall:
    """One call of a reply, beside the samples there are of it."""

    draft: Generation
    right: bool
    samples: tuple[Generation, ...] = ()
    place: int = 0
    """Of the call among those of the draft."""
    question: str = ""
    """Or task. Calls of one question stay together, and one of them counts in certifying; "" = it stands alone, and
    counts once however often the same call with the same samples is listed."""

    @property
    def call(self) -> ToolCall:
        return self.draft.tool_calls[self.place]


def labelled_calls(
    reply: Any, right: bool | Sequence[bool], *, samples: Sequence[Any] = (), question: str = ""
) -> tuple[LabelledCall, ...]:
    """Every call of a reply of any shape, with its label. Raises `ValueError` unless there is one label for each."""
    read = read_calls(reply)
    labels = [right] if isinstance(right, bool) else list(right)
    if len(labels) != len(read.generation.tool_calls):
        raise ValueError(f"need a label for each of {len(read.generation.tool_calls)} calls, got {len(labels)}")
    others = (*read.others, *(read_calls(sample).generation for sample in samples))
    return tuple(LabelledCall(read.generation, label, others, n, question) for n, label in enumerate(labels))


class _Call(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str = ""
    name: str
    arguments: JsonObject | str = {}

    def tool_call(self) -> ToolCall:
        said = self.arguments
        return ToolCall(self.id, self.name, said if isinstance(said, str) else json.dumps(said, ensure_ascii=False))


_Calls = _Call | list[_Call] | None
_Logprob = Annotated[float, Field(le=0, allow_inf_nan=False)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")
    question: str = ""
    call: _Call | list[_Call]
    samples: list[_Calls] = []
    right: bool | list[bool]
    tokens: list[tuple[str, _Logprob]] | None = None


_LINE = TypeAdapter(_Line)


def read_labelled(path: Path | str) -> tuple[LabelledCall, ...]:
    """The calls of a file of JSON lines. Raises `ConfigError` with file and line."""
    return tuple(_read(Path(path)))


def _read(path: Path) -> Iterator[LabelledCall]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the labelled calls: {error}", where=str(path)) from error
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = _LINE.validate_json(text)
            tokens = None if line.tokens is None else tuple(TokenLogprob(*pair) for pair in line.tokens)
            draft = Generation("", "tool_calls", tokens, _calls(line.call))
            samples = [Generation("", "tool_calls", tool_calls=_calls(each)) for each in line.samples]
            yield from labelled_calls(draft, line.right, samples=samples, question=line.question)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ConfigError(
                f"no labelled call: {place or 'line'}: {first['msg']}", where=f"{path}:{number}"
            ) from None
        except ValueError as error:
            raise ConfigError(f"no labelled call: {error}", where=f"{path}:{number}") from error


def _calls(said: _Calls) -> tuple[ToolCall, ...]:
    listed = said if isinstance(said, list) else [said]
    return tuple(each.tool_call() for each in listed if each is not None)
