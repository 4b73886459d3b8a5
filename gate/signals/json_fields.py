"""JSON answers compared field by field: how many samples give each field the value the draft gives it."""

from __future__ import annotations

import functools
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, TypeAlias

from gate.evidence.draft import Draft
from gate.evidence.meanings import normalize
from gate.evidence.samples import Samples, draft_and_samples
from gate.ports import Evidence, Fact, Missing

Fields: TypeAlias = Mapping[str, Any]
"""The scalars and empty containers of a JSON value by their JSON pointers (RFC 6901)."""
_FENCED = re.compile(r"```\w*\n(.*)\n```", re.DOTALL)
MOST_NAMED = 20_000_000
"""Characters of all pointers together: long names, nested deep, over many fields would else fill the memory."""


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises `ValueError` for anything else: broken, too deep, infinite or not a number."""
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number out of range")
    return value


def fields(value: Any, at: str = "") -> dict[str, Any]:
    """Every field of a JSON value, in order; ``at`` is put before their pointers.

    Raises `ValueError` where the pointers are longer than any answer needs.
    """
    found: dict[str, Any] = {}
    left: list[tuple[str, Any]] = [(at, value)]
    named = 0
    while left:  # answers are too deep for recursion when they like
        pointer, item = left.pop()
        if isinstance(item, dict | list):
            named += len(pointer) * len(item)
        if named > MOST_NAMED:
            raise ValueError("too many fields with too long names")
        if isinstance(item, dict) and item:
            left.extend((f"{pointer}/{escaped(key)}", below) for key, below in reversed(item.items()))
        elif isinstance(item, list) and item:
            left.extend((f"{pointer}/{place}", item[place]) for place in reversed(range(len(item))))
        else:
            found[pointer] = item
    return found


def escaped(key: str) -> str:
    """A key as it stands in a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def shares(draft: Fields, samples: Sequence[Fields]) -> dict[str, float]:
    """For each field of the draft the share of the samples that give it the same value, in [0, 1].

    A field the draft lacks and most samples have counts too, with the share of the samples that lack it as well.
    Raises `ValueError` without samples.
    """
    if not samples:
        raise ValueError("agreement is a share of samples, and there are none")
    form = functools.cache(_form)
    held = {
        pointer: sum(pointer in sample and _same(value, sample[pointer], form) for sample in samples) / len(samples)
        for pointer, value in draft.items()
    }
    others = Counter(pointer for sample in samples for pointer in sample if pointer not in draft)
    lacked = {pointer: 1 - n / len(samples) for pointer, n in others.items() if 2 * n > len(samples)}
    return held | lacked


def _same(one: Any, other: Any, form: Callable[[str], str]) -> bool:
    """Whether two fields are equal: numbers as numbers, text after normalising, anything else as it is."""
    if isinstance(one, str) and isinstance(other, str):
        return one == other or form(one) == form(other)
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    return bool(one == other)


def _form(text: str) -> str:
    """Text in the form it is compared in. Where it has no space it is a name or a code, whose marks count."""
    if len(text.split()) > 1:
        return normalize(text)
    return unicodedata.normalize("NFKC", text).casefold().strip()


def field_agreement(draft: str, samples: Sequence[str]) -> dict[str, float]:
    """`shares` of answers that are JSON texts; a sample that is not agrees on nothing.

    Raises `ValueError` when the draft is no JSON object or array, and without samples.
    """
    return shares(_fields_of(draft), [fields_or_none(sample) for sample in samples])


def _fields_of(text: str) -> Fields:
    value = parse_json(json_part(text)[0])
    if not isinstance(value, dict | list):
        raise ValueError("neither an object nor an array")
    return fields(value)


def json_part(text: str) -> tuple[str, int]:
    """The text without the fence that models like to put around JSON, and where it begins."""
    fenced = _FENCED.fullmatch(text.strip())
    return (fenced[1], len(text) - len(text.lstrip()) + fenced.start(1)) if fenced else (text, 0)


def fields_or_none(text: str) -> Fields:
    """The fields of a JSON object or array; none of any other text."""
    try:
        return _fields_of(text)
    except ValueError:
        return {}


@dataclass(frozen=True, slots=True)
class JsonFieldAgreement:
    """Mean agreement of the samples with the fields of a draft that is JSON."""

    name = "json_field_agreement"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Samples)

    def measure(self, evidence: Evidence) -> float | Missing:
        given = draft_and_samples(evidence)
        if isinstance(given, Missing):
            return given
        draft, samples = given
        try:
            found = field_agreement(draft.text, [sample.text for sample in samples])
        except ValueError:
            return Missing("the draft is no JSON object or array")
        return min(1.0, math.fsum(found.values()) / len(found))
