"""Telling of an answer while it is generated: no more of it than what no later token can change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gate.types import TokenLogprob

Grew = Callable[[str, tuple[TokenLogprob, ...]], bool]
"""Told of more text and more tokens; False means: generate no more."""
_HALF = "\ufffd"
"""What a character is decoded to of which not all bytes have come."""


class Growth:
    """One answer under way. What it tells, put together, is the answer."""

    def __init__(self, grew: Grew, stop: tuple[str, ...]) -> None:
        self._grew = grew
        self._stop = stop
        self._ends: list[int] = [0]
        """How long the text was after so many tokens."""
        self._text, self._tokens = 0, 0
        """How much was told."""
        self.stopped = False

    def step(self, text: str, tokens: Sequence[TokenLogprob]) -> bool:
        """Tell what is settled of all that was generated, after one more token. Whether to go on."""
        self._ends.append(len(text))
        settled = settled_length(text, self._stop)
        begun = sum(end < settled for end in self._ends[: len(tokens)])
        return self._tell(text[:settled], tokens[:begun])

    def end(self, text: str, tokens: Sequence[TokenLogprob]) -> None:
        """Tell the rest of the answer as it was cut."""
        self._tell(text, tokens)

    def _tell(self, text: str, tokens: Sequence[TokenLogprob]) -> bool:
        more, further = text[self._text :], tuple(tokens[self._tokens :])
        self._text, self._tokens = max(self._text, len(text)), max(self._tokens, len(tokens))
        if more or further:
            self.stopped = not self._grew(more, further)
        return not self.stopped


def settled_length(text: str, stop: tuple[str, ...]) -> int:
    """How many characters stay whatever follows: not a half one, and none that may begin a stop string."""
    whole = text.rstrip(_HALF)
    begun = (size for each in stop for size in range(1, len(each)) if whole.endswith(each[:size]))
    return len(whole) - max(begun, default=0)
