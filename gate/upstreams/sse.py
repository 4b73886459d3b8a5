"""Server-sent events, as the HTML standard reads them, out of bytes however they were cut. Pure: no sockets.

Lines end in ``\\n``, ``\\r\\n`` or ``\\r``; comments, a byte order mark and unknown fields are passed over; the lines
of an event's data are joined by ``\\n``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST_BYTES = 4 * 2**20
"""Of one event, and of one line: more is refused rather than held in memory."""
DONE = b"[DONE]"
"""The data with which OpenAI's dialects say that nothing follows."""
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TooLong(ValueError):
    """An event has more bytes than any should have."""


@dataclass(frozen=True, slots=True)
class Event:
    data: bytes
    name: str = ""
    """Its kind, where the server names one (``event: error``)."""

    @property
    def done(self) -> bool:
        return self.data.strip() == DONE


class EventReader:
    """Takes bytes, gives events. What it gives does not depend on how the bytes were cut."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._line: list[bytes] = []
        """What there is of the line that has not ended yet."""
        self._length = 0
        self._after_cr = False
        """Whether a ``\\n`` that comes next belongs to the end of the last line."""
        self._first = True
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that these bytes end, one by one. Raises `TooLong` behind those that came before it."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if not data:
            return
        self._after_cr = data.endswith(b"\r")
        *ended, begun = _LINE_END.split(data)
        for part in ended:
            line = b"".join((*self._line, part))
            self._line, self._length = [], 0
            event = self._take(line)
            if event is not None:
                yield event
        if begun:
            self._line.append(begun)
            self._length += len(begun)
            self._check(self._length)

    def rest(self) -> Event | None:
        """The event that had begun when the bytes ended: the standard drops it, some servers leave out its end."""
        line, self._line, self._length = b"".join(self._line), [], 0
        if line:
            self._take(line)
        return self._event()

    def _take(self, line: bytes) -> Event | None:
        """One line; the event, where it ends one."""
        self._check(len(line))
        if self._first:
            line, self._first = line.removeprefix(_BYTE_ORDER_MARK), False
        if not line:
            return self._event()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif field == b"event":
            self._name = value
        return None

    def _event(self) -> Event | None:
        data, name = self._data, self._name
        self._data, self._size, self._name = [], 0, b""
        return Event(b"\n".join(data), name.decode("utf-8", "replace")) if data else None

    def _check(self, more: int) -> None:
        if self._size + more > self._most:
            raise TooLong(f"an event of more than {self._most} bytes")
