"""Answers in pieces: nothing is seen before the verdict, or all of it is and the verdict comes last."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import gate
from tests.decorator.chunks import chunk
from tests.decorator.policies import by_draft, by_votes

PIECES = ("Chi", "na")


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_draft(tmp_path_factory.mktemp("sure"))


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_votes(tmp_path_factory.mktemp("votes"))


def made(said: list[str], pieces: tuple[Any, ...] = PIECES) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A generator, and an async one, that tell of all they do."""

    def plain(question: str) -> Iterator[Any]:
        try:
            for piece in pieces:
                said.append(str(piece))
                yield piece
        finally:
            said.append("closed")

    async def later(question: str) -> AsyncIterator[Any]:
        try:
            for piece in pieces:
                said.append(str(piece))
                await asyncio.sleep(0)
                yield piece
        finally:
            said.append("closed")

    return plain, later


async def collected(pieces: AsyncIterator[Any]) -> list[Any]:
    return [piece async for piece in pieces]


def test_pieces_come_as_they_were_after_the_verdict(sure: Path) -> None:
    said: list[str] = []
    plain, later = made(said)
    guarded = gate.guard(policy=sure)(plain)("Where is Nanjing?")
    assert said == []
    assert next(guarded) == "Chi"
    assert said == ["Chi", "na", "closed"], "all of it was there before the first piece was seen"
    assert list(guarded) == ["na"]
    assert asyncio.run(collected(gate.guard(policy=sure)(later)("Where is Nanjing?"))) == ["Chi", "na"]
    chunks = (chunk("Chi"), chunk("na"), chunk(None, "stop"))
    plain, later = made(said, chunks)
    assert [*map(id, gate.guard(policy=sure)(plain)("Where is Nanjing?"))] == [*map(id, chunks)]


def test_nothing_leaks_where_it_is_held(votes: Path) -> None:
    said: list[str] = []
    for place in (0, 1):
        function = made(said)[place]
        listed = list if place == 0 else lambda pieces: asyncio.run(collected(pieces))
        with pytest.raises(gate.AnswerWithheld):
            listed(gate.guard(policy=votes)(function)("Where is Nanjing?"))
        assert listed(gate.guard(policy=votes, default="?")(function)("Where is Nanjing?")) == ["?"]
        (returned,) = listed(gate.guard(policy=votes, on_abstention="return")(function)("Where is Nanjing?"))
        assert isinstance(returned, gate.Abstained)


def test_all_is_shown_and_the_verdict_comes_last(sure: Path, votes: Path) -> None:
    for place in (0, 1):
        function = made([])[place]

        def listed(guarded: Any, place: int = place) -> tuple[list[Any], bool]:
            """What was seen, and whether it ended in the exception."""
            seen: list[Any] = []

            async def reading() -> None:
                async for piece in guarded:
                    seen.append(piece)  # noqa: PERF401 - what came before an exception counts

            try:
                if place == 0:
                    seen.extend(guarded)
                else:
                    asyncio.run(reading())
            except gate.AnswerWithheld:
                return seen, True
            return seen, False

        guard = gate.guard(policy=votes, streaming="annotate")(function)
        assert listed(guard("?")) == (["Chi", "na"], True)
        assert listed(guard.with_options(default=0)("?")) == (["Chi", "na", 0], False)
        (*shown, last), raised = listed(guard.with_options(on_abstention="return")("?"))
        assert (shown, raised, isinstance(last, gate.Abstained)) == (["Chi", "na"], False, True)
        assert listed(guard.with_policy(sure)("?")) == (["Chi", "na"], False)


def test_pieces_are_shown_at_once_where_they_are_annotated(sure: Path) -> None:
    said: list[str] = []
    plain, later = made(said)
    guarded = gate.guard(policy=sure, streaming="annotate")(plain)("Where is Nanjing?")
    assert next(guarded) == "Chi"
    assert said == ["Chi"]

    async def main() -> None:
        said.clear()
        pieces = gate.guard(policy=sure, streaming="annotate")(later)("?")
        assert await anext(pieces) == "Chi"
        assert said == ["Chi"]
        await pieces.aclose()

    guarded.close()
    asyncio.run(main())


def test_who_stops_reading_closes_what_is_inside_and_nothing_is_judged(sure: Path) -> None:
    said: list[str] = []
    plain, later = made(said)
    annotated = gate.guard(policy=sure, streaming="annotate")(plain)
    pieces = annotated("Where is Nanjing?")
    next(pieces)
    pieces.close()
    assert said == ["Chi", "closed"]
    for _ in annotated("Where is Nanjing?"):
        break
    gc.collect()
    assert said == ["Chi", "closed"] * 2
    assert annotated.decisions == ()
    assert annotated.calls.total == 2

    annotated_later = gate.guard(policy=sure, streaming="annotate")(later)

    async def main() -> None:
        pieces = annotated_later("Where is Nanjing?")
        await anext(pieces)
        await pieces.aclose()
        assert said == ["Chi", "closed"]
        assert len(asyncio.all_tasks()) == 1
        async for _ in annotated_later("Where is Nanjing?"):  # which Python closes when it finds it
            break

    said.clear()
    asyncio.run(main())
    assert said == ["Chi", "closed"] * 2
    assert annotated_later.decisions == ()


def test_cancelling_while_it_is_held_closes_what_is_inside(sure: Path) -> None:
    said: list[str] = []
    waiting = asyncio.Event()

    @gate.guard(policy=sure)
    async def pieces(question: str) -> AsyncIterator[str]:
        try:
            yield "Chi"
            waiting.set()
            await asyncio.sleep(60)
        finally:
            said.append("closed")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(collected(pieces("Where is Nanjing?")))
            await waiting.wait()
            task.cancel()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert said == ["closed"]
    assert pieces.decisions == ()


def test_what_it_raises_and_returns_goes_through(sure: Path) -> None:
    error = ValueError("no model")

    def breaks(question: str) -> Iterator[str]:
        yield "Chi"
        raise error

    async def breaks_later(question: str) -> AsyncIterator[str]:
        yield "Chi"
        raise error

    for streaming in ("hold", "annotate"):
        with pytest.raises(ValueError, match="no model") as raised:
            list(gate.guard(policy=sure, streaming=streaming)(breaks)("?"))
        assert (raised.value, vars(error)) == (error, {})
        with pytest.raises(ValueError, match="no model"):
            asyncio.run(collected(gate.guard(policy=sure, streaming=streaming)(breaks_later)("?")))

        @gate.guard(policy=sure, streaming=streaming)
        def counted(question: str) -> Generator[str, Any, int]:
            yield "China"
            return 1

        def outer() -> Generator[str, Any, int]:
            return (yield from counted("?"))

        found = outer()
        next(found)
        with pytest.raises(StopIteration) as stopped:
            next(found)
        assert stopped.value.value == 1


def test_what_is_sent_and_thrown_reaches_a_plain_one_that_is_annotated(sure: Path) -> None:
    @gate.guard(policy=sure, streaming="annotate")
    def echo(question: str) -> Generator[str, str, None]:
        sent = yield "China"
        try:
            yield sent
        except KeyError:
            yield "caught"

    pieces = echo("?")
    assert next(pieces) == "China"
    assert pieces.send("sent") == "sent"
    assert pieces.throw(KeyError()) == "caught"
    assert list(pieces) == []
    assert echo.decisions[0].value == ("China", "sent", "caught")


@pytest.mark.parametrize("streaming", ["hold", "annotate"])
def test_what_is_no_piece_ends_it_before_it_is_seen(streaming: Any, sure: Path) -> None:
    said: list[str] = []
    plain, later = made(said, ("Chi", 3, "na"))
    seen: list[Any] = []
    with pytest.raises(TypeError, match="yields a int: pieces of an answer are text, or chunks") as raised:
        seen.extend(gate.guard(policy=sure, streaming=streaming)(plain)("?"))
    assert raised.value.value == ["Chi", 3]  # type: ignore[attr-defined]
    assert said == ["Chi", "3", "closed"]
    with pytest.raises(TypeError, match="yields a int"):
        asyncio.run(collected(gate.guard(policy=sure, streaming=streaming)(later)("?")))


def test_samples_are_whole_answers(votes: Path) -> None:
    plain, later = made([])
    guarded = gate.guard(policy=votes, samples="again")(plain)
    assert list(guarded("Where is Nanjing?")) == ["Chi", "na"]
    assert (guarded.calls.total, guarded.calls.again) == (11, 10)
    guarded_later = gate.guard(policy=votes, samples="again")(later)
    assert asyncio.run(collected(guarded_later("Where is Nanjing?"))) == ["Chi", "na"]
    assert guarded_later.calls.again == 10


def test_all_pieces_come_with_their_decision(sure: Path) -> None:
    plain, later = made([])
    assert gate.guard(policy=sure)(plain).decided("?").value == PIECES
    assert asyncio.run(gate.guard(policy=sure)(later).decided("?")).value == PIECES
    guarded = gate.guard(policy=sure)(plain)
    assert guarded.with_options(default="")("?").__next__() == "Chi"
    assert asyncio.run(gate.guard(policy=sure)(later).with_options(remember=1).decided("?")).answered


def test_a_call_of_a_generator_does_nothing_until_it_is_read(sure: Path) -> None:
    plain, _ = made([])
    guarded = gate.guard(policy=sure)(plain)
    pieces = guarded(3)
    assert guarded.calls.total == 0
    with pytest.raises(TypeError, match="the argument 'question' is a int"):
        next(pieces)
