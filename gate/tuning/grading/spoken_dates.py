"""Dates in English words, put into digits: "the twenty-first of March, nineteen sixty-nine"."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth"
)  # fmt: skip
_NUMBERS = (
    {word: value for value, word in enumerate(_UNITS, 1)}
    | {word: value for value, word in enumerate(_TEENS, 10)}
    | {ten: 10 * value for value, ten in enumerate(_TENS, 2)}
    | {f"{ten} {unit}": 10 * tens + one for tens, ten in enumerate(_TENS, 2) for one, unit in enumerate(_UNITS, 1)}
)
_DAYS = (
    {word: value for value, word in enumerate(_ORDINALS, 1)}
    | {"twentieth": 20, "thirtieth": 30, "thirty first": 31}
    | {f"twenty {word}": 20 + value for value, word in enumerate(_ORDINALS[:9], 1)}
)
_MONTH = "january|february|march|april|may|june|july|august|september|october|november|december"


def _spelt(words: Iterable[str]) -> str:
    """A pattern of any of these words, the longest first, with spaces or hyphens between."""
    return "|".join(word.replace(" ", "[ -]") for word in sorted(words, key=len, reverse=True))


_PAIR = _spelt([word for word, value in _NUMBERS.items() if value >= 10])
_YEAR = re.compile(
    rf"\b(?:(?P<century>{_spelt([w for w, v in _NUMBERS.items() if 10 <= v <= 20])})[ -]"
    rf"(?:(?P<hundred>hundred)|(?:oh|o)[ -](?P<unit>{_spelt(_UNITS)})|(?P<pair>{_PAIR}))"
    rf"|two[ -]thousand(?:(?: and)?[ -](?P<rest>{_spelt(_NUMBERS)}))?)\b",
    re.IGNORECASE,
)
_DAY_FIRST = re.compile(rf"\b({_spelt(_DAYS)})(?=(?: day)?(?: of)? (?:{_MONTH})\b)", re.IGNORECASE)
_AFTER_MONTH = re.compile(rf"\b({_MONTH}) (?:the )?({_spelt(_DAYS)})\b", re.IGNORECASE)


def in_digits(text: str) -> str:
    """The text with days beside a month, and years, in digits where they stood in words."""
    text = _YEAR.sub(lambda found: str(_year(found)), text)
    text = _DAY_FIRST.sub(lambda found: str(_value(_DAYS, found[1])), text)
    return _AFTER_MONTH.sub(lambda found: f"{found[1]} {_value(_DAYS, found[2])}", text)


def _year(found: re.Match[str]) -> int:
    if found["century"] is None:
        return 2000 + (_value(_NUMBERS, found["rest"]) if found["rest"] else 0)
    rest = found["pair"] or found["unit"]
    return 100 * _value(_NUMBERS, found["century"]) + (_value(_NUMBERS, rest) if rest else 0)


def _value(table: dict[str, int], words: str) -> int:
    return table[words.lower().replace("-", " ")]
