"""How words are compared in an index: without case, accents and width."""

from __future__ import annotations

import re
import unicodedata

_ASCII_WORD = re.compile("[a-z0-9]+")


def folded(text: str) -> str:
    """Without case, accents and width, for comparing."""
    if text.isascii():  # most text, and ten times faster
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFKC", "".join(c for c in apart if not unicodedata.combining(c)))


def folded_words(text: str) -> list[str]:
    """Parted by whatever is no letter, digit or part of one; a word of marks alone is none."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    parted = "".join(" " if unicodedata.category(c)[0] in "PSZC" else c for c in folded(text))
    return [word for word in parted.split() if any(map(str.isalnum, word))]
