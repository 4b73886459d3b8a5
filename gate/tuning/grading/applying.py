"""Applying graders: from a name to a grader, and one way to run those that ask and those that do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic import ValidationError

from gate.effects import Flow, Reply
from gate.errors import ConfigError, UnknownName
from gate.tuning.grading import GRADERS
from gate.tuning.grading.grade import Grade, Grader
from gate.tuning.grading.model import ModelGrader
from gate.types import Cost, Question

AnyGrader: TypeAlias = Grader | ModelGrader


def grader(name: str, options: Mapping[str, Any] | None = None) -> AnyGrader:
    """The grader of this name. Raises `UnknownName`, and `ConfigError` for options it does not take."""
    kinds = {kind.name: kind for kind in GRADERS}
    if name not in kinds:
        raise UnknownName("grader", name, kinds)
    try:
        return kinds[name].model_validate(dict(options or {}))
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise ConfigError(f"grader {name!r}, option {at!r}: {first['msg']}") from error


def named_options(listed: Iterable[str]) -> dict[str, str]:
    """Options that are written as name=value. Raises `ConfigError`."""
    options: dict[str, str] = {}
    for option in listed:
        name, sign, options[name] = option.partition("=")
        if not (name and sign):
            raise ConfigError(f"an option is given as name=value, not as {option!r}")
    return options


def graded(by: AnyGrader, question: Question, answer: str, references: Sequence[str]) -> Flow[Reply[Grade]]:
    """The grade and what it cost: nothing, unless the grader asks an upstream."""
    if isinstance(by, ModelGrader):
        return (yield from by.ask(question, answer, references))
    return Reply(by.grade(question, answer, references), Cost())
