"""Answers that are values: pydantic models, dataclasses, enumerations, and what JSON itself has."""

from __future__ import annotations

import json
import re
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import to_jsonable_python

from gate.answer_shapes.looks import field
from gate.answer_shapes.shape import Read
from gate.types import Generation, Outcome

_FENCE = re.compile(r"\s*```[\w+-]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*```\s*", re.DOTALL)
_PLAIN = (dict, list, tuple, bool, int, float)


class Structured:
    """The text is the value's JSON, its keys in order, so that equal values have equal texts; of a value that JSON has
    as a string, that string."""

    name = "values (pydantic models, dataclasses, enumerations, dicts, lists, numbers)"

    def fits(self, value: object) -> bool:
        if isinstance(value, BaseModel):
            return not _of_a_conversation(value)
        if isinstance(value, type):
            return False
        return isinstance(value, (*_PLAIN, Enum)) or is_dataclass(value)

    def read(self, value: object) -> Read:
        return Read(Generation(_text(value)))

    def written(self, outcome: Outcome, like: object) -> object:
        """A value of the same type."""
        return fitted(outcome.text, like)


def fitted(text: str, like: object) -> object:
    """The value that a model wrote as JSON, in a Markdown fence or not, made one of the same type as ``like``.

    Raises `ValueError`, which says where it does not fit, but not what was there.
    """
    return made(type(like), text, spoken=isinstance(_jsonable(like), str))


def made(kind: Any, text: str, *, spoken: bool = False) -> object:
    """`fitted`, by the type itself. ``spoken``: JSON has its values as strings, which stand there without quotes."""
    fenced = _FENCE.fullmatch(text)
    inner = fenced[1] if fenced else text
    name = getattr(kind, "__qualname__", str(kind))
    try:
        adapter: TypeAdapter[object] = TypeAdapter(kind)
        if spoken:
            return adapter.validate_python(inner.strip())
        return adapter.validate_json(inner.encode("utf-8", "replace"))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        said = f"{place}: {wrong['msg']}" if place else wrong["msg"]
        raise ValueError(f"the answer does not fit into {name}: {said}") from None
    except PydanticUserError as error:
        raise ValueError(f"nothing can be made a {name} again: {error.code}") from error


def _of_a_conversation(value: BaseModel) -> bool:
    """Whether it is a part of a dialogue that is no answer: a piece of a stream, what a user said."""
    streamed = isinstance(field(value, "choices"), list) and isinstance(field(value, "object"), str)
    return streamed or isinstance(field(value, "response_metadata"), dict)


def _jsonable(value: object) -> Any:
    try:
        return to_jsonable_python(value, by_alias=True, round_trip=True)
    except (AttributeError, KeyError, RecursionError) as error:
        raise ValueError(f"a {type(value).__qualname__} cannot be written as JSON: {type(error).__name__}") from error


def _text(value: object) -> str:
    found = _jsonable(value)
    if isinstance(found, str):
        return found
    try:
        return json.dumps(found, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except RecursionError as error:
        raise ValueError(f"a {type(value).__qualname__} nests too deep to be written as JSON") from error
