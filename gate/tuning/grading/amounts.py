"""Amounts: the numbers that stand in a text, each with its unit or with what it counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from gate.evidence.quantities import Date, Quantity, quantity
from gate.evidence.units import CURRENCIES, KINDS, unit
from gate.evidence.words import NEGATIONS, STOP_WORDS

_SEEN = 2_000
"""Characters of a text that are looked at."""
_WINDOW = 6
"""Words of a number with its unit: "3.5 million square kilometres" has four."""
_DIGIT_FIRST = re.compile(
    rf"[-+\u2212~\u2248=]?(?:{'|'.join(map(re.escape, CURRENCIES))})?[-+\u2212]?\.?\d", re.IGNORECASE
)
_PERCENT = re.compile(r"%|\bper ?cent|\bpct\b", re.IGNORECASE)
_RANGE = re.compile(
    r"\d\s*(?:[-\u2013\u2014]|to|or|and)\s*(?:[$\u20ac\u00a3]\s*)?\d(?!\d*\s*/)|\bbetween\b.{0,40}\d", re.IGNORECASE
)
_ISO_DATE = re.compile(r"\d{4}-\d\d?-\d\d?|\d{1,2}-\d{1,2}-\d{4}", re.ASCII)
_QUALIFIED = re.compile(
    r"(?:\b(?:not|never)|n['\u2019]t)(?:\s\w+){0,2}\s\S{0,3}$"
    r"|\b(?:(?:more|less|fewer|greater|higher|lower|larger|smaller|other) than|over|under|above|below"
    r"|at (?:least|most)|up to|almost|nearly|beyond|exceed(?:s|ing)?|cannot be)\s\S{0,3}$",
    re.IGNORECASE,
)
_OPEN = re.compile(r"(?:or|and) (?:more|less|fewer|above|over|below|up)\b|plus\b", re.IGNORECASE)
_NO_NOUNS = STOP_WORDS | NEGATIONS | {"plus", "minus", "times"}


@dataclass(frozen=True, slots=True)
class Amount:
    value: Fraction
    """In ``kind``."""
    kind: str
    """The unit it is compared in; "" where it has none."""
    bare: Fraction
    """The number as it was written, before its unit."""
    unit: str = ""
    """The unit as it was written."""
    noun: str = ""
    """What it counts, where the text is nothing but the number and that."""
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Unclear:
    reason: str


def names_percent(text: str) -> bool:
    return _PERCENT.search(text) is not None


def the_amount(text: str) -> Amount | None:
    """What a text says when all of it is one number, with a unit or a noun or neither."""
    read = quantity(text)
    if not isinstance(read, Quantity):
        return None
    if read.kind in KINDS:
        return _amount(read, _trimmed(_plain(text)))
    measured = _scanned(_plain(text), _is_digit_first)  # "5 km long" counts no things called "km long"
    if not isinstance(measured, Unclear) and len(measured) == 1 and measured[0].kind:
        return measured[0]
    if isinstance(measured, Unclear) or read.kind.split()[0] in _NO_NOUNS:  # "one of them", "five or six"
        return None
    return Amount(read.value, "", read.value, noun=read.kind)


def amounts_in(text: str) -> tuple[Amount, ...] | Unclear:
    """The different amounts of a text, in digits or words ("one" alone is none), in order; or why they are unclear."""
    whole = the_amount(text)
    if whole is not None:
        return (whole,)
    plain = _plain(text[:_SEEN])
    if _RANGE.search(_ISO_DATE.sub(" ", plain)):
        return Unclear("the answer is a range, or several numbers")
    return _scanned(plain, lambda token: _is_digit_first(token) or _is_number_word(token))


def _plain(text: str) -> str:
    """In plain characters but for raised digits, whose place says what they are."""
    return " ".join(text.replace("\u2212", "-").split())


def _trimmed(window: str) -> str:
    return window.lstrip("([\"'*\u201c").rstrip(",;:!?.)]\"'*\u201d")


def _is_digit_first(token: str) -> bool:
    return bool(_DIGIT_FIRST.match(token.lstrip("([\"'*\u201c")))


def _is_number_word(token: str) -> bool:
    word = _trimmed(token)
    read = quantity(word)
    return isinstance(read, Quantity) and read.kind == "" and word.lower() != "one" and not _is_digit_first(word)


def _scanned(plain: str, begins: Callable[[str], bool]) -> tuple[Amount, ...] | Unclear:
    tokens, place, found = plain.split(), 0, dict[Amount, None]()
    while place < len(tokens):
        length = 1
        if begins(tokens[place]):
            amount, length = _amount_at(tokens, place)
            if amount is not None:
                before, after = tokens[max(0, place - 4) : place], tokens[place + length : place + length + 2]
                if _QUALIFIED.search(" ".join(before) + " ") or _OPEN.match(" ".join(after)):
                    return Unclear("a number is denied, or only a bound")
                found[amount] = None
        place += length
    return tuple(found)


def _amount_at(tokens: Sequence[str], place: int) -> tuple[Amount | None, int]:
    """The amount that begins at a token, and how many tokens it takes; dates are none, but are passed over."""
    for length in range(min(_WINDOW, len(tokens) - place), 0, -1):
        window = _trimmed(" ".join(tokens[place : place + length]))
        read = quantity(window)
        if isinstance(read, Date):
            return None, length
        if read is not None and read.kind in KINDS and not window.endswith(" in"):  # "5 in total" are no inches
            return _amount(read, window), length
    return None, 1


def _amount(read: Quantity, window: str) -> Amount:
    """``window`` is the text that was read, of a kind that is known."""
    if _PERCENT.search(window):
        return Amount(read.value, "", read.value * 100, percent=True)
    if not read.kind:
        return Amount(read.value, "", read.value)
    ends = (window[place:].strip() for place in range(1, len(window)))
    names = (*(mark for mark in CURRENCIES if mark in window), *ends)
    for name in names:
        own = unit(name)
        if own is not None and own.kind == read.kind:
            return Amount(read.value, read.kind, read.value / own.worth + own.zero, unit=name)
    return Amount(read.value, read.kind, read.value)
