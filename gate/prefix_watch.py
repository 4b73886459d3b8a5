"""Watching a draft while it is written, for the streaming mode ``prefix``: what may be sent, and whether to stop.

At each position (the end of a sentence, every so many tokens, or where a token's entropy is high) the calibrator says
how likely the whole answer will be right. From ``release_at`` on, the whole sentences written so far may be sent; below
``stop_below`` the writing should stop. What was released stays released here: whether it must be withdrawn is decided
by the verdict on the whole draft, which this does not replace.

It is a state machine without I/O, and the same text and tokens give the same releases in whatever pieces they come.
Where nothing can be told (no log-probabilities, a draft of a kind that was not fitted), nothing is released and nothing
stopped, as in the mode ``hold``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from gate.calibration.prefix import AskedAt, PrefixCalibrator, PrefixFeatures, Values
from gate.evidence.growing_text import Event, GrowingText, SentenceEnd
from gate.serving_settings import PrefixSettings
from gate.types import Generation, JsonObject, TokenLogprob

HeldBack = Literal["", "whole_wanted", "not_fitted", "no_logprobs"]
_WHOLE = ("tools", "functions", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs")
"""Fields of a request whose answer is of use only as a whole."""


def whole_wanted(options: JsonObject) -> bool:
    """Whether a request asks for what makes no sense in parts: calls of tools, or JSON."""
    format_ = options.get("response_format")
    kind = format_.get("type") if isinstance(format_, dict) else None
    return any(options.get(name) for name in _WHOLE) or kind not in (None, "text")


@dataclass(frozen=True, slots=True)
class Position:
    """A place of a draft at which confidence is asked."""

    at: int
    """Whole sentences end before this place of the text, in characters."""
    tokens: int
    values: Values | None
    last: bool = False
    """The end of the draft: the verdict on the whole comes here."""


class Positions:
    """The positions of a draft under way."""

    __slots__ = ("_asked_at", "_features", "_growing", "_whole")

    def __init__(self, asked_at: AskedAt) -> None:
        self._asked_at = asked_at
        self._growing, self._features = GrowingText(), PrefixFeatures()
        self._whole = 0

    @property
    def readable(self) -> bool:
        """Whether there is anything to go by, as far as can be told."""
        return not self._growing.length or self._features.values() is not None

    def grew(self, text: str, tokens: Iterable[TokenLogprob]) -> Iterator[Position]:
        return self._asked(self._growing.grew(text, tokens))

    def ended(self) -> Iterator[Position]:
        """Those that are left, and the end."""
        yield from self._asked(self._growing.ended())
        yield Position(self._growing.length, self._features.tokens, self._features.values(), last=True)

    def _asked(self, events: Iterable[Event]) -> Iterator[Position]:
        for event in events:
            if isinstance(event, SentenceEnd):
                self._whole = event.at
                here = self._asked_at.positions == "sentence"
            else:
                self._features.add(event.token)
                here = self._at_token()
            if here:
                yield Position(self._whole, self._features.tokens, self._features.values())
                self._features.mark()

    def _at_token(self) -> bool:
        match self._asked_at.positions:
            case "tokens":
                return self._features.tokens % (self._asked_at.every or 1) == 0
            case "entropy":
                return (self._features.last_entropy or 0.0) > (self._asked_at.entropy or 0.0)
        return False


def positions_of(generation: Generation, asked_at: AskedAt) -> tuple[Position, ...]:
    """All positions of a draft that is there already, its end the last; none without log-probabilities."""
    if not generation.tokens:
        return ()
    positions = Positions(asked_at)
    return (*positions.grew(generation.text, generation.tokens), *positions.ended())


@dataclass(frozen=True, slots=True)
class Seen:
    """What a piece of a draft comes to."""

    release: str = ""
    """Whole sentences that may be sent now, behind those of before."""
    stop: bool = False
    """The answer is doomed: write no more of it."""


_NOTHING, _STOP = Seen(), Seen(stop=True)


class PrefixWatch:
    """One draft under way. ``whole``: nothing of it may be sent before the verdict (see `whole_wanted`)."""

    def __init__(
        self, calibrator: PrefixCalibrator | None, settings: PrefixSettings, round_key: str, *, whole: bool = False
    ) -> None:
        self.p: float | None = None
        """The newest confidence; None before the first."""
        self.released = 0
        """So many characters of the draft."""
        self.stopped = False
        self._calibrator, self._settings, self._round = calibrator, settings, round_key
        self._positions = Positions(AskedAt.of(settings))
        self._held: list[str] = []
        self._whole = whole

    @property
    def held_back(self) -> HeldBack:
        """Why nothing can be sent before the verdict; "" where something may."""
        if self._whole:
            return "whole_wanted"
        if self._calibrator is None or self._round not in self._calibrator.rounds:
            return "not_fitted"
        return "" if self._positions.readable else "no_logprobs"

    def grew(self, text: str, tokens: Iterable[TokenLogprob] = ()) -> Seen:
        """So much more of the draft, and the tokens of it; either may come before the other."""
        if self._whole or self._calibrator is None or self._round not in self._calibrator.rounds:
            return _NOTHING
        if self.stopped:
            return _STOP
        self._held.append(text)
        sendable = self.released
        for position in self._positions.grew(text, tokens):
            if not self._ask(self._calibrator, position):
                continue
            if self.p is not None and self.p < self._settings.stop_below:
                self.stopped = True
                break
            if self.p is not None and self.p >= self._settings.release_at:
                sendable = max(sendable, position.at)
        return Seen(self._taken(sendable), self.stopped)

    def ended(self) -> None:
        """The draft is whole: ``p`` is the confidence at its end. What is not released yet waits for the verdict."""
        if self._calibrator is not None and not self.stopped:
            for position in self._positions.ended():
                self._ask(self._calibrator, position)

    def _ask(self, calibrator: PrefixCalibrator, position: Position) -> bool:
        """Whether there is a confidence at this position."""
        if position.values is None:
            return False
        p = calibrator.probability(position.values, position.tokens, self._round)
        if p is not None:
            self.p = calibrator.smoothed(self.p, p)
        return p is not None

    def _taken(self, upto: int) -> str:
        if upto <= self.released:
            return ""
        held, width = "".join(self._held), upto - self.released
        self._held, self.released = [held[width:]], upto
        return held[:width]
