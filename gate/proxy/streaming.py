"""What a client sees while its question is answered.

*hold*: nothing before the verdict, but comments that keep the connection alive. *prefix*: whole sentences, once the
confidence in what is written so far is high enough; the writing stops once the answer is doomed. *annotate*: all text
as it comes. Where a policy observes: the first draft, and its end does not wait for the verdict.

A stream that begins before the verdict begins without it in its headers: it stands in the ``gate`` object of the last
event. Text that was sent and may not stand is withdrawn there, as `gate.proxy.doors.Events` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from gate.errors import GateError, first_of
from gate.prefix_watch import PrefixWatch, whole_wanted
from gate.proxy.attending import while_connected
from gate.proxy.exchange import ClientGone
from gate.proxy.observing import FirstDraft, observed, on_trial
from gate.proxy.turn import Turn
from gate.proxy.verdicts import Decided
from gate.types import Generation, TokenLogprob


class Feed(Protocol):
    """Text of an answer that may go out before the verdict."""

    def take(self) -> str:
        """What may go out since this was last asked, in order."""
        ...


class Sentences:
    """Those sentences of a draft that are safe. Fits `gate.drivers.world.Live` and `Feed`.

    Once something of a draft was released, no other draft is: what is sent is sent.
    """

    def __init__(self, turn: Turn, news: asyncio.Event) -> None:
        self._gateway, self._news = turn.gateway, news
        self._whole = whole_wanted(turn.asked.question.options)
        self._released: list[str] = []
        self._any = False
        self._watch: PrefixWatch | None = None

    def begun(self, round_key: str) -> None:
        settings = self._gateway.policy.serving.prefix
        self._watch = None
        if settings is not None and not self._any:
            self._watch = PrefixWatch(self._gateway.prefix, settings, round_key, whole=self._whole)

    def grew(self, text: str, tokens: Sequence[TokenLogprob]) -> bool:
        if self._watch is None:
            return True
        seen = self._watch.grew(text, tuple(tokens))
        if seen.release:
            self._any = True
            self._released.append(seen.release)
            self._news.set()
        return not seen.stop

    def done(self, draft: Generation) -> None:
        """The verdict on the whole comes next: what is left waits for it."""

    def take(self) -> str:
        released, self._released = "".join(self._released), []
        return released


class Deciding:
    """Deciding under way, beside whoever reads along."""

    def __init__(self, turn: Turn, news: asyncio.Event) -> None:
        self.news = news
        """Set whenever there is something to look at."""
        self.over = False
        self._turn = turn
        self._decided: list[Decided] = []
        self._failed: GateError | None = None

    async def run(self) -> None:
        try:
            self._decided = await self._turn.decide()
        except GateError as error:
            self._failed = error
        self.over = True
        self.news.set()

    @property
    def decided(self) -> bool:
        """Whether there is an outcome."""
        return bool(self._decided)

    def result(self) -> list[Decided]:
        """What came of it, once it is over. Raises the error that ended it."""
        if self._failed is not None:
            raise self._failed
        return self._decided


async def stream(turn: Turn) -> None:
    """Answer by server-sent events."""
    news = asyncio.Event()
    feed: Sentences | FirstDraft | None = None
    if turn.streaming != "hold":
        feed = FirstDraft(news) if turn.streaming == "annotate" else Sentences(turn, news)
    turn.recordings[0].live = feed
    deciding = Deciding(turn, news)

    async def relay() -> None:
        await _pump(turn, news, feed, lambda: deciding.over)
        await turn.tell(deciding.result())

    try:
        await _beside(turn, deciding, relay)
    except ClientGone:
        if not (deciding.decided and turn.exchange.tapped):
            raise
        await turn.tell(deciding.result())  # nobody reads it, but who writes it down for when the client is back


async def observe(turn: Turn) -> None:
    """Send the first drafts as they are, by events or whole; decide behind them."""
    news = asyncio.Event()
    brought = turn.asked.brought
    firsts = [FirstDraft(news) for _ in turn.recordings]
    for first, given in zip(firsts, brought.answers if brought is not None else (), strict=False):
        first.draft = given.draft
    for first, recording in zip(firsts, turn.recordings, strict=True):
        recording.live = first
    deciding = Deciding(turn, news)

    def there() -> bool:
        return deciding.over or all(first.draft is not None for first in firsts)

    async def relay() -> None:
        if turn.asked.stream:
            await _pump(turn, news, firsts[0] if len(firsts) == 1 else None, there)
        else:
            while not there():
                await news.wait()
                news.clear()
        await turn.tell(_as_drafted(turn, deciding, [first.draft for first in firsts]))

    await _beside(turn, deciding, relay)


def _as_drafted(turn: Turn, deciding: Deciding, drafts: Sequence[Generation | None]) -> list[Decided]:
    """The drafts, as what was decided.

    One that was not shown while it was written, because the best of several is looked for, is the one that was on trial
    in the end. Where there is none at all, for which the budget must have been too small, the decision stands. Raises
    what kept a draft from coming.
    """
    decided: Sequence[Decided | None] = deciding.result() if None in drafts else [None] * len(drafts)
    told: list[Decided] = []
    for draft, instead, recording in zip(drafts, decided, turn.recordings, strict=True):
        found = draft if instead is None else draft or on_trial(instead)
        if found is not None:
            told.append(observed(found, recording, turn.gateway))
        elif instead is not None:
            told.append(instead)
    return told


async def _beside(turn: Turn, deciding: Deciding, relay: Callable[[], Awaitable[None]]) -> None:
    """Decide and relay at once, until both are through. A client that leaves before the response is through ends both;
    after that, deciding goes on without it."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(deciding.run())
            await while_connected(turn.exchange, relay())
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None


async def _pump(turn: Turn, news: asyncio.Event, feed: Feed | None, done: Callable[[], bool]) -> None:
    """Send what the feed has, until it is done and has no more; and comments, where it has nothing for long."""
    while True:
        news.clear()
        text = feed.take() if feed is not None else ""
        if text:
            await turn.show(text)
        elif done():
            return
        else:
            try:
                async with asyncio.timeout(turn.gateway.policy.serving.keep_alive):
                    await news.wait()
            except TimeoutError:
                await turn.keep_alive()
