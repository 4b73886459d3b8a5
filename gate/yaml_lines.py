"""YAML files that a person writes, read strictly: every error names file, line and the nearest key that is valid."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from gate.errors import ConfigError, UnknownName

Place = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Lines:
    """Where each key of a file stands."""

    path: Path
    of: Mapping[Place, int]

    def where(self, *place: str | int) -> str:
        """``file:line`` of a key, or of the nearest one above it."""
        while place and place not in self.of:
            place = place[:-1]
        return f"{self.path}:{self.of.get(place, 1)}"

    def below(self, *place: str | int) -> Lines:
        """The lines of one part, by their places in that part."""
        depth = len(place)
        return Lines(self.path, {p[depth:]: line for p, line in self.of.items() if p[:depth] == place})


def read(path: Path, what: str) -> tuple[dict[str, Any], Lines]:
    """A file that is one mapping, ``what`` by name ("policy"). Raises `ConfigError`, with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the {what}: {error}", where=str(path)) from error
    return parsed(text, path, what)


def parsed(text: str, path: Path, what: str) -> tuple[dict[str, Any], Lines]:
    """The same of a text that was read already."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"a {what} is a mapping of keys to values", where=f"{path}:1")
        lines = dict(_lines(node, (), path))
        return yaml.safe_load(text), Lines(path, lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"not YAML: {problem}", where=f"{path}:{line}") from error
    except RecursionError as error:
        raise ConfigError("nested too deep, or an alias that holds itself", where=f"{path}:1") from error
    except ValueError as error:  # PyYAML lets those of int(), float() and date() through
        raise ConfigError(f"a value that is none: {error}", where=f"{path}:1") from error


def checked(
    model: type[Model],
    data: Mapping[str, Any],
    lines: Lines,
    *,
    of: str = "",
    known: Mapping[Place, Iterable[str]] | None = None,
) -> Model:
    """The data as the model has it. Raises `ConfigError`: one error, as one sentence with file and line.

    ``of`` names the part where a key of it is missing; ``known`` the valid keys of places where the model cannot tell.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _refused(error, model, lines, of, known or {}) from error


def _lines(node: yaml.Node, place: Place, path: Path) -> Iterator[tuple[Place, int]]:
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError("a key must be a plain word", where=f"{path}:{key.start_mark.line + 1}")
            if key.value in seen:
                raise ConfigError(f"the key {key.value!r} stands twice", where=f"{path}:{key.start_mark.line + 1}")
            seen.add(key.value)
            yield (*place, key.value), key.start_mark.line + 1
            yield from ((p, line) for p, line in _lines(value, (*place, key.value), path) if p != (*place, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _lines(item, (*place, number), path)


def _refused(
    error: ValidationError,
    model: type[BaseModel],
    lines: Lines,
    of: str,
    known: Mapping[Place, Iterable[str]],
) -> ConfigError:
    """A misspelt key before the one it leaves missing."""
    listed = error.errors()
    first = next((e for e in listed if e["type"] == "extra_forbidden"), listed[0])
    place: Place = first["loc"] or first.get("ctx", {}).get("place", ())
    where = lines.where(*place)
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        above = place[:-1]
        return UnknownName("key", str(place[-1]), known.get(above) or _keys(model, above), where=where)
    if first["type"] == "missing":
        return ConfigError(f"the key {key!r}{f' of {of}' if of else ''} is missing", where=where)
    if first["type"] in {"literal_error", "enum"} and isinstance(first["input"], str):
        expected = re.findall(r"'([^']*)'", str(first["ctx"]["expected"]))
        return UnknownName(f"value of {key}", first["input"], expected, where=where)
    message = first["msg"].removeprefix("Value error, ")
    return ConfigError(f"{key}: {message}" if key else message, where=where)


def _keys(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that are valid at a place of the schema."""
    current: Any = model
    for part in place:
        fields = getattr(current, "model_fields", None)
        current = fields[part].annotation if fields and part in fields else current
        current = next(iter(_models(current)), current)
    fields = getattr(current, "model_fields", {})
    return sorted(name for name, field in fields.items() if not field.exclude)  # what is excluded no file may say


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every pydantic model named in an annotation."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)
