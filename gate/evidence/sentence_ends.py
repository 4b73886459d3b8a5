"""Where sentences end in a text that is still being written.

An end is told as soon as what stands behind it shows that it is one, and told alike in whatever pieces the text comes.
A full stop that may be part of a word is taken for one: what is told too late was only held back, what is told too
early is half a sentence. So abbreviations, initials, decimals, the numbers of a list and what goes on in small letters
end nothing. Lines end with their break, code blocks with their fence; scripts that write no spaces need none.
"""

from __future__ import annotations

import re

_STOPS = frozenset(".!?\u2026\u061f\u06d4")
_WIDE_STOPS = frozenset("\u3002\uff01\uff1f\u0964\uff0e")
"""Of scripts that put no space behind them."""
_WIDE_CLOSERS = frozenset(")]\u201d\u2019\u00bb\u203a\u300d\u300f\uff09\u3011")
_CLOSERS = _WIDE_CLOSERS | frozenset("\"'}*_`")
_OPENERS = "\"'([{*_`>#-\u201c\u2018\u00ab\u2039\u300c\u300e\uff08\u3010"
_FENCES = ("```", "~~~")
_ABBREVIATIONS = frozenset(
    """
    adj adm al approx art assn assoc ave bldg blvd ca capt cf ch chap cmdr co col corp cpl ct dept dir dist div dr ed
    eds eq eqs est etc ex fig figs fl fr ft gen gov hon hr ibid inc jr lat lb lit lt ltd maj max messrs min mr mrs ms
    mss mt mts nos op oz par pl pp prof prop pt pvt rd ref rep rev sec sen seq sgt sp sq sr st ste supt tel trans univ
    viz vol vols vs
    abb abs bzgl bzw ggf inkl nr sog str usw vgl
    av dra env mlle mme num pág sra
    """.split()  # noqa: SIM905 - a paragraph reads better than a hundred quoted words
)
_DOTTED = re.compile(r"[^\W\d_]\Z|(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}\Z")
"""An initial, or letters parted by full stops."""
_LIST_NUMBER = re.compile(r"(?:\d{1,3}|[^\W\d_]|[ivxIVX]{1,5})\Z")
_LONGEST_WORD = 32


class SentenceEnds:
    """Feed it a text piece by piece. Places are in characters from the beginning; each is told once, in order."""

    __slots__ = ("_at", "_candidate", "_fence", "_head", "_lasting", "_said", "_spaced", "_word", "_words")

    def __init__(self) -> None:
        self._at = 0
        self._candidate: int | None = None
        """Where a sentence ends if what comes shows nothing else."""
        self._lasting = False
        """Whether the candidate stands whatever comes."""
        self._spaced = False
        """Whether space was seen behind the candidate."""
        self._said = False
        """Whether there was a letter or digit since the last end."""
        self._word = ""
        """The word under way, or the last one."""
        self._words = 0
        """In this line, before it."""
        self._head = ""
        """The first three signs of this line."""
        self._fence = ""
        """That of the code block under way."""

    @property
    def open_at(self) -> int | None:
        """Where there may be an end that only what comes next can show; None where all ends so far are told."""
        return self._candidate

    def grew(self, piece: str) -> list[int]:
        """The ends that this much more text shows: a sentence ends before each of these places."""
        found: list[int] = []
        for sign in piece:
            place = self._sign(sign)
            if place is not None:
                found.append(place)
            self._at += 1
        return found

    def _sign(self, sign: str) -> int | None:
        """Take one sign in; the end that it shows."""
        ended = None
        if self._candidate is not None:
            if self._held_open(sign):
                return None
            ended = self._settled(sign)
        if sign == "\n":
            line = self._line_ended()
            return line if ended is None else ended
        if (sign in _STOPS or sign in _WIDE_STOPS) and not self._fence and self._head not in _FENCES:
            self._stop(sign)
        self._take(sign)
        return ended

    def _held_open(self, sign: str) -> bool:
        """Whether a sign behind a candidate belongs to it, or leaves open what it is."""
        if self._spaced:
            return sign.isspace() and sign != "\n"
        if sign in _WIDE_STOPS or sign in _STOPS or sign in (_WIDE_CLOSERS if self._lasting else _CLOSERS):
            self._candidate, self._lasting = self._at + 1, self._lasting or sign in _WIDE_STOPS
            return True
        self._spaced = sign.isspace() and sign != "\n" and not self._lasting
        return self._spaced

    def _settled(self, sign: str) -> int | None:
        """The candidate, where the sign behind it and any space shows that it is an end."""
        place, self._candidate = self._candidate, None
        ends = self._lasting or (not sign.islower() if self._spaced else sign == "\n")
        if ends or self._spaced:
            self._begin_word()
        if not (ends and self._said):
            return None
        self._said = False
        return place

    def _stop(self, sign: str) -> None:
        if sign != "." or not self._part_of_a_word():
            self._candidate, self._lasting, self._spaced = self._at + 1, sign in _WIDE_STOPS, False

    def _part_of_a_word(self) -> bool:
        word = self._word.lstrip(_OPENERS)
        if not self._words and _LIST_NUMBER.match(word):
            return True
        if self._word == "No" and self._words:
            return True
        return word.casefold() in _ABBREVIATIONS or (word != "I" and _DOTTED.match(word) is not None)

    def _take(self, sign: str) -> None:
        """What a sign adds to its word and line."""
        if sign.isspace():
            self._begin_word()
            return
        if len(self._head) < 3:
            self._head += sign
        if sign.isalnum():
            self._said = True
        if len(self._word) < _LONGEST_WORD:
            self._word += sign

    def _begin_word(self) -> None:
        if self._word.strip(_OPENERS):
            self._words += 1
        self._word = ""

    def _line_ended(self) -> int | None:
        """A line break ends a sentence, except within a code block; a block ends with its last line."""
        if self._head in _FENCES:
            self._fence = "" if self._fence == self._head else (self._fence or self._head)
        self._head, self._word, self._words = "", "", 0
        if self._fence or not self._said:
            return None
        self._said = False
        return self._at
