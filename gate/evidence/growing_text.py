"""A draft while it is written: its tokens and the ends of its sentences, in one order.

However text and tokens come in pieces, and whichever of the two comes first, the order is the same: an end follows the
last token that begins before it. Tokens are found in the text as it grows. One that is not there as it stands is
spelled out first (`gate.evidence.spans`); one that is not there either, as an end marker is not, takes up no room.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gate.evidence.sentence_ends import SentenceEnds
from gate.evidence.spans import encoded
from gate.types import TokenLogprob


@dataclass(frozen=True, slots=True)
class Written:
    """A token, and where in the text it begins."""

    token: TokenLogprob
    start: int


@dataclass(frozen=True, slots=True)
class SentenceEnd:
    """A sentence ends before this place of the text, and all its tokens were told."""

    at: int


Event = Written | SentenceEnd


class GrowingText:
    """Feed it a draft piece by piece. The text that was matched with tokens is not kept."""

    __slots__ = ("_at", "_decoder", "_ends", "_rest", "_sentences", "_tokens", "length")

    def __init__(self) -> None:
        self.length = 0
        """Of all the text, in characters."""
        self._at = 0
        """Where the next token begins."""
        self._rest = ""
        """The text from there on."""
        self._tokens: deque[TokenLogprob] = deque()
        self._ends: deque[int] = deque()
        self._sentences = SentenceEnds()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def grew(self, text: str, tokens: Iterable[TokenLogprob] = ()) -> Iterator[Event]:
        """What so much more of it tells. Exhaust it: what was not asked for is told the next time."""
        self.length += len(text)
        self._rest += text
        self._ends.extend(self._sentences.grew(text))
        self._tokens.extend(tokens)
        return self._told()

    def _told(self) -> Iterator[Event]:
        while True:
            if self._ends and self._ends[0] <= self._at:
                yield SentenceEnd(self._ends.popleft())
            elif self._tokens and self._has_room(self._tokens[0]):
                yield self._written()
            else:
                return

    def ended(self) -> Iterator[Event]:
        """Whatever is left, once no more will come. The end of the whole is no event."""
        while self._tokens or self._ends:
            if self._ends and (self._ends[0] <= self._at or not self._tokens):
                yield SentenceEnd(self._ends.popleft())
            else:
                yield self._written()

    def _has_room(self, token: TokenLogprob) -> bool:
        """Whether the text at a token's place is there, and it is known which sentences end before it."""
        open_at = self._sentences.open_at
        return len(self._rest) >= max(1, len(token.token)) and (open_at is None or open_at > self._at)

    def _written(self) -> Written:
        token, start = self._tokens.popleft(), self._at
        width = self._width(token.token)
        self._at += width
        self._rest = self._rest[width:]
        return Written(token, start)

    def _width(self, piece: str) -> int:
        """How much of the text a token takes up."""
        if piece and self._rest.startswith(piece):
            return len(piece)
        for spelled in (piece, self._decoder.decode(encoded(piece))):
            seen = spelled if self._at else spelled.lstrip()  # servers cut the space off that a text begins with
            if seen and self._rest.startswith(seen):
                return len(seen)
        return 0
