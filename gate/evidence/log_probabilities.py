"""Log-probabilities: whether those an upstream gave can be read at all."""

from __future__ import annotations

from functools import lru_cache

from gate.ports import Missing
from gate.types import TokenLogprob

Tokens = tuple[TokenLogprob, ...]
NO_NUMBER = Missing("a log-probability is no finite number")
_MOST = 1e-6
"""Rounding takes the logarithm of a probability of 1 a little above 0, never so far."""
_LEAST = -1e300
"""Lower than any server writes, and high enough for sums of many to stay finite."""
_DRAFTS = 64


class _Held:
    """Tokens told apart by identity: many signals ask about the same, and to compare them takes as long as to read."""

    __slots__ = ("tokens",)

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens

    def __hash__(self) -> int:
        return id(self.tokens)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.tokens is self.tokens


def no_number(tokens: Tokens | None) -> Missing | None:
    """Why a generation's tokens cannot be read, or None where they can.

    The log-probability of a token that was chosen is a finite number, at most 0 but for rounding. A listed alternative
    may also be minus infinity: it cannot occur. One that is otherwise makes the whole generation unreadable, for what
    wrote it wrote the others too.
    """
    return None if tokens is None or _readable(_Held(tokens)) else NO_NUMBER


@lru_cache(maxsize=_DRAFTS)
def _readable(held: _Held) -> bool:
    for token in held.tokens:
        if not _LEAST <= token.logprob <= _MOST:  # nor is that so of what is no number
            return False
        for _, logprob in token.top:
            if not logprob <= _MOST:
                return False
    return True
