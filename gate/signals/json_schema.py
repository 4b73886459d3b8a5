"""Whether a JSON value fits a JSON Schema, however hostile either may be.

The schema is the caller's and the value a model's: neither may make the gateway fetch anything, hang or fail. Nothing
outside the schema is looked up, patterns are matched in linear time, and a check has so many steps and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import orjson
from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators
from jsonschema.exceptions import SchemaError, UnknownType
from jsonschema.protocols import Validator
from pydantic_core import SchemaError as PatternError
from pydantic_core import SchemaValidator, core_schema
from referencing import Registry
from referencing.exceptions import Unresolvable

_STEPS = 50_000
"""What one check may cost. A few lines of schema can ask for more than any machine will ever do."""
_LONGEST_SCHEMA = 100_000
"""In bytes."""
_LONGEST_MATCHED = 1_000
"""Characters of a text that a pattern is matched with: linear time has a factor, the pattern's own size."""
_UNJUDGED = frozenset({"patternProperties", "unevaluatedItems", "unevaluatedProperties"})
"""Keywords that match patterns or follow references on ways of their own."""
_NO_FORMATS = FormatChecker(formats=())


class Unjudged(ValueError):
    """The schema is broken, or whether the value fits cannot be said. The message is the reason and quotes neither."""


@dataclass(slots=True)
class Steps:
    """The steps a check has left."""

    left: int = _STEPS

    def take(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise Unjudged("checking it would take too long")


_left: ContextVar[Steps] = ContextVar("steps left in the check under way")


def fits(value: Any, schema: Any) -> bool:
    """Whether a JSON value is valid under a schema (draft 2020-12, or the one it names in ``$schema``).

    Raises `Unjudged`. ``format`` is not looked at, as the specification has it by default.
    """
    try:
        text = orjson.dumps(schema)
    except TypeError as error:
        raise Unjudged("the schema is no JSON") from error
    validator = _validator(text)
    if isinstance(validator, str):
        raise Unjudged(validator)
    token = _left.set(Steps())
    try:
        return bool(validator.is_valid(value))
    except Unresolvable as error:
        raise Unjudged("the schema refers to something outside itself") from error
    except Unjudged:
        raise
    except ValueError as error:  # an address that is none
        raise Unjudged("the schema is broken") from error
    except RecursionError as error:
        raise Unjudged("schema or value are nested too deeply") from error
    except ArithmeticError as error:
        raise Unjudged("a number is out of range") from error
    except (AttributeError, LookupError, TypeError, UnknownType) as error:  # what a reference leads to is not checked
        raise Unjudged("a reference leads to what is no schema") from error
    finally:
        _left.reset(token)


@lru_cache(maxsize=64)
def _validator(text: bytes) -> Validator | str:
    """What checks values against a schema, or the reason why nothing can."""
    if len(text) > _LONGEST_SCHEMA:
        return "the schema is too long to judge"
    schema = orjson.loads(text)
    if not isinstance(schema, dict):
        return "the schema is no object"
    dialect = schema.pop("$schema", "")
    if not isinstance(dialect, str) or b'"$schema":"' in orjson.dumps(schema):
        return "the schema names a dialect where it may not"
    try:
        known = validators.validator_for({"$schema": dialect} if dialect else {}, default=Draft202012Validator)
        known.check_schema(schema, format_checker=_NO_FORMATS)
    except (SchemaError, ValueError):  # ValueError: an address that is none
        return "the schema is broken"
    except RecursionError:
        return "the schema is nested too deeply"
    return _bounded(known)(schema, registry=Registry())


@cache
def _bounded(known: type[Validator]) -> Any:
    """The validator of a dialect with every keyword counted and patterns matched in linear time."""
    keywords = {**known.VALIDATORS, "pattern": _pattern}
    return validators.extend(known, {name: _counted(name, keyword) for name, keyword in keywords.items()})


def _counted(name: str, keyword: Any) -> Any:
    def apply(validator: Any, wanted: Any, instance: Any, schema: Any) -> Any:
        _left.get().take(len(schema) + _steps(name, wanted, instance))
        if not _UNJUDGED.isdisjoint(schema):
            raise Unjudged(f"{min(_UNJUDGED & schema.keys())} is not looked at")
        return keyword(validator, wanted, instance, schema)

    return apply


def _steps(name: str, wanted: Any, instance: Any) -> int:
    """About what applying a keyword costs, what it leads to not counted."""
    if name == "uniqueItems" and isinstance(instance, list):
        return 1 + len(instance) ** 2
    if name == "pattern" and isinstance(instance, str):
        return 1 + 10 * len(instance)
    return 1 + (len(wanted) if isinstance(wanted, list | dict) else 0)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and len(instance) > _LONGEST_MATCHED:
        raise Unjudged("a text is too long to match a pattern with")
    if isinstance(instance, str) and not _matcher(pattern).isinstance_python(instance):
        yield ValidationError("the pattern does not match")


@lru_cache(maxsize=32)
def _matcher(pattern: str) -> SchemaValidator:
    """Finds a pattern anywhere in a text, in time linear in the text: no look-around, no back-references."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex", strict=True))
    except PatternError as error:
        raise Unjudged("a pattern cannot be matched in linear time") from error
