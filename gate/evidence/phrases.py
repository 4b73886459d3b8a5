"""Phrases: whether a text holds one of a table of set phrases, in any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, kana and Han, which put no space between words."""


def spelled(text: str) -> str:
    """The text as phrases are looked for in it: case and width folded, one space around and between its words.

    Apostrophes and hyphens part words, in texts and phrases alike: "don't" is "don t".
    """
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return f" {' '.join(_WORD.findall(folded.casefold()))} "


@dataclass(frozen=True, slots=True)
class Phrases:
    """A table of phrases. In scripts with spaces they are whole words; in those without they are found anywhere."""

    listed: tuple[str, ...]
    unless: tuple[str, ...] = ()
    """Longer phrases within which a listed one does not count."""
    _spaced: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)
    """The phrases by their first word: only those whose first word stands in a text are looked for."""
    _unspaced: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _unless: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        forms = [spelled(phrase) for phrase in dict.fromkeys(self.listed)]
        by_first: dict[str, tuple[str, ...]] = {}
        for form in forms:
            if not _UNSPACED.search(form):
                first = form.split()[0]
                by_first[first] = (*by_first.get(first, ()), form)
        object.__setattr__(self, "_spaced", by_first)
        object.__setattr__(self, "_unspaced", tuple(form.strip() for form in forms if _UNSPACED.search(form)))
        object.__setattr__(self, "_unless", tuple(map(spelled, self.unless)))

    def within(self, text: str) -> bool:
        """Whether a text that was `spelled` holds a phrase."""
        return next(self._found(text), None) is not None

    def count(self, text: str) -> int:
        """How many different phrases a text that was `spelled` holds."""
        return sum(1 for _ in self._found(text))

    def _found(self, text: str) -> Iterator[str]:
        for longer in self._unless:
            if longer in text:
                text = text.replace(longer, " | ")
        for first in self._spaced.keys() & text.split():
            yield from (phrase for phrase in self._spaced[first] if phrase in text)
        if not text.isascii():
            yield from (phrase for phrase in self._unspaced if phrase in text)
