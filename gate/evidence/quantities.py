"""Quantities and dates: reading a whole short answer as one, so that 3.5 km is 3500 m and 12 March 2020 is 2020-03-12.

Read are numbers in digits (1,000; 1 000; 3,5; 2.5e6; 3 × 10^8; 1/2; 3 ½) or English words (one thousand; 3.5 million),
with a unit, a currency or a noun, and dates written out in English or in digits. What is ambiguous (03/04/2020), holds
anything more, or is not plainly one of these is not read: None is always safe. Values are exact fractions.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from gate.evidence.units import CURRENCIES, Unit, unit

_LONGEST = 100
"""Characters; no quantity is longer, and it bounds the size of the numbers."""


@dataclass(frozen=True, slots=True)
class Quantity:
    value: Fraction
    """In ``kind``."""
    kind: str
    """The unit it is compared in, the noun counted, or "" for a bare number or a share."""


@dataclass(frozen=True, slots=True)
class Date:
    """A day of the calendar; ``day`` or ``year`` is None where none was named."""

    year: int | None
    month: int
    day: int | None


def quantity(text: str) -> Quantity | Date | None:
    """What the whole of ``text`` says, when it says one quantity or one date."""
    plain = _plain(text)
    return None if plain is None else _date(plain) or _quantity(plain)


def same_quantity(one: Quantity | Date, other: Quantity | Date, tolerance: float = 0.0) -> bool:
    """Whether both are the same date, or of one kind and no further apart than a share of the larger, ``tolerance``."""
    if one == other or isinstance(one, Date) or isinstance(other, Date):
        return one == other
    if one.kind != other.kind:
        return False
    allowed = Fraction(repr(tolerance)) * max(abs(one.value), abs(other.value))
    return abs(one.value - other.value) <= allowed


# --- what stands around it ---------------------------------------------------------------------------------------

_AROUND = re.compile(
    r"(?:(?:about|approximately|approx\.?|around|roughly|circa|ca\.|it['\u2019]s|it is|it was|that is|that['\u2019]s"
    r"|the answer is|answer:|on|in|the year)\s+|[~\u2248=]\s*)+",
    re.IGNORECASE,
)
_VULGAR = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
_RAISED = re.compile(r"(?<=\d)(?=[\u207b\u2070\u00b9\u00b2\u00b3\u2074-\u2079])")


def _plain(text: str) -> str | None:
    """The text in plain characters, without what may stand around a quantity; None when it is too long for one."""
    if len(text) > 2 * _LONGEST:
        return None
    parted = _RAISED.sub("^", _VULGAR.sub(" ", text))
    folded = unicodedata.normalize("NFKC", parted).translate({0x2212: "-", 0x2044: "/"})
    bare = " ".join(folded.split()).strip("*\"'\u201c\u201d ").rstrip(".!")
    found = _AROUND.match(bare)
    bare = bare[found.end() :] if found else bare
    return bare if 0 < len(bare) <= _LONGEST else None


# --- dates -------------------------------------------------------------------------------------------------------

_MONTHS = {
    name: place
    for place, names in enumerate(
        (
            ("january", "jan"), ("february", "feb"), ("march", "mar"), ("april", "apr"), ("may",), ("june", "jun"),
            ("july", "jul"), ("august", "aug"), ("september", "sep", "sept"), ("october", "oct"), ("november", "nov"),
            ("december", "dec"),
        ),
        1,
    )
    for name in names
}  # fmt: skip
_WEEKDAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,? )?(?:the )?"
_DAY, _MONTH, _YEAR = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?", r"(?P<month>[a-z]{3,9})\.?", r"(?P<year>\d{4})"
_WRITTEN = tuple(
    re.compile(_WEEKDAY + pattern, re.IGNORECASE | re.ASCII)
    for pattern in (
        rf"{_DAY}(?: of)? {_MONTH}(?:,? {_YEAR})?",
        rf"{_MONTH} {_DAY}(?:,? {_YEAR})?",
        rf"{_MONTH},? {_YEAR}",
        r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})",
        r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})",
    )
)
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)


def _date(text: str) -> Date | None:
    for pattern in _WRITTEN:
        found = pattern.fullmatch(text)
        if found:
            parts = found.groupdict()
            month = _MONTHS.get(parts["month"].lower()) or (int(parts["month"]) if parts["month"].isdigit() else None)
            year, day = parts["year"], parts.get("day")
            return _checked(None if year is None else int(year), month, None if day is None else int(day))
    found = _SLASHED.fullmatch(text)
    if not found:
        return None
    first, second, year = map(int, found.groups())
    if first <= 12 and second <= 12 and first != second:  # nobody can tell which is the month
        return None
    return _checked(year, min(first, second), max(first, second))


def _checked(year: int | None, month: int | None, day: int | None) -> Date | None:
    if month is None:
        return None
    try:
        datetime.date(2000 if year is None else year, month, 1 if day is None else day)
    except ValueError:
        return None
    return Date(year, month, day)


# --- numbers -----------------------------------------------------------------------------------------------------

_DIGITS = r"\d{1,3}(?:(?:,\d{3})+|(?:[ '_]\d{3})+)(?![\d,'_])(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?P<whole>\d+ )?(?P<above>\d+) ?/ ?(?P<below>\d+)(?![\d/.,])"
    r"|10 ?\^ ?(?P<ten>[-+]?\d{1,3})(?!\d)"
    rf"|(?P<digits>{_DIGITS})"
    r"(?:[eE](?P<e>[-+]?\d{1,3})(?!\d)| ?[x\u00d7*] ?10 ?\^ ?(?P<power>[-+]?\d{1,3})(?!\d))?",
    re.ASCII,
)
_FRONT = re.compile(rf"(?P<sign>[-+]?) ?(?P<money>(?:{'|'.join(map(re.escape, CURRENCIES))}) ?)?(?P<second>[-+]?)")
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_SHORT = {"k": 10**3, "m": 10**6, "mn": 10**6, "bn": 10**9, "b": 10**9}
_SMALL = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
    "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_LARGE = _SCALES.keys() | {"hundred"}
_NOUN = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+){0,2}")


def _quantity(text: str) -> Quantity | None:
    front = _FRONT.match(text)
    start = front.end() if front else 0
    found = _NUMBER.match(text, start)
    if front is None or found is None:
        return _in_words(text)
    value = _value(found)
    if value is None:
        return None
    if "-" in (front["sign"], front["second"]):
        value = -value
    rest = text[found.end() :]
    if rest[:1].isdigit() or (rest and rest[0] in ".,:/"):
        return None
    money = (front["money"] or "").strip()
    scale, rest = _scale(rest.strip(), short=bool(money))
    if money and rest:
        return None
    return _measured(value * scale, money or rest)


def _value(found: re.Match[str]) -> Fraction | None:
    if found["above"]:
        below = int(found["below"])
        return None if below == 0 else int(found["whole"] or 0) + Fraction(int(found["above"]), below)
    if found["ten"]:
        return Fraction(10) ** int(found["ten"])
    digits = re.sub(r"[ '_]", "", found["digits"])
    if re.match(r"0\d", digits):  # 007 is a name
        return None
    groups = digits.split(".")[0].split(",")
    grouped = len(groups) > 1 and all(len(group) == 3 for group in groups[1:]) and groups[0] != "0"
    digits = digits.replace(",", "" if grouped else ".")
    return Fraction(digits) * Fraction(10) ** int(found["e"] or found["power"] or 0)


def _scale(rest: str, *, short: bool) -> tuple[int, str]:
    """The factor that the words after a number begin with, and what is left. ``short``: k, m, bn too."""
    first, _, more = rest.partition(" ")
    scale = _SCALES.get(first.lower()) or (_SHORT.get(first.lower()) if short or first in {"k", "bn"} else None)
    return (scale, more) if scale else (1, rest)


def _in_words(text: str) -> Quantity | None:
    """A number in English words, and what it counts."""
    tokens = text.lower().replace("-", " ").split()
    if len(tokens) > 1 and tokens[0] in {"a", "an"} and tokens[1] in _LARGE:
        tokens[0] = "one"
    sign = -1 if tokens[:1] == ["minus"] else 1
    start = place = 1 if sign < 0 else 0
    while place < len(tokens) and (tokens[place] in _SMALL or tokens[place] in _LARGE or tokens[place] == "and"):
        place += 1
    value = _spoken(tokens[start:place])
    if value is None or tokens[place : place + 1] == ["point"]:
        return None
    return _measured(Fraction(sign * value), " ".join(tokens[place:]))


def _spoken(tokens: list[str]) -> int | None:
    """The number these words make; None where they are several (a year read in halves, say) or none."""
    total = part = 0
    ceiling = 10**15
    room = 100  # what the next small word must be less than
    for place, word in enumerate(tokens):
        if word == "and":
            if place in (0, len(tokens) - 1) or tokens[place - 1] not in _LARGE or tokens[place + 1] not in _SMALL:
                return None
        elif word in _SMALL:
            value = _SMALL[word]
            if value >= room or (value == 0 and len(tokens) > 1):
                return None
            part, room = part + value, 10 if value >= 20 else 0
        elif word == "hundred" and 0 < part < 10:
            part, room = part * 100, 100
        elif word in _SCALES and part and _SCALES[word] < ceiling:
            ceiling = _SCALES[word]
            total, part, room = total + part * ceiling, 0, 100
        else:
            return None
    return total + part if tokens else None


def _measured(value: Fraction, name: str) -> Quantity | None:
    """So much of what is named: converted when it is a unit, counted when it is a noun, None when it is neither."""
    known = Unit("") if not name else unit(name)
    if known is not None:
        return Quantity((value - known.zero) * known.worth, known.kind)
    return Quantity(value, name.casefold()) if _NOUN.fullmatch(name) else None
