"""Keys that are sent again after a kill: by a server that answers them as it should, and by ones that do not."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable

import pytest

from tests.benchmarks.reliability.accounting import Asked, Kind, answered_once
from tests.benchmarks.reliability.load import Load, Target
from tests.benchmarks.reliability.questions import TENANTS, TIGHT, Item, asked_in
from tests.benchmarks.reliability.rounds import Again, firsts, once_more, unanswered_again

Decide = Callable[[str, int], tuple[int, str]]
EASY = [item for item in (Item(f"{n:04x}", TENANTS[0]) for n in range(99)) if not item.hard]


async def answering(decide: Decide) -> asyncio.Server:
    """By key and how often it came: the status, and the decision."""
    came: dict[str, int] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:] if line)
                asked = json.loads(await reader.readexactly(int(lines["content-length"])))
                key = lines["idempotency-key"]
                came[key] = came.get(key, 0) + 1
                status, decision = decide(key, came[key])
                item = asked_in(asked["messages"][0]["content"])
                assert item is not None
                said = {"choices": [{"message": {"content": item.right}}], "error": {"message": "m", "type": "t"}}
                body = json.dumps(said).encode()
                words = f"content-length: {len(body)}\r\nx-gate-action: answer\r\nx-gate-decision-id: {decision}"
                writer.write(f"HTTP/1.1 {status} X\r\n{words}\r\n\r\n".encode() + body)
        except EOFError:
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def sent_again(decide: Decide) -> tuple[Load, list[Again]]:
    """After a first time: of one whose twin was cut off, one that was cut off itself, one of the tight tenant."""

    async def all_of_it() -> tuple[Load, list[Again]]:
        server = await answering(decide)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            load = Load(Target((url,), dict.fromkeys((*TENANTS, TIGHT), "k")), 1, rng=random.Random(1))
            load.asked += [
                Asked(EASY[0], 0.0, 0.1, Kind.RIGHT, 200, decisions=("whole",), key="whole"),
                Asked(EASY[0], 0.0, 0.1, Kind.CUT, key="whole", repeats=True),
                Asked(EASY[1], 0.0, 0.1, Kind.CUT, key="cut"),
                Asked(EASY[2], 0.0, 0.1, Kind.RIGHT, 200, decisions=("none",)),
                Asked(Item("1", TIGHT), 0.0, 0.1, Kind.CUT, key="tight"),
            ]
            return load, await once_more([*firsts(load, whole=True), *firsts(load, whole=False)])

    return asyncio.run(all_of_it())


def test_those_with_a_key_come_again_and_get_what_they_got() -> None:
    load, again = sent_again(lambda key, times: (200, key))
    assert [first.key for first, _ in again] == ["whole", "cut"]
    assert all(
        asked.key == first.key and asked.repeats and asked in load.asked for first, two in again for asked in two
    )
    assert answered_once(load.asked) == (2, 0)
    assert unanswered_again(again) == 0


@pytest.mark.parametrize(
    ("decide", "twice", "refused"),
    [
        (lambda key, times: (200, f"{key} anew"), 1, 0),
        (lambda key, times: (200, key if key == "whole" else f"{key} {times}"), 1, 0),
        (lambda key, times: (200, f"{key} {times}"), 2, 0),
        (lambda key, times: (409 if key == "whole" else 200, key), 0, 1),
        (lambda key, times: (409 if key == "cut" else 200, key), 0, 0),
    ],
)
def test_another_decision_is_noticed_and_so_is_none(decide: Decide, twice: int, refused: int) -> None:
    load, again = sent_again(decide)
    assert answered_once(load.asked)[1] == twice
    assert unanswered_again(again) == refused
