"""A transport that waits for the loop to come round: what is written together goes out so, and nothing is lost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from gate.proxy.coalescing import CoalescingTransport

Act = Callable[[CoalescingTransport, socket.socket], Awaitable[None]]


def over_a_socket(act: Act) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        try:
            await act(CoalescingTransport(transport, loop), theirs)
        finally:
            transport.close()
            theirs.close()

    asyncio.run(main())


def read(theirs: socket.socket) -> bytes | None:
    """What has arrived; None where nothing has, b"" at the end."""
    try:
        return theirs.recv(1000)
    except BlockingIOError:
        return None


def test_what_is_written_in_one_turn_goes_out_in_one_go_after_it() -> None:
    async def act(ours: CoalescingTransport, theirs: socket.socket) -> None:
        sent: list[bytes] = []
        inner = ours._transport
        write, inner.write = inner.write, lambda data: (sent.append(bytes(data)), write(data))[1]  # type: ignore[method-assign]
        ours.write(b"head ")
        ours.writelines([b"body", bytearray(b" and more")])
        assert read(theirs) is None
        assert ours.get_write_buffer_size() == len(b"head body and more")
        await asyncio.sleep(0)
        assert read(theirs) == b"head body and more"
        ours.write(b"next")
        await asyncio.sleep(0)
        assert sent == [b"head body and more", b"next"]

    over_a_socket(act)


def test_closing_sends_what_is_held_and_aborting_does_not() -> None:
    async def closing(ours: CoalescingTransport, theirs: socket.socket) -> None:
        ours.write(b"last words")
        ours.close()
        assert ours.is_closing()
        assert read(theirs) == b"last words"

    async def ending(ours: CoalescingTransport, theirs: socket.socket) -> None:
        ours.write(b"last words")
        ours.write_eof()
        assert (read(theirs), read(theirs)) == (b"last words", b"")

    async def aborting(ours: CoalescingTransport, theirs: socket.socket) -> None:
        ours.write(b"last words")
        ours.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert read(theirs) == b""

    for act in (closing, ending, aborting):
        over_a_socket(act)


def test_everything_else_is_the_transports_own() -> None:
    async def act(ours: CoalescingTransport, theirs: socket.socket) -> None:
        inner = ours._transport
        ours.set_write_buffer_limits(high=77, low=7)
        assert inner.get_write_buffer_limits() == ours.get_write_buffer_limits() == (7, 77)
        ours.pause_reading()
        assert not inner.is_reading()
        assert not ours.is_reading()
        ours.resume_reading()
        assert inner.is_reading()
        assert ours.get_extra_info("socket") is inner.get_extra_info("socket")
        assert ours.can_write_eof()
        other = asyncio.Protocol()
        ours.set_protocol(other)
        assert ours.get_protocol() is inner.get_protocol() is other

    over_a_socket(act)
