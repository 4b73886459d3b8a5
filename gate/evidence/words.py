"""Words and sentences: parting text, and the small words that carry no content."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+(?:[-'\u2019.,:/][^\W_]+)*")
_MOST_WORDS = 1000
_MOST_SIGNS = 16 * _MOST_WORDS
_UNSPACED = re.compile(r"([\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
"""Thai, Lao, Khmer, kana, Han and Hangul, which put few spaces or none between words: every sign counts as one."""
_SENTENCE = re.compile(r"[^\n]+?(?:[.!?\u2026]+[\"')\]\u201d\u2019]*(?=\s|$)|[\u3002\uff01\uff1f\u0964]|(?=\n)|$)")

NEGATIONS = frozenset({"no", "not", "nor", "never", "none", "nothing", "without", "cannot", "n't"})
"""Small words that turn a statement round; `STOP_WORDS` holds none of them."""
STOP_WORDS = frozenset(
    """
    a about after again all also am an and any are as at be because been before being between both but by can could did
    do does doing down during each few for from further had has have having he her here hers him his how i if in into is
    it its itself just me more most my of off on once only or other our ours out over own s same she should so some such
    t than that the their theirs them then there these they this those through to too under until up very was we were
    what when where which while who whom why will with would you your yours
    """.split()  # noqa: SIM905 - a paragraph reads better than a hundred quoted words
)
"""English words that carry no content of their own."""


def words(text: str) -> list[str]:
    """The words of a text as they stand: numbers with their marks, hyphenated words and contractions in one piece."""
    return _WORD.findall(text)


def names(text: str) -> list[str]:
    """The capitalised words and numbers of a text, but for the word that begins it; empty in scripts without case."""
    return [word for word in words(text)[1:] if word[0].isupper() or word[0].isdigit()]


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order, without the space around them."""
    return [part for piece in _SENTENCE.findall(text) if (part := piece.strip())]


def placed_words(text: str) -> list[tuple[int, int, str]]:
    """The same words with where each begins and ends."""
    return [(found.start(), found.end(), found[0]) for found in _WORD.finditer(text)]


def spaced_words(text: str) -> tuple[str, ...]:
    """The words of a normalised text: what spaces part. Only the first 1000, a bound on work above most answers."""
    seen = text[:_MOST_SIGNS]
    return tuple((seen if seen.isascii() else _UNSPACED.sub(r" \1 ", seen)).split()[:_MOST_WORDS])
