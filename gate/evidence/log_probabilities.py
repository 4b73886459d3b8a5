"""Log-probabilities: whether those an upstream gave can be read at all, and what one token's tell."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from math import exp, log

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
    return all(map(readable, held.tokens))


def readable(token: TokenLogprob) -> bool:
    """`no_number` of one token."""
    if not _LEAST <= token.logprob <= _MOST:  # nor is that so of what is no number
        return False
    for _, logprob in token.top:  # noqa: SIM110 - three times as fast as all() of a generator
        if not logprob <= _MOST:
            return False
    return True


def outcomes(token: TokenLogprob) -> Collection[float] | None:
    """The log-probabilities that are known at a token's place; None where there is none but its own.

    A text that is listed twice counts once, and the chosen token with its own log-probability, listed or not.
    """
    listed = dict(reversed(token.top))  # a list begins with the likeliest, and the last of equal keys stays
    listed[token.token] = token.logprob
    return listed.values() if len(listed) > 1 else None


def negentropy(logprobs: Collection[float]) -> float:
    """Minus the entropy in nats of the outcomes listed and one more that has all the mass left: an upper bound."""
    total, rest = 0.0, 1.0
    for logprob in logprobs:
        mass = exp(logprob) if logprob < 0.0 else 1.0
        if 0.0 < mass < 1.0:
            total += mass * logprob
        rest -= mass
    return total + rest * log(rest) if rest > 0.0 else total


def margin(token: TokenLogprob) -> float | None:
    """By how much the token's probability is above that of its best rival; None where none is listed."""
    rivals = [logprob for text, logprob in token.top if text != token.token]
    return exp(min(0.0, token.logprob)) - exp(min(0.0, max(rivals))) if rivals else None
